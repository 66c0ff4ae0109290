"""`facerec embed`: enrol people from photos."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facerec.cli.console import Results, exit_with_failures, progress, say
from facerec.cli.options import (
    Batch,
    Json,
    NullSeparated,
    ProfileName,
    Settings,
    Workers,
    load_profile,
    parse_pairs,
    standard_input,
)
from facerec.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facerec.engine.engine import Engine
    from facerec.faces import Face, Frame

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def embed(
    people: Annotated[
        list[str],
        typer.Argument(
            metavar="PEOPLE…",
            help="Folders that hold a folder per person, tars or zips of that, WebDataset shards, "
            "folders of one person's photos, photos (with --name), URLs of all these, or - for "
            "paths on stdin.",
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="ADDRESS", help="The gallery. [gallery.path]"),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Enrol every photo as this person.")] = None,
    aligned: Annotated[
        bool, typer.Option("--aligned", help="The images are aligned faces: detect nothing.")
    ] = False,
    chips: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the aligned faces here, as PNG.")
    ] = None,
    faces: Annotated[
        str | None,
        typer.Option(
            metavar="central|all|refuse", help="Which face, when there are several. [gallery.faces]"
        ),
    ] = None,
    all_faces: Annotated[bool, typer.Option("--all-faces", help="As --faces all.")] = False,
    meta: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Metadata of these faces, for --where; repeatable."),
    ] = None,
    workers: Workers = None,
    batch: Batch = None,
    null: NullSeparated = False,
    as_json: Json = None,
    profile: ProfileName = "default",
    settings: Settings = None,
) -> None:
    """Enrol people: a folder per person becomes a gallery.

    A photo that is enrolled already, by content, is skipped; a changed one is replaced. The
    gallery is saved as it grows, so an interrupted run goes on where it stopped. Under torchrun
    the same command divides the photos among many processes.
    """
    loaded = load_profile(
        profile,
        settings,
        gallery__path=out,
        gallery__faces="all" if all_faces else faces,
        runtime__workers=workers,
        runtime__batch=batch,
    )
    metadata = parse_pairs(meta, "--meta")
    from facerec.imaging.sources import list_people

    if "-" in people and "RANK" in os.environ:
        raise UsageError("-: several processes cannot share standard input; give paths")
    photos = list(list_people(people, name=name, stdin=standard_input(), null=null))
    if not any(not isinstance(photo, Path) or photo.is_file() for _, photo in photos):
        # Known before anything slow is loaded.
        first = Path(str(photos[0][1]) if photos else people[0])
        raise InputError(f"{first}: {'no images there' if first.exists() else 'no such file'}")

    from facerec.engine.engine import Engine
    from facerec.gallery.addresses import open_gallery
    from facerec.gallery.enrol import Ranks, enrol_photos
    from facerec.parallel.ranks import barrier, process_group, rank, world_size

    address = loaded.gallery.path
    with process_group(loaded.runtime.device) as device:
        runtime = loaded.runtime.model_copy(update={"device": str(device)})
        loaded = loaded.model_copy(update={"runtime": runtime})
        engine = Engine.from_profile(loaded)
        ranks = Ranks(rank(), world_size(), barrier)
        with progress("enrolling", -(-len(photos) // ranks.world_size)) as advance:

            def keep_chips(person: str, frame: Frame, faces: Sequence[Face]) -> None:
                advance()
                if chips is not None and faces and not aligned:
                    _keep_chips(engine, chips / person, frame, faces)

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
            )
    if report is None:
        # The first process says what there is to say.
        return

    counts = open_gallery(address).counts()
    results = Results("person", "faces", as_json=as_json)
    results.add(
        {
            "gallery": address,
            "people": counts,
            "enrolled": report.enrolled,
            "replaced": report.replaced,
            "skipped": report.skipped,
            "faces": report.faces,
            "no_face": report.no_face,
            "several_faces": report.several_faces,
            "failed": report.failed,
        },
        *((person, str(count)) for person, count in counts.items()),
    )
    results.close(title=address)
    say(
        f"{address}: {report.enrolled} photos enrolled ({report.replaced} replaced), "
        f"{report.skipped} were there, {len(report.no_face)} without a face, "
        f"{len(report.several_faces)} refused, {len(report.failed)} unreadable"
    )
    exit_with_failures(len(report.failed) + len(report.several_faces))


def _keep_chips(engine: Engine, folder: Path, frame: Frame, faces: Sequence[Face]) -> None:
    from facerec.imaging.draw import write_image
    from facerec.imaging.reader import read_again

    stem = Path(frame.source).stem
    for number, chip in enumerate(engine.align(read_again(frame), faces), start=1):
        # The hash keeps photos of one name apart, and a rerun on the same file.
        suffix = f"-{number}" if len(faces) > 1 else ""
        write_image(folder / f"{stem}-{frame.sha256[:8]}{suffix}.png", chip)
