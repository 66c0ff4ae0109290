"""`facerec export`: write a model for another runtime."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from facerec.cli.console import Results, refuse_to_replace
from facerec.cli.options import Force, Json
from facerec.errors import UsageError

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class Target(str, Enum):
    ONNX = "onnx"
    OPENVINO = "openvino"
    TORCHSCRIPT = "torchscript"


class Precision(str, Enum):
    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


@app.command()
def export(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A catalogue name or a safetensors file.")
    ],
    to: Annotated[Target, typer.Option("--to", help="The runtime's format.")] = Target.ONNX,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="The file.  [MODEL.FORMAT]")
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="Of weights and arithmetic.")
    ] = Precision.FP32,
    normalise: Annotated[
        bool, typer.Option("--normalise", help="Put the preprocessing into the graph.")
    ] = False,
    opset: Annotated[int, typer.Option(min=18, max=23, help="Of ONNX.")] = 18,
    faces: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Photos of faces to compare on, and to calibrate int8 with.",
        ),
    ] = None,
    force: Force = False,
    as_json: Json = None,
) -> None:
    """Write a model for another runtime, with its card inside.

    Nothing is written unless its output equals PyTorch's on real faces at batches of 1, 2 and 17:
    cosine 0.9999 (fp32), 0.999 (fp16) or 0.99 (int8). The file goes back into every other command
    as model.name.
    """
    from facerec.models.exporting import SUFFIXES, export_model

    name = f"-{precision.value}" if precision is not Precision.FP32 else ""
    target = out or Path(f"{Path(model).stem}{name}{SUFFIXES[to.value]}")
    if target.suffix != SUFFIXES[to.value]:
        raise UsageError(f"{target}: a {to.value} file ends in {SUFFIXES[to.value]}")
    refuse_to_replace(target, force=force)
    from facerec.engine.building import build_detector, calibration_chips
    from facerec.imaging.portraits import portrait_files
    from facerec.imaging.sources import find_photos
    from facerec.profile.loading import Profile
    from facerec.weights.store import load_card

    photos = portrait_files().values() if faces is None else find_photos([faces])
    chips = calibration_chips(build_detector(Profile.load()), load_card(model), list(photos))
    card, cosine = export_model(
        model, target, chips, format_=to.value, precision=precision.value,
        normalise=normalise, opset=opset,
    )  # fmt: skip
    results = Results("file", "model", "precision", "cosine to PyTorch", as_json=as_json)
    results.add(
        {
            "file": str(target),
            "model": card.name,
            "format": to.value,
            "precision": precision.value,
            "cosine": round(cosine, 7),
        },
        (str(target), card.name, precision.value, f"{cosine:.6f}"),
    )
    results.close()
