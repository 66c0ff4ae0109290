"""From a model to files that other runtimes take, each compared with PyTorch before it exists."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from facerec.card import ModelCard
from facerec.errors import UsageError
from facerec.faces import Image
from facerec.models import Embedder
from facerec.models.embedder import TorchEmbedder
from facerec.models.factory import load_network
from facerec.models.runtimes.foreign import CARD_KEY, INSIDE_KEY
from facerec.models.runtimes.graphs import (
    BATCHES,
    OPSET,
    Format,
    Precision,
    Whole,
    keep_parts,
    quiet,
    require_agreement,
    rounded_card,
    write_onnx,
    write_openvino,
)
from facerec.models.runtimes.onnx import load_onnx
from facerec.models.runtimes.openvino import load_openvino
from facerec.models.runtimes.torchscript import load_torchscript
from facerec.weights.store import load_model

SUFFIXES: dict[str, str] = {"onnx": ".onnx", "openvino": ".xml", "torchscript": ".ts"}


def export_model(
    name: str, target: Path, chips: Image, *, format_: Format, precision: Precision = "fp32",
    normalise: bool = False, opset: int = OPSET,
) -> tuple[ModelCard, float]:  # fmt: skip
    """Write a model for another runtime.

    Args:
        name: a catalogue name or a safetensors file.
        target: the file to write.
        chips: `(N, H, W, 3) uint8` RGB real faces, N >= 17, to compare on; int8 is calibrated on
            them too.
        normalise: put colour order, mean and deviation into the graph, which then takes RGB 0-255.
        opset: of ONNX.

    Returns:
        the card as embedded, and the smallest cosine between both outputs.

    Raises:
        MissingError: the model or a package is missing.
        UsageError: the exported file's output differs too much; nothing is written.
    """
    card, state = load_model(name)
    network = load_network(card, state)
    if format_ == "torchscript" and (precision != "fp32" or normalise):
        raise UsageError("--to torchscript takes neither --precision nor --normalise")
    described = rounded_card(card, format_, precision)
    reference = TorchEmbedder(network, card, device="cpu", batch=max(BATCHES))
    whole = Whole(network, card) if normalise else network
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / f"made{SUFFIXES[format_]}"
        exported: Embedder
        if format_ == "torchscript":
            _write_torchscript(network, made, described)
            exported = load_torchscript(made, device="cpu", batch=max(BATCHES))
        elif format_ == "onnx":
            write_onnx(whole, made, card, chips, precision, opset, normalise=normalise)
            _embed_card(made, described, inside=normalise)
            exported = load_onnx(made, described, device="cpu", threads=0, batch=max(BATCHES))
        else:
            write_openvino(whole, made, card, chips, precision, opset, normalise=normalise)
            exported = load_openvino(made, threads=0, batch=max(BATCHES))
        least = require_agreement(reference, exported, chips, precision, f"{target}: not written")
        keep_parts(Path(folder), target)
    return described, least


def _embed_card(path: Path, card: ModelCard, *, inside: bool) -> None:
    import onnx

    model = onnx.load(path)
    for key, value in ((CARD_KEY, card.to_json()), (INSIDE_KEY, str(inside).lower())):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(model, path)


def _write_torchscript(network: nn.Module, path: Path, card: ModelCard) -> None:
    example = torch.zeros(2, 3, card.input_height, card.input_width)
    with quiet(), torch.inference_mode():
        traced: Any = torch.jit.trace(network, example)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, str(path), _extra_files={CARD_KEY: card.to_json()})
