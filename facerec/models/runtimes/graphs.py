"""Conversion of PyTorch networks: ONNX, OpenVINO IR, int8 quantisation, agreement checks."""

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
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from facerec.card import ModelCard
from facerec.errors import MissingError, UsageError
from facerec.faces import Floats, Image
from facerec.files.writing import replacing
from facerec.models import Embedder
from facerec.models.runtimes.checks import CHECK_KEY, LEAST_COSINE
from facerec.models.runtimes.foreign import CARD_KEY, INSIDE_KEY
from facerec.models.runtimes.openvino import import_openvino

Precision = Literal["fp32", "fp16", "int8"]
OPSET = 18
BATCHES = (1, 2, 17)
_WEIGHTS = {"int8": "int8, weights of 7 bits"}
"""How weights are rounded, where the precision does not say it."""


class Whole(nn.Module):
    """A network with its preprocessing: RGB 0-255 in."""

    mean: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, card: ModelCard) -> None:
        super().__init__()
        self.network, self.reversed = network, card.colour == "BGR"
        mean, std = np.array(card.mean, np.float32), np.array(card.std, np.float32)
        self.register_buffer("mean", torch.from_numpy(mean).view(1, 3, 1, 1))
        self.register_buffer("scale", 1 / torch.from_numpy(std).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        if self.reversed:
            x = x.flip(1)
        y: Tensor = self.network((x - self.mean) * self.scale)
        return y


def example_input(card: ModelCard) -> Tensor:
    """`(2, 3, H, W) float32` network input to trace a network with."""
    return torch.from_numpy(np.zeros((2, 3, card.input_height, card.input_width), np.float32))


def rounded_card(card: ModelCard, target: str, precision: Precision) -> ModelCard:
    """The card of rounded weights, whose vectors are not comparable with the exact model's, nor
    with another target's, which rounds differently."""
    if precision == "fp32":
        return card
    kind = _WEIGHTS.get(precision, precision)
    digest = hashlib.sha256(f"{card.sha256}:{target}:{kind}".encode()).hexdigest()
    return card.model_copy(update={"sha256": digest, "name": f"{card.name}-{precision}"})


def write_onnx(
    network: nn.Module, path: Path, card: ModelCard, chips: Image, precision: Precision,
    opset: int, *, normalise: bool,
) -> None:  # fmt: skip
    """Write an ONNX graph with a dynamic batch dimension.

    Args:
        chips: `(N, H, W, 3) uint8` RGB real faces to calibrate int8 on.
        normalise: preprocessing is in the graph.

    Raises:
        MissingError: a package is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingError(
            f"{error.name} is not installed; pip install 'facerec[export]'"
        ) from error
    example = example_input(card)
    with tempfile.TemporaryDirectory() as folder:
        plain = path if precision == "fp32" else Path(folder) / "plain.onnx"
        with quiet():
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
                quantise(plain, path, card, chips, normalise=normalise)


def write_openvino(
    network: nn.Module, path: Path, card: ModelCard, chips: Image, precision: Precision,
    opset: int, *, normalise: bool, check: str = "",
) -> None:  # fmt: skip
    """Write OpenVINO IR, converted from ONNX; fp16 rounds the weights alone.

    Args:
        path: the `.xml`; its weights are written to `.bin` beside it.
        card: embedded, see `rounded_card`.
        check: embedded, see `checks.describe_check`.
    """
    openvino = import_openvino(path)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx"
        exact: Precision = "int8" if precision == "int8" else "fp32"
        write_onnx(network, plain, card, chips, exact, opset, normalise=normalise)
        model = openvino.convert_model(plain)
    model.set_rt_info(rounded_card(card, "openvino", precision).to_json(), CARD_KEY)
    model.set_rt_info(str(normalise).lower(), INSIDE_KEY)
    model.set_rt_info(check, CHECK_KEY)
    openvino.save_model(model, path, compress_to_fp16=precision == "fp16")


def quantise(plain: Path, path: Path, card: ModelCard, chips: Image, *, normalise: bool) -> None:
    """Quantise an ONNX graph to int8.

    Static quantisation, weights per channel, activations calibrated on faces (Jacob et al. 2018).
    Weights have 7 bits: without VNNI, processors add products of bytes in pairs to 16 bits, and
    2 x 255 x 64 fits where 2 x 255 x 127 overflows. So a file is right on every processor.

    Args:
        chips: `(N, H, W, 3) uint8` RGB real faces.
        normalise: preprocessing is in the graph.
    """
    import onnxruntime
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    takes = onnxruntime.InferenceSession(str(plain), providers=["CPUExecutionProvider"])
    name = takes.get_inputs()[0].name
    inputs = _inputs(card, chips, normalise=normalise)

    class Faces(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left: Iterator[Floats] = iter(inputs[:, None])

        def get_next(self) -> dict[str, Floats] | None:
            following = next(self._left, None)
            return None if following is None else {name: following}

    with tempfile.TemporaryDirectory() as folder, quiet():
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared), str(path), Faces(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, reduce_range=True,
        )  # fmt: skip


def _inputs(card: ModelCard, chips: Image, *, normalise: bool) -> Floats:
    x: Floats = chips.transpose(0, 3, 1, 2).astype(np.float32)
    if normalise:
        return x
    if card.colour == "BGR":
        x = x[:, ::-1]
    mean: Floats = np.array(card.mean, np.float32).reshape(1, 3, 1, 1)
    return ((x - mean) / np.array(card.std, np.float32).reshape(1, 3, 1, 1)).astype(np.float32)


def _halve(plain: Path, path: Path) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(plain), keep_io_types=True), path)


def require_agreement(
    exact: Embedder, rounded: Embedder, chips: Image, precision: str, where: str
) -> float:
    """Compare a converted network's vectors with PyTorch's, in batches of 1, 2 and 17.

    Args:
        chips: `(N, H, W, 3) uint8` RGB real faces, N >= 17.
        precision: a key of `LEAST_COSINE`.
        where: begins the error.

    Returns:
        the smallest cosine.

    Raises:
        UsageError: it is below `LEAST_COSINE`.
    """
    cosines = [
        (exact.embed(chips[:count]) * rounded.embed(chips[:count])).sum(axis=1).min()
        for count in BATCHES
    ]
    least = float(np.nan_to_num(cosines, nan=-1.0).min())
    if not least >= LEAST_COSINE[precision]:
        raise UsageError(
            f"{where}: its output has cosine {least:.6f} to PyTorch's, "
            f"{precision} needs {LEAST_COSINE[precision]}"
        )
    return least


def keep_parts(folder: Path, target: Path) -> None:
    """Move a model's files from `folder` to beside `target`, atomically.

    OpenVINO's `.bin` goes first: without its `.xml` it is no model.
    """
    for part in sorted(folder.iterdir()):
        with replacing(target.with_suffix(part.suffix)) as temporary:
            shutil.copyfile(part, temporary)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress the exporters' logs, warnings and prints."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
