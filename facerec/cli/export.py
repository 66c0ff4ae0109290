"""`facerec export`: write a model for another runtime."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

from facerec.cli.completing import complete_model, one_of
from facerec.cli.console import Results, waiting
from facerec.cli.help import INPUT, OUTPUT, App
from facerec.cli.options import (
    BATCH,
    DETECTOR,
    Json,
    ProfileOptions,
    argument,
    force_option,
    option,
    profile_options,
    standard_input,
)
from facerec.errors import UsageError
from facerec.files.writing import check_output
from facerec.models.targets import check_target
from facerec.registry import EXPORTS

app = App()


class Precision(str, Enum):
    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


_TARGETS = tuple(EXPORTS.names())


@app.command(
    examples=[
        "facerec export dlib_resnet --to onnx",
        "facerec export runs/first",
        "facerec export mine.safetensors --to openvino --precision int8 --faces photos/",
    ]
)
@profile_options(DETECTOR, BATCH)
def export(
    model: Annotated[
        str | None,
        argument(
            "[MODEL]",
            help="A catalogue name, a safetensors file, a training run's folder or a checkpoint. "
            "[default: the profile's]",
            autocompletion=complete_model,
        ),
    ] = None,
    to: Annotated[
        str | None,
        option(
            "--to",
            panel=OUTPUT,
            metavar="|".join(_TARGETS),
            help="The runtime's format.",
            default="onnx; safetensors for a run",
            autocompletion=one_of(*_TARGETS),
        ),
    ] = None,
    out: Annotated[
        Path | None,
        option(
            "--out",
            "-o",
            panel=OUTPUT,
            metavar="FILE",
            help="The file.",
            default="MODEL.FORMAT",
        ),
    ] = None,
    precision: Annotated[
        Precision, option("--precision", panel=OUTPUT, help="Of weights and arithmetic.")
    ] = Precision.FP32,
    normalise: Annotated[
        bool, option("--normalise", panel=OUTPUT, help="Put the preprocessing into the graph.")
    ] = False,
    opset: Annotated[
        int, option("--opset", panel=OUTPUT, min=18, max=23, help="Version of ONNX's operators.")
    ] = 18,
    faces: Annotated[
        Path | None,
        option(
            "--faces",
            panel=INPUT,
            metavar="DIR",
            help="Photos of faces to compare on, and to calibrate int8 with.",
        ),
    ] = None,
    force: Annotated[bool, force_option("Replace the exported file.")] = False,
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Write a model for another runtime, with its card inside.

    Nothing is written unless its output equals PyTorch's on real faces at batches of 1, 2 and 17:
    cosine 0.9999 (fp32), 0.999 (fp16) or 0.99 (int8). The file goes back into every other command
    as model.name. Of a training run, finished or not, the newest checkpoint is written.
    """
    loaded = profile.load()
    model = loaded.model.only_name if model is None else model
    if Path(model).is_dir():
        _export_run(Path(model), to, out, precision, force=force, as_json=as_json)
        return
    to = to or "onnx"
    if to not in EXPORTS:
        raise UsageError(f"no {EXPORTS.kind} is called {to}{EXPORTS.hint(to)}")
    name = f"-{precision.value}" if precision is not Precision.FP32 else ""
    suffix = EXPORTS.fact(to, "suffix")
    target = out or Path(f"{Path(model).stem}{name}{suffix}")
    if target.suffix != suffix:
        raise UsageError(f"{target}: a {to} file ends in {suffix}")
    check_target(to, precision.value, normalise=normalise)
    check_output(target, force=force, inputs=[model])
    from facerec.engine.building import build_detector, calibration_chips
    from facerec.imaging.portraits import portrait_files
    from facerec.imaging.sources import find_photos
    from facerec.models.exporting import export_model
    from facerec.weights.store import load_card

    with waiting("finding faces to compare on"):
        photos = (
            portrait_files().values()
            if faces is None
            else find_photos([faces], stdin=standard_input())
        )
        chips = calibration_chips(build_detector(loaded), load_card(model), list(photos))
    with waiting(f"exporting {model}"):
        card, cosine = export_model(
            model, target, chips, to=to, precision=precision.value,
            normalise=normalise, opset=opset,
        )  # fmt: skip
    results = Results("file", "model", "precision", "cosine to PyTorch", as_json=as_json)
    results.add(
        {
            "file": str(target),
            "model": card.name,
            "format": to,
            "precision": precision.value,
            "cosine": round(cosine, 7),
        },
        (str(target), card.name, precision.value, f"{cosine:.6f}"),
    )
    results.close()


def _export_run(
    run: Path, to: str | None, out: Path | None, precision: Precision, *,
    force: bool, as_json: bool | None,
) -> None:  # fmt: skip
    """Write the model of a run's checkpoint, with its card."""
    if to is not None or precision is not Precision.FP32:
        raise UsageError(
            f"{run}: a run becomes safetensors first: facerec export {run}, "
            "then export that file with --to and --precision"
        )
    target = out or Path(f"{run.resolve().name}.safetensors")
    if target.suffix != ".safetensors":
        raise UsageError(f"{target}: the model of a run ends in .safetensors")
    check_output(target, force=force)
    with waiting(f"reading {run}"):
        from facerec.training.rescue import write_model_of_run

        card, checkpoint = write_model_of_run(run, target)
    results = Results("file", "model", "checkpoint", as_json=as_json)
    results.add(
        {
            "file": str(target),
            "model": card.name,
            "format": "safetensors",
            "checkpoint": str(checkpoint),
        },
        (str(target), card.name, str(checkpoint)),
    )
    results.close()
