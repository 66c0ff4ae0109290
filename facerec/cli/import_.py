"""`facerec import`: take over another project's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facerec.cli.completing import completer
from facerec.cli.console import Results, say, waiting
from facerec.cli.help import INPUT, OUTPUT, App
from facerec.cli.options import (
    CARD,
    Json,
    ProfileOptions,
    argument,
    force_option,
    option,
    profile_options,
)
from facerec.errors import UsageError
from facerec.files.writing import check_output

app = App()


def _layouts(ctx: typer.Context) -> list[str]:
    from facerec.weights.layouts.reading import layout_names

    return layout_names()


@app.command("import", examples=["facerec import backbone.pth --out mine.safetensors"])
@profile_options(CARD)
def import_(
    file: Annotated[
        Path, argument("FILE", help="A .pth, .pt, .ckpt, .safetensors, .params or .dat file.")
    ],
    out: Annotated[
        Path | None,
        option(
            "--out", "-o", panel=OUTPUT, metavar="FILE", help="The model.",
            default="FILE with .safetensors",
        ),
    ] = None,
    layout: Annotated[
        str | None,
        option(
            "--as", panel=INPUT, metavar="LAYOUT", autocompletion=completer(_layouts),
            help="Whose layout it is.", default="told by the names of the weights",
        ),
    ] = None,
    name: Annotated[
        str | None,
        option("--name", panel=OUTPUT, help="The model's name.", default="the file's"),
    ] = None,
    force: Annotated[bool, force_option("Replace the model's file.")] = False,
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:  # fmt: skip
    """Take over another project's weights: safetensors with a card.

    What a file could execute is never executed, and weights that are missing or unknown are
    named. The model has no thresholds until `facerec evaluate … --calibrate` gives it some.
    """
    card = profile.load().model.only_card
    target = out or file.with_suffix(".safetensors")
    if target.suffix != ".safetensors":
        raise UsageError(f"{target}: a model's file ends in .safetensors")
    check_output(target, force=force, inputs=[file])
    with waiting("loading PyTorch"):
        from facerec.models.importing import import_model
    from facerec.weights.cards import read_card
    from facerec.weights.layouts.reading import describe_assumption

    given = None if card is None else read_card(card, "0" * 64)
    with waiting(f"converting {file.name}"):
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
    if layout is None and given is None and (assumption := describe_assumption(found)):
        say(f"{file}: {assumption}")
    if written.norms is not None:
        say(
            f"{written.norms.loss}: the norm of a vector tells its face's quality once the usual "
            f"norms are measured: facerec evaluate lfw --model {target} --calibrate {target}"
        )
