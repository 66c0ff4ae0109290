"""`facerec align`: write the aligned chips of a whole data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from facerec.cli.console import Results, exit_with_failures, progress, say, say_saved, waiting
from facerec.cli.help import OUTPUT, App
from facerec.cli.loading import load_engine
from facerec.cli.options import (
    BATCH,
    CROP,
    DETECTOR,
    FACES,
    MARGIN,
    MARGIN_PIXELS,
    SIZE,
    TEMPLATE,
    WORKERS,
    Json,
    ProfileOptions,
    argument,
    option,
    profile_options,
)
from facerec.errors import UsageError
from facerec.files.text import counted
from facerec.files.writing import check_output_folder

app = App()


@app.command(
    examples=[
        "facerec align photos/ chips/",
        "facerec align photos/ chips/ --template arcface --size 112 --faces refuse",
    ]
)
@profile_options(CROP, TEMPLATE, SIZE, MARGIN, MARGIN_PIXELS, DETECTOR, FACES, WORKERS, BATCH)
def align(
    source: Annotated[str, argument("IN", help="Photos: a folder, any depth; a tar, zip or URL.")],
    out: Annotated[Path, argument("OUT", help="The folder of chips, same tree.", panel=OUTPUT)],
    failed: Annotated[
        Path | None,
        option(
            "--failed",
            panel=OUTPUT,
            metavar="DIR",
            help="Copies of the photos that failed.",
            default="OUT_failed",
        ),
    ] = None,
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Align every photo of a tree; the chips keep the tree.

    OUT/manifest.jsonl holds box, landmarks and score of each; photos without a usable face are
    copied aside, into a folder named after the reason. A rerun goes on where the last stopped.
    """
    loaded = profile.load().looking_again("turns")
    if out.resolve().is_relative_to(Path(source).resolve()):
        raise UsageError(f"{out}: lies inside {source}; choose a folder elsewhere")
    aside = failed or out.with_name(f"{out.name}_failed")
    check_output_folder(out)
    check_output_folder(aside)
    from facerec.imaging.sources import photo_tree

    with waiting(f"listing {source}"):
        packed: list[str] = []
        photos = photo_tree(source, packed=packed.append)
    for archive in packed:
        say(f"{archive}: is an archive in {source}, which is not unpacked; unpack that")
    engine = load_engine(loaded)
    from facerec.aligned_tree import align_tree

    with progress("aligning", len(photos)) as advance:

        def observe(problem: str) -> None:
            advance()
            if problem:
                advance.say(problem)

        outcome = align_tree(photos, out, aside, engine, loaded, observe)
    results = Results("chips", "aligned", "were there", "failed", as_json=as_json)
    results.add(
        {
            "out": str(out),
            "aligned": outcome.aligned,
            "skipped": outcome.skipped,
            "failed": outcome.failed + len(packed),
            "took_one": outcome.took_one,
        },
        (str(out), str(outcome.aligned), str(outcome.skipped), str(outcome.failed + len(packed))),
    )
    results.close()
    say_saved(outcome.aligned, "aligned image", out)
    if outcome.took_one:
        say(
            f"{counted(outcome.took_one, 'photo shows', 'photos show')} several faces; took the "
            "most central one (--faces all)"
        )
    if outcome.failed:
        say(f"{outcome.failed} failed; copies of those photos are in {aside}/")
    exit_with_failures(outcome.failed + len(packed))
