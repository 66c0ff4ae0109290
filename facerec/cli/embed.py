"""`facerec embed`: enrol people from photos."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from facerec.cli.console import Results, exit_with_failures, progress, say, say_saved, waiting
from facerec.cli.help import DETECTION, INPUT, OUTPUT, App
from facerec.cli.options import (
    BATCH,
    CHIP_TEMPLATE,
    DETECTOR,
    FACES,
    MIN_QUALITY,
    OUT,
    PERSON_LEVEL,
    WORKERS,
    Aligned,
    Json,
    NullSeparated,
    ProfileOptions,
    argument,
    force_option,
    option,
    parse_pairs,
    profile_options,
    standard_input,
)
from facerec.errors import InputError, UsageError
from facerec.files.output_names import safe_name
from facerec.files.text import counted
from facerec.files.writing import check_output_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facerec.engine.engine import Engine
    from facerec.faces import Face, Frame
    from facerec.gallery.remarks import Remark
    from facerec.imaging.photos import Photo

app = App()

_MOST_REMARKS = 10
"""Warnings of one kind that are told one by one."""


@app.command(
    examples=[
        "facerec embed people/ --out people.h5      # a folder per person",
        "facerec embed one.jpg two.jpg --name obama --meta team=red",
        "facerec embed people/ --min-quality 0.3   # pass blurred and tiny faces by",
    ]
)
@profile_options(OUT, PERSON_LEVEL, FACES, MIN_QUALITY, DETECTOR, CHIP_TEMPLATE, WORKERS, BATCH)
def embed(
    people: Annotated[
        list[str],
        argument(
            "PEOPLE…",
            help="Folders that hold a folder per person, tars or zips of that, WebDataset shards, "
            "folders of one person's photos, photos (with --name), URLs of all these, or - for "
            "paths on stdin.",
        ),
    ],
    name: Annotated[
        str | None, option("--name", panel=INPUT, help="Enrol every photo as this person.")
    ] = None,
    aligned: Aligned = False,
    chips: Annotated[
        Path | None,
        option("--chips", panel=OUTPUT, metavar="DIR", help="Keep the aligned faces here, as PNG."),
    ] = None,
    all_faces: Annotated[
        bool, option("--all-faces", panel=DETECTION, help="As --faces all.")
    ] = False,
    meta: Annotated[
        list[str] | None,
        option(
            "--meta",
            panel=INPUT,
            metavar="KEY=VALUE",
            help="Metadata of these faces, for --where; repeatable.",
        ),
    ] = None,
    sync: Annotated[
        bool,
        option(
            "--sync",
            panel=OUTPUT,
            help="Also remove what photos gave that have left these folders or are another "
            "person's now; without --force only say what would be done.",
        ),
    ] = False,
    force: Annotated[bool, force_option("Remove what --sync finds gone, and enrol.")] = False,
    null: NullSeparated = False,
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Enrol people: a folder per person becomes a gallery.

    A photo that is enrolled already, by content, is skipped; a changed one is replaced. The
    gallery is saved as it grows, so an interrupted run goes on where it stopped. Under torchrun
    the same command divides the photos among many processes.
    """
    loaded = profile.load({FACES.key: "all"} if all_faces else None).looking_again("turns")
    metadata = parse_pairs(meta, "--meta")
    from facerec.imaging.sources import list_people

    if "-" in people and "RANK" in os.environ:
        raise UsageError("-: several processes cannot share standard input; give paths")
    with waiting("listing photos"):
        photos = list(
            list_people(
                people,
                name=name,
                stdin=standard_input(),
                null=null,
                level=loaded.data.person_level,
            )
        )
    if not photos:
        # Of an empty list on stdin, which was told.
        return
    if not any(photo.path is None or photo.path.is_file() for _, photo in photos):
        # Fail before PyTorch is loaded.
        first = Path(str(photos[0][1]))
        raise InputError(f"{first}: {'no images there' if first.exists() else 'no such file'}")

    address = loaded.gallery.path
    if sync and not force:
        _say_plan(address, photos, as_json)
        return
    from facerec.gallery.addresses import check_place, open_gallery

    check_place(address)
    if chips is not None:
        _keep_apart(chips, people)
        check_output_folder(chips)
    with waiting("loading models"):
        from facerec.engine.engine import Engine
    from facerec.cli.saved_images import Unwritten
    from facerec.gallery.enrol import Ranks, enrol_photos
    from facerec.gallery.records import enrolment_record
    from facerec.parallel.ranks import barrier, device_setting, process_group, rank, world_size

    kept, unwritten = 0, Unwritten()
    with process_group(loaded.runtime.device) as device:
        setting = device_setting(loaded.runtime.device, device)
        runtime = loaded.runtime.model_copy(update={"device": setting})
        loaded = loaded.model_copy(update={"runtime": runtime})
        with waiting("loading models"):
            engine = Engine.from_profile(loaded)
        ranks = Ranks(rank(), world_size(), barrier)
        with progress("enrolling", -(-len(photos) // ranks.world_size)) as advance:

            def keep_chips(person: str, frame: Frame, faces: Sequence[Face]) -> None:
                nonlocal kept
                advance()
                if chips is not None and faces and not aligned:
                    with unwritten.passed_over():
                        _keep_chips(engine, chips / safe_name(person), frame, faces)
                        kept += len(faces)

            report = enrol_photos(
                address,
                photos,
                engine,
                loaded,
                aligned=aligned,
                meta=metadata,
                seen=keep_chips,
                observe=lambda problem: advance.say(problem) if problem else None,
                ranks=ranks,
                sync=sync,
            )
    if report is None:
        # Not rank 0.
        return

    counts = open_gallery(address).counts()
    results = Results("person", "faces", as_json=as_json)
    results.add(
        enrolment_record(address, counts, report),
        *((person, str(count)) for person, count in counts.items()),
    )
    results.close(title=address)
    say(
        f"{address}: {counted(report.enrolled, 'photo')} enrolled ({report.replaced} replaced), "
        f"{report.skipped} were there, {len(report.no_face)} without a face, "
        f"{len(report.several_faces)} refused, {len(report.failed)} unreadable"
    )
    if report.removed:
        say(f"{address}: what {counted(report.removed, 'photo')} gave before was removed")
    if report.low_quality:
        count = sum(map(len, report.low_quality.values()))
        least = loaded.gallery.min_quality
        say(f"{address}: passed by {counted(count, 'face')} of a quality below {least:g}")
    _say_remarks(report.remarks)
    if chips is not None:
        say_saved(kept, "face", chips)
        unwritten.say_count("image")
    exit_with_failures(len(report.failed) + len(report.several_faces) + unwritten.count)


def _say_plan(address: str, photos: Sequence[tuple[str, Photo]], as_json: bool | None) -> None:
    """Say what `--sync` would do."""
    from facerec.gallery.addresses import backend_of, open_gallery
    from facerec.gallery.enrol import gallery_folder
    from facerec.gallery.sync import plan

    results = Results("would", "person", "photo", as_json=as_json)
    if backend_of(address).exists(address):
        with waiting("comparing"):
            removed, added = plan(open_gallery(address), photos, gallery_folder(address))
        gone = [(one.person, one.source) for one in removed]
    else:
        gone, added = [], [(person, str(photo)) for person, photo in photos]
    for verb, found in (("remove", gone), ("enrol", added)):
        for person, source in found:
            record = {"would": verb, "person": person, "photo": source}
            results.add(record, (verb, person, source))
    results.close(title=address)
    given = counted(len(gone), "photo")
    say(f"{address}: would remove what {given} gave, and enrol {len(added)}")
    if gone or added:
        say("nothing is changed yet; --sync --force does it")


def _say_remarks(remarks: Sequence[Remark]) -> None:
    """Say each, but only the first of many of a kind."""
    told: Counter[str] = Counter()
    for remark in remarks:
        told[remark.kind] += 1
        if told[remark.kind] <= _MOST_REMARKS:
            say(remark.message)
    for kind, count in told.items():
        if count > _MOST_REMARKS:
            say(f"{count - _MOST_REMARKS} more like these ({kind}); --json lists them all")


def _keep_apart(chips: Path, people: Sequence[str]) -> None:
    """Refuse to save chips among the photos, where the next run would take them for photos.

    Raises:
        UsageError: the folder is one of those given, or lies inside one.
    """
    for place in map(Path, people):
        if place.is_dir() and chips.resolve().is_relative_to(place.resolve()):
            raise UsageError(f"{chips}: lies inside {place}; choose a folder elsewhere")


def _keep_chips(engine: Engine, folder: Path, frame: Frame, faces: Sequence[Face]) -> None:
    from facerec.imaging.draw import write_image
    from facerec.imaging.reader import read_again

    stem = Path(frame.source).stem
    for number, chip in enumerate(engine.align(read_again(frame), faces), start=1):
        # The hash distinguishes photos of one name, and a rerun overwrites its own chips.
        suffix = f"-{number}" if len(faces) > 1 else ""
        write_image(folder / safe_name(f"{stem}-{frame.sha256[:8]}{suffix}.png"), chip)
