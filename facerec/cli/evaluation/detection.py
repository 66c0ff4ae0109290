"""`facerec evaluate detection`: precision and recall of detectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facerec.cli.completing import values_of
from facerec.cli.console import Results, exit_with_failures, progress, say, waiting
from facerec.cli.evaluation.options import Data, FailUnder
from facerec.cli.help import DETECTION, INPUT, OUTPUT
from facerec.cli.options import (
    DETECTOR,
    Json,
    ProfileOptions,
    force_option,
    option,
    profile_options,
)
from facerec.errors import InputError
from facerec.files.text import counted
from facerec.files.writing import check_output

if TYPE_CHECKING:
    from facerec.detection import Detector
    from facerec.evaluation.detection import DetectionReport
    from facerec.faces import Image
    from facerec.profile.loading import Profile


_MOST = 5
"""Unreadable images that are named."""


@profile_options(DETECTOR)
def detection(
    data: Data,
    annotations: Annotated[
        Path | None,
        option(
            "--annotations",
            panel=INPUT,
            metavar="FILE",
            help="WIDER FACE's wider_face_val_bbx_gt.txt; without it, --data is in FDDB's layout.",
        ),
    ] = None,
    compare: Annotated[
        list[str] | None,
        option(
            "--compare",
            panel=DETECTION,
            metavar="DETECTOR",
            help="Another detector beside it; repeatable.",
            autocompletion=values_of("detector.name"),
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        option(
            "--plot",
            panel=OUTPUT,
            metavar="FILE",
            help="Draw recall over false positives (PNG).",
        ),
    ] = None,
    fail_under: FailUnder = None,
    force: Annotated[bool, force_option("Replace the image that --plot wrote before.")] = False,
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Measure detectors on FDDB or WIDER FACE: AP, precision, recall, recall at N false positives.

    A detection is true when it overlaps a face that no better one took by more than half. Precision
    and recall are the detector's as it is set; AP and recall at N false positives also count faces
    of lower scores. The faces of an image that cannot be read count as missed.
    """
    if plot is not None:
        check_output(plot, force=force)
    first = profile.load()
    profiles: dict[str, Profile] = {first.detector.name: first}
    for name in compare or ():
        profiles[name] = profile.load({DETECTOR.key: name})
    if compare:
        profiles = _with_keys_of_each(profiles)
    with waiting("loading models"):
        from facerec.engine.building import build_detector
        from facerec.engine.second_look import with_second_look
    from facerec.evaluation.detection import (
        evaluate_detectors,
        read_fddb,
        read_wider_face,
        with_all_scores,
    )
    from facerec.imaging.archives import locate, open_source
    from facerec.imaging.decode import decode_image

    with waiting(f"reading {data}"):
        source = open_source(data)
        images = read_fddb(source) if annotations is None else read_wider_face(annotations)
        files = locate(source, [image.key for image in images])

    def read(key: str) -> Image:
        if key not in files:
            raise InputError(f"{key}: {source.name} holds no such image")
        return decode_image(source.read(files[key]), key, first.runtime.max_pixels)

    with waiting("loading models"):
        detectors: dict[str, Detector] = {
            name: with_second_look(build_detector(loaded), loaded.detector)
            for name, loaded in profiles.items()
        }
        curves: dict[str, Detector] = {
            name: build_detector(
                loaded.model_copy(update={"detector": with_all_scores(loaded.detector)})
            )
            for name, loaded in profiles.items()
        }
    unreadable: list[InputError] = []
    with progress("detecting", len(images)) as advance:
        reports = evaluate_detectors(
            detectors,
            images,
            read,
            curves=curves,
            seen=advance,
            unreadable=unreadable.append,
        )
    if unreadable and len(unreadable) == len(images):
        raise unreadable[0]
    _print(reports, profiles, data, len(unreadable), as_json)
    for error in unreadable[:_MOST]:
        say(str(error))
    if unreadable:
        of_all = f"of {len(images)} images cannot be read;"
        told = counted(len(unreadable), f"{of_all} its faces", f"{of_all} their faces")
        say(f"{told} count as missed")
    if plot is not None:
        from facerec.evaluation.report.charts import plot_detectors

        plot_detectors(plot, reports)
        say(f"saved {plot}")
    if fail_under is not None and any(
        100 * report.average_precision < fail_under for report in reports.values()
    ):
        raise typer.Exit(1)
    exit_with_failures(len(unreadable))


def _with_keys_of_each(profiles: dict[str, Profile]) -> dict[str, Profile]:
    """The profiles without what only the others' detectors read; what none reads stays, and is
    refused."""
    from facerec.profile.detector_keys import unread_keys, with_defaults

    if set.intersection(*(set(unread_keys(one.detector)) for one in profiles.values())):
        return profiles
    return {
        name: one.model_copy(update={"detector": with_defaults(one.detector)})
        for name, one in profiles.items()
    }


def _print(
    reports: dict[str, DetectionReport],
    profiles: dict[str, Profile],
    data: Path,
    unreadable: int,
    as_json: bool | None,
) -> None:
    false_positives = list(next(iter(reports.values())).recall_at)
    results = Results(
        "detector",
        "precision",
        "recall",
        "AP",
        *(f"recall at {count} FP" for count in false_positives),
        "s/image",
        as_json=as_json,
    )
    for name, report in reports.items():
        figures = {
            "precision": _percent(report.precision),
            "recall": _percent(report.recall),
            "average_precision": _percent(report.average_precision),
        }
        recall_at = {str(count): _percent(share) for count, share in report.recall_at.items()}
        record: dict[str, Any] = {
            "protocol": "detection",
            "data": str(data),
            "detector": profiles[name].detector.model_dump(mode="json"),
            "images": report.images,
            "unreadable": unreadable,
            "faces": report.faces,
            **figures,
            "recall_at_false_positives": recall_at,
            "seconds_per_image": round(report.seconds_per_image, 4),
        }
        cells = [f"{value:.2f}" for value in (*figures.values(), *recall_at.values())]
        results.add(record, (name, *cells, f"{report.seconds_per_image:.3f}"))
    results.close(title=str(data))


def _percent(share: float) -> float:
    return round(100 * share, 4)
