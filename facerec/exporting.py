"""From a model to files that other runtimes take, each compared with PyTorch before it exists."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from facerec.card import ModelCard
from facerec.errors import MissingError, UsageError
from facerec.faces import Floats, Image
from facerec.files import replacing
from facerec.models import Embedder
from facerec.models.embedder import TorchEmbedder
from facerec.models.factory import create_network
from facerec.models.foreign import CARD_KEY, INSIDE_KEY
from facerec.models.onnx import load_onnx
from facerec.models.openvino import import_openvino, load_openvino
from facerec.models.torchscript import load_torchscript
from facerec.weights.store import load_model

Format = Literal["onnx", "openvino", "torchscript"]
Precision = Literal["fp32", "fp16", "int8"]
SUFFIXES: dict[str, str] = {"onnx": ".onnx", "openvino": ".xml", "torchscript": ".ts"}
LEAST_COSINE: dict[str, float] = {"fp32": 0.9999, "fp16": 0.999, "int8": 0.99}
BATCHES = (1, 2, 17)


def export_model(
    name: str, target: Path, chips: Image, *, format_: Format, precision: Precision = "fp32",
    normalise: bool = False, opset: int = 18,
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
    network = create_network(card).eval()
    network.load_state_dict(state)
    if format_ == "torchscript" and (precision != "fp32" or normalise):
        raise UsageError("--to torchscript takes neither --precision nor --normalise")
    described = _described(card, format_, precision)
    reference = TorchEmbedder(network, card, device="cpu", batch=max(BATCHES))
    whole = _Whole(network, card) if normalise else network
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / f"made{SUFFIXES[format_]}"
        exported: Embedder
        if format_ == "torchscript":
            _write_torchscript(network, made, described)
            exported = load_torchscript(made, device="cpu", batch=max(BATCHES))
        elif format_ == "onnx":
            _write_onnx(whole, made, card, chips, precision, opset, normalise=normalise)
            _embed_card(made, described, inside=normalise)
            exported = load_onnx(made, described, device="cpu", threads=0, batch=max(BATCHES))
        else:
            _write_openvino(
                whole, made, card, described, chips, precision, opset, normalise=normalise
            )
            exported = load_openvino(made, threads=0, batch=max(BATCHES))
        least = min(_agreement(reference, exported, chips[:count]) for count in BATCHES)
        if not least >= LEAST_COSINE[precision]:
            raise UsageError(
                f"{target}: not written: its output has cosine {least:.6f} to PyTorch's, "
                f"{precision} needs {LEAST_COSINE[precision]}"
            )
        # OpenVINO's weights first: without its .xml nothing takes them for a model.
        for part in sorted(Path(folder).iterdir()):
            with replacing(target.with_suffix(part.suffix)) as temporary:
                shutil.copyfile(part, temporary)
    return described, least


class _Whole(nn.Module):
    """A network behind its own preprocessing."""

    mean: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, card: ModelCard) -> None:
        super().__init__()
        self.network, self.reversed = network, card.colour == "BGR"
        self.register_buffer("mean", torch.tensor(card.mean).view(1, 3, 1, 1))
        self.register_buffer("scale", 1 / torch.tensor(card.std).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        if self.reversed:
            x = x.flip(1)
        y: Tensor = self.network((x - self.mean) * self.scale)
        return y


def _described(card: ModelCard, format_: Format, precision: Precision) -> ModelCard:
    """Rounded weights are other weights: their vectors are not compared with the exact ones'.

    Nor with another runtime's, which rounds in its own way.
    """
    if precision == "fp32":
        return card
    digest = hashlib.sha256(f"{card.sha256}:{format_}:{precision}".encode()).hexdigest()
    return card.model_copy(update={"sha256": digest, "name": f"{card.name}-{precision}"})


def _agreement(reference: Embedder, exported: Embedder, chips: Image) -> float:
    cosines = (reference.embed(chips) * exported.embed(chips)).sum(axis=1)
    return float(np.nan_to_num(cosines, nan=-1.0).min())


def _write_onnx(
    network: nn.Module, path: Path, card: ModelCard, chips: Image, precision: Precision,
    opset: int, *, normalise: bool,
) -> None:  # fmt: skip
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingError(
            f"{error.name} is not installed; pip install 'facerec[export]'"
        ) from error
    example = torch.zeros(2, 3, card.input_height, card.input_width)
    with tempfile.TemporaryDirectory() as folder:
        plain = path if precision == "fp32" else Path(folder) / "plain.onnx"
        with _quiet():
            program = torch.onnx.export(
                network, (example,), dynamo=True, opset_version=opset, verbose=False,
                input_names=["input"], output_names=["embedding"],
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            )  # fmt: skip
            assert program is not None
            program.save(str(plain), external_data=False)
            if precision == "fp16":
                _halve(plain, path)
            elif precision == "int8":
                _quantise(plain, path, _inputs(card, chips, normalise=normalise))


def _write_openvino(
    network: nn.Module, path: Path, card: ModelCard, described: ModelCard, chips: Image,
    precision: Precision, opset: int, *, normalise: bool,
) -> None:  # fmt: skip
    """By way of ONNX, whose quantised graphs OpenVINO takes; fp16 is of the weights alone."""
    openvino = import_openvino(path)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx"
        exact: Precision = "int8" if precision == "int8" else "fp32"
        _write_onnx(network, plain, card, chips, exact, opset, normalise=normalise)
        model = openvino.convert_model(plain)
    model.set_rt_info(described.to_json(), CARD_KEY)
    model.set_rt_info(str(normalise).lower(), INSIDE_KEY)
    openvino.save_model(model, path, compress_to_fp16=precision == "fp16")


def _halve(plain: Path, path: Path) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(plain), keep_io_types=True), path)


def _quantise(plain: Path, path: Path, inputs: Floats) -> None:
    """Static, weights per channel, ranges of activations from the faces (Jacob et al. 2018)."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Faces(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left: Iterator[Floats] = iter(inputs[:, None])

        def get_next(self) -> dict[str, Floats] | None:
            following = next(self._left, None)
            return None if following is None else {"input": following}

    prepared = plain.with_name("prepared.onnx")
    quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared), str(path), Faces(), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip


def _inputs(card: ModelCard, chips: Image, *, normalise: bool) -> Floats:
    x: Floats = chips.transpose(0, 3, 1, 2).astype(np.float32)
    if normalise:
        return x
    if card.colour == "BGR":
        x = x[:, ::-1]
    mean: Floats = np.array(card.mean, np.float32).reshape(1, 3, 1, 1)
    return ((x - mean) / np.array(card.std, np.float32).reshape(1, 3, 1, 1)).astype(np.float32)


def _embed_card(path: Path, card: ModelCard, *, inside: bool) -> None:
    import onnx

    model = onnx.load(path)
    for key, value in ((CARD_KEY, card.to_json()), (INSIDE_KEY, str(inside).lower())):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(model, path)


def _write_torchscript(network: nn.Module, path: Path, card: ModelCard) -> None:
    example = torch.zeros(2, 3, card.input_height, card.input_width)
    with _quiet(), torch.inference_mode():
        traced: Any = torch.jit.trace(network, example)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, str(path), _extra_files={CARD_KEY: card.to_json()})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters print about themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
