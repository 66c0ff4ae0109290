"""`facerec align`: aligned chips of a whole data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facerec.cli.console import Results, exit_with_failures, progress
from facerec.cli.options import Batch, Json, ProfileName, Settings, Workers, load_profile
from facerec.errors import UsageError

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def align(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="Photos: a folder, any depth; a tar, zip or URL.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder of chips, same tree.")],
    failed: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Copies of the photos that failed.  [OUT_failed]"),
    ] = None,
    crop: Annotated[
        str | None,
        typer.Option(
            metavar="points|box", help="Warp by five points, or cut the box. [alignment.crop]"
        ),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(metavar="model|arcface", help="Where the points go. [alignment.template]"),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=16, help="Side of the chips in pixels. [alignment.size]")
    ] = None,
    margin: Annotated[
        float | None, typer.Option(help="Room around a box, a share of it. [alignment.margin]")
    ] = None,
    faces: Annotated[
        str | None,
        typer.Option(
            metavar="central|all|refuse", help="Which face, when there are several. [gallery.faces]"
        ),
    ] = None,
    workers: Workers = None,
    batch: Batch = None,
    as_json: Json = None,
    profile: ProfileName = "default",
    settings: Settings = None,
) -> None:
    """Align every photo of a tree; the chips keep the tree.

    OUT/manifest.jsonl holds box, landmarks and score of each; photos without a usable face are
    copied aside, into a folder named after the reason. A rerun goes on where the last stopped.
    """
    loaded = load_profile(
        profile,
        settings,
        alignment__crop=crop,
        alignment__template=template,
        alignment__size=size,
        alignment__margin=margin,
        gallery__faces=faces,
        runtime__workers=workers,
        runtime__batch=batch,
    )
    if out.resolve().is_relative_to(Path(source).resolve()):
        raise UsageError(f"{out}: lies inside {source}; choose a folder elsewhere")
    from facerec.imaging.sources import photo_tree

    photos = photo_tree(source)
    from facerec.aligned_tree import align_tree
    from facerec.engine.engine import Engine

    aside = failed or out.with_name(f"{out.name}_failed")
    engine = Engine.from_profile(loaded)
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
            "failed": outcome.failed,
        },
        (str(out), str(outcome.aligned), str(outcome.skipped), str(outcome.failed)),
    )
    results.close()
    exit_with_failures(outcome.failed)
