"""`facerec import`: take over another project's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facerec.cli.console import Results, refuse_to_replace
from facerec.cli.options import Force, Json
from facerec.errors import UsageError

app = typer.Typer(rich_markup_mode=None, add_completion=False)


def _complete_layout(incomplete: str) -> list[str]:
    from facerec.weights.layouts.reading import layout_names

    return [name for name in layout_names() if name.startswith(incomplete)]


@app.command(name="import")
def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help=".pth, .pt, .ckpt, .safetensors, .params or .dat")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="The model.  [FILE with .safetensors]"),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="LAYOUT", autocompletion=_complete_layout,
            help="Whose layout it is; by default told by the names of the weights.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The model's name.  [the file's]")] = None,
    card: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A card, where preprocessing is not the layout's own."),
    ] = None,
    force: Force = False,
    as_json: Json = None,
) -> None:  # fmt: skip
    """Take over another project's weights: safetensors with a card.

    What a file could execute is never executed, and weights that are missing or unknown are
    named. The model has no thresholds until `facerec evaluate … --calibrate` gives it some.
    """
    target = out or file.with_suffix(".safetensors")
    if target.suffix != ".safetensors":
        raise UsageError(f"{target}: a model's file ends in .safetensors")
    refuse_to_replace(target, force=force)
    from facerec.models.importing import import_model
    from facerec.weights.cards import read_card

    given = None if card is None else read_card(card, "0" * 64)
    found, written = import_model(file, target, layout=layout, name=name, card=given)
    results = Results("model", "layout", "network", "input", "values", as_json=as_json)
    size = f"{written.input_height}x{written.input_width} {written.colour}"
    results.add(
        {
            "model": str(target),
            "layout": found,
            "architecture": written.architecture,
            "input": [written.input_height, written.input_width],
            "embedding_size": written.embedding_size,
        },
        (str(target), found, written.architecture, size, str(written.embedding_size)),
    )
    results.close()
