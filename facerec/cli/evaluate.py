"""`facerec evaluate`: measure models and calibrate their thresholds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

from facerec.cli.console import Results, progress, waiting
from facerec.cli.evaluation.calibration import check_calibration, check_owner, write_calibration
from facerec.cli.evaluation.detection import detection
from facerec.cli.evaluation.models import (
    finish,
    image_counts,
    model_names,
    report_missing,
    write_scalars,
)
from facerec.cli.evaluation.options import Calibrate, Data, Run, evaluation_options
from facerec.cli.evaluation.pairs import evaluate_pairs
from facerec.cli.evaluation.reports import write_search_report
from facerec.cli.evaluation.sets import evaluate_sets
from facerec.cli.evaluation.tables import PAIR_ROWS, SEARCH_ROWS, print_records
from facerec.cli.help import INPUT, MEASUREMENT, App
from facerec.cli.loading import load_engine
from facerec.cli.options import PERSON_LEVEL, SETS_FOLDER, argument, option
from facerec.errors import UsageError
from facerec.registry import PROTOCOLS

app = App(
    no_args_is_help=True,
    examples=[
        "facerec evaluate lfw --data lfw.tar --pairs pairs.txt --report report/",
        "facerec evaluate all -m mine.safetensors --report report/",
        "facerec evaluate agedb --data agedb.zip -m w600k_mbf -m mine.safetensors",
    ],
)


@app.callback()
def evaluate() -> None:
    """Measure models on the field's protocols.

    Rates are percent and thresholds are distances, as recognize and compare take them. With
    --json each model gives one line, and several models a last one that compares them.
    """


_EXAMPLES = {
    "lfw": "--data lfw.tar --pairs pairs.txt --calibrate card.yaml",
    "bin": "--data agedb_30.bin -m mine.safetensors",
    "pairs": "--data photos/ --pairs list.txt --groups groups.csv",
}


def _add_pair_protocol(name: str, summary: str) -> None:
    keys = (PERSON_LEVEL,) if name == "pairs" else ()
    options = _EXAMPLES.get(name, f"--data {name}.zip -m mine.safetensors")

    @app.command(name, help=summary, examples=[f"facerec evaluate {name} {options}"])
    @evaluation_options(*keys)
    def command(
        data: Data,
        pairs: Annotated[
            Path | None,
            option(
                "--pairs",
                panel=INPUT,
                metavar="FILE",
                help="The list of pairs.",
                default="found in --data",
            ),
        ] = None,
        calibrate: Calibrate = None,
        groups: Annotated[
            Path | None,
            option(
                "--groups",
                panel=MEASUREMENT,
                metavar="CSV",
                help="Lines 'image or person,group': figures by group.",
            ),
        ] = None,
        fit_weights: Annotated[
            bool,
            option(
                "--fit-weights",
                panel=MEASUREMENT,
                help="Fit model.weights of fused networks; each fold is decided by the weights of "
                "the other folds.",
            ),
        ] = False,
        *,
        run: Run,
    ) -> None:
        evaluate_pairs(
            name, data, pairs, run, calibrate=calibrate, groups=groups, fit_weights=fit_weights
        )


@app.command(
    "all",
    examples=[
        "facerec evaluate all -m mine.safetensors",
        "facerec evaluate all lfw_112 agedb=agedb.zip --report report/",
    ],
)
@evaluation_options(SETS_FOLDER)
def all_sets(
    sets: Annotated[
        list[str] | None,
        argument(
            "[SET]...",
            help="Data sets of the catalogue, its protocols, or PROTOCOL=PATH. "
            "[default: the profile's evaluate.sets]",
        ),
    ] = None,
    calibrate: Calibrate = None,
    *,
    run: Run,
) -> None:
    """Several protocols in one call: one table, one JSON line each, one report.

    --calibrate takes the thresholds of the first set. A set that is absent is named with the
    command that brings it; the others are measured, and the exit code is 4.
    """
    evaluate_sets(sets or (), run, calibrate=calibrate)


for _name, _summary in PROTOCOLS.summaries().items():
    _add_pair_protocol(_name, _summary)


app.command(
    examples=[
        "facerec evaluate detection --data fddb/ --compare yunet",
        "facerec evaluate detection --data WIDER_val/ --annotations wider_face_val_bbx_gt.txt",
    ]
)(detection)


@app.command(
    examples=["facerec evaluate identification --data faces/ --gallery known.txt --probes new.txt"]
)
@evaluation_options(PERSON_LEVEL)
def identification(
    data: Data,
    gallery: Annotated[
        Path, option("--gallery", panel=INPUT, help="The gallery's list: lines 'image person'.")
    ],
    probes: Annotated[
        Path,
        option(
            "--probes",
            panel=INPUT,
            help="The probes' list; people of no gallery are strangers.",
        ),
    ],
    *,
    run: Run,
) -> None:
    """Search a gallery: rank 1, 5 and 10, CMC, and open-set rates where there are strangers."""
    run.check()
    chosen = run.profiles()
    from facerec.evaluation.identification import identify, search_record
    from facerec.evaluation.protocols.identification import read_identification
    from facerec.evaluation.run import describe, embed_set
    from facerec.files.text import read_text
    from facerec.imaging.archives import locate, open_source

    with waiting(f"reading {data}"):
        lists = read_text(gallery), str(gallery), read_text(probes), str(probes)
        protocol = read_identification(*lists, chosen[0].profile.data.person_level)
        source = open_source(data)
        files = locate(source, protocol.keys)
    records, outcomes, cards = [], [], []
    for setting, name in zip(chosen, model_names(chosen), strict=True):
        started = time.monotonic()
        engine = load_engine(setting.profile)
        with progress(f"embedding with {name}", len(protocol.keys)) as advance:
            embedded = embed_set(engine, source, protocol.keys, files, setting, advance)
        report_missing(embedded)
        with waiting("searching"):
            found = identify(embedded.vectors, protocol)
        record = {
            "protocol": "identification",
            "data": source.name,
            **describe(engine, setting),
            **image_counts(embedded),
            **search_record(found, engine.card.metric),
            "seconds": round(time.monotonic() - started, 3),
        }
        records.append((name, record))
        outcomes.append(embedded)
        cards.append(engine.card)
    print_records(records, SEARCH_ROWS, run)
    write_scalars(run, "identification", records)
    if run.report is not None:
        with waiting("writing the report"):
            write_search_report(run, records, {}, chosen, cards)
    finish(run, [record["rank_1"] for _, record in records], outcomes)


@app.command(examples=["facerec evaluate ijb --data IJBC/ -m mine.safetensors"])
@evaluation_options()
def ijb(data: Data, calibrate: Calibrate = None, *, run: Run) -> None:
    """IJB-B or IJB-C: templates compared 1:1 and searched 1:N, in NIST's or insightface's layout.

    Each gallery is searched on its own; the figures of 1:N are under its name. Points and scores
    in insightface's layout align the faces and weigh the images, as its own evaluation does.
    """
    run.check()
    if calibrate is not None:
        check_calibration(calibrate, run)
    chosen = run.profiles()
    from facerec.evaluation.identification import search_record
    from facerec.evaluation.protocols.ijb import read_ijb
    from facerec.evaluation.run import describe, embed_set
    from facerec.evaluation.templates import compare_templates, locate_templates
    from facerec.evaluation.thresholds import calibrate as read_thresholds
    from facerec.evaluation.thresholds import measured_norms, require_impostors
    from facerec.evaluation.verification import verification_record
    from facerec.imaging.archives import open_source

    with waiting(f"reading {data}"):
        source = open_source(data)
        protocol = read_ijb(source)
        files = locate_templates(source, protocol)
    if calibrate is not None:
        if not len(protocol.pairs):
            raise UsageError("--calibrate: this set has no list of pairs")
        require_impostors(int((~protocol.same).sum()), source.name)
    records, outcomes, cards, curves, refused = [], [], [], {}, None
    for setting, name in zip(chosen, model_names(chosen), strict=True):
        started = time.monotonic()
        engine = load_engine(setting.profile)
        if calibrate is not None:
            check_owner(calibrate, engine.card)
        with progress(f"embedding with {name}", len(protocol.keys)) as advance:
            embedded = embed_set(
                engine, source, protocol.keys, files, setting, advance, protocol.regions,
                landmarks=protocol.landmarks,
            )  # fmt: skip
        report_missing(embedded)
        with waiting("comparing"):
            figures = compare_templates(embedded.vectors, protocol)
        metric = engine.card.metric
        record: dict[str, Any] = {
            "protocol": "ijb",
            "data": source.name,
            **describe(engine, setting),
            **image_counts(embedded),
        }
        if protocol.landmarks:
            record["detector"] = None
        if figures.pairs is not None:
            record |= verification_record(figures.pairs, metric)
            curves[name] = figures.pairs
            if calibrate is not None:
                calibration = read_thresholds(figures.pairs.curve, metric, source.name)
                norms = measured_norms(engine.card, embedded.norms, source.name)
                refused = write_calibration(calibrate, engine.card, calibration, norms)
        record["galleries"] = {
            gallery: search_record(found, metric) for gallery, found in figures.searches.items()
        }
        record["seconds"] = round(time.monotonic() - started, 3)
        records.append((name, record))
        outcomes.append(embedded)
        cards.append(engine.card)
    print_records(records, PAIR_ROWS, run)
    if Results(as_json=run.as_json).as_json is False:
        for gallery in records[0][1]["galleries"]:
            print_records(
                [(name, {"protocol": gallery, **record["galleries"][gallery]})
                 for name, record in records],
                SEARCH_ROWS, run,
            )  # fmt: skip
    write_scalars(run, "ijb", records)
    if run.report is not None:
        with waiting("writing the report"):
            write_search_report(run, records, curves, chosen, cards)
    headlines = [record.get("tar_at_far", {}).get("1e-4") for _, record in records]
    if run.fail_under is not None and None in headlines:
        raise UsageError("--fail-under: this set has too few pairs for a TAR at FAR 1e-4")
    finish(run, [figure for figure in headlines if figure is not None], outcomes, refused)
