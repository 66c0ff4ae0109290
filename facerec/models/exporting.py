"""Export: a model as a file of another runtime, compared with PyTorch before it is kept.

A target is a function `(Export, Path) -> Embedder`, registered with the file's `suffix`, the
`precisions` it writes, and whether it `normalises`: can put the preprocessing into the file.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from facerec.card import ModelCard
from facerec.faces import Image
from facerec.models import Embedder
from facerec.models.embedder import TorchEmbedder
from facerec.models.factory import load_network
from facerec.models.runtimes.checks import (
    CHECK_KEY,
    LEAST_COSINE,
    describe_check,
    without_averaging,
)
from facerec.models.runtimes.foreign import CARD_KEY, INSIDE_KEY
from facerec.models.runtimes.graphs import (
    BATCHES,
    OPSET,
    Precision,
    Whole,
    example_input,
    keep_parts,
    quiet,
    require_agreement,
    rounded_card,
    write_onnx,
    write_openvino,
)
from facerec.models.runtimes.onnx import load_onnx
from facerec.models.runtimes.openvino import load_openvino
from facerec.models.runtimes.torchscript import TorchScriptEmbedder
from facerec.models.targets import check_target
from facerec.registry import EXPORTS
from facerec.weights.store import load_model


@dataclass(frozen=True, slots=True)
class Export:
    """What an export target is given.

    Attributes:
        network: maps `(N, 3, H, W) float32` to `(N, D) float32`, in evaluation mode.
        card: the model's.
        rounded: the card to embed; see `rounded_card`.
        chips: `(N, H, W, 3) uint8` RGB real faces, which int8 is calibrated on.
        precision: of the file's weights.
        normalise: put colour order, mean and deviation into the graph, which then takes RGB 0-255.
        opset: of ONNX.
        check: to embed; see `describe_check`.
    """

    network: nn.Module
    card: ModelCard
    rounded: ModelCard
    chips: Image
    precision: Precision
    normalise: bool
    opset: int
    check: str

    @property
    def graph(self) -> nn.Module:
        """The network, behind its preprocessing where `normalise` is set."""
        return Whole(self.network, self.card) if self.normalise else self.network


def export_model(
    name: str, target: Path, chips: Image, *, to: str, precision: Precision = "fp32",
    normalise: bool = False, opset: int = OPSET,
) -> tuple[ModelCard, float]:  # fmt: skip
    """Write a model for another runtime.

    Args:
        name: a catalogue name or a safetensors file.
        target: the file to write.
        chips: `(N, H, W, 3) uint8` RGB real faces, N >= 17, to compare on; int8 is calibrated on
            them too.
        to: a name of `EXPORTS`.
        precision: see `Export`.
        normalise: see `Export`.
        opset: see `Export`.

    Returns:
        the card as embedded, and the smallest cosine between both outputs.

    Raises:
        MissingError: the model or a package is missing.
        UsageError: the target offers no such precision, or the exported file's output differs too
            much; nothing is written.
    """
    entry = EXPORTS.get(to)
    check_target(to, precision, normalise=normalise)
    card, state = load_model(name)
    network = load_network(card, state)
    rounded = rounded_card(card, to, precision)
    reference = TorchEmbedder(network, card, device="cpu", batch=max(BATCHES))
    plain = TorchEmbedder(network, without_averaging(card), device="cpu", batch=max(BATCHES))
    check = describe_check(plain, chips, LEAST_COSINE[precision])
    export = Export(network, card, rounded, chips, precision, normalise, opset, check)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / f"made{entry.facts['suffix']}"
        exported: Embedder = entry.target(export, made)
        least = require_agreement(reference, exported, chips, precision, f"{target}: not written")
        keep_parts(Path(folder), target)
    return rounded, least


@EXPORTS.register(
    "onnx",
    help="ONNX, with a free batch dimension.",
    suffix=".onnx",
    precisions=("fp32", "fp16", "int8"),
    normalises=True,
)
def export_onnx(export: Export, path: Path) -> Embedder:
    """Write the model and return its embedder."""
    write_onnx(
        export.graph, path, export.card, export.chips, export.precision, export.opset,
        normalise=export.normalise,
    )  # fmt: skip
    _embed(path, export)
    return load_onnx(path, export.rounded, device="cpu", threads=0, batch=max(BATCHES))


@EXPORTS.register(
    "openvino",
    help="OpenVINO IR: .xml, with its weights in .bin beside it.",
    suffix=".xml",
    precisions=("fp32", "fp16", "int8"),
    normalises=True,
)
def export_openvino(export: Export, path: Path) -> Embedder:
    """Write the model and return its embedder."""
    write_openvino(
        export.graph, path, export.card, export.chips, export.precision, export.opset,
        normalise=export.normalise, check=export.check,
    )  # fmt: skip
    return load_openvino(path, export.rounded, threads=0, batch=max(BATCHES))


@EXPORTS.register(
    "torchscript",
    help="TorchScript, traced; PyTorch alone runs it.",
    suffix=".ts",
    precisions=("fp32",),
    normalises=False,
)
def export_torchscript(export: Export, path: Path) -> Embedder:
    """Write the model and return its embedder."""
    example = example_input(export.card)
    with quiet(), torch.inference_mode():
        traced: Any = torch.jit.trace(export.network, example)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, str(path), _extra_files={CARD_KEY: export.rounded.to_json()})
    return TorchScriptEmbedder(path, export.rounded, device="cpu", batch=max(BATCHES))


def _embed(path: Path, export: Export) -> None:
    import onnx

    model = onnx.load(path)
    texts = {
        CARD_KEY: export.rounded.to_json(),
        INSIDE_KEY: str(export.normalise).lower(),
        CHECK_KEY: export.check,
    }
    for key, value in texts.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(model, path)
