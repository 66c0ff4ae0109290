"""Reading SFace's network from OpenCV Zoo's ONNX file with weights of eight bits in blocks.

The file's weights are `(quantized - zero_point) * scale`, with a zero point and a scale for each
block of a row (ONNX `DequantizeLinear`, opset 21). They are read from the protobuf message itself,
as its graph names inputs that it does not use, which ONNX Runtime then asks for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from facerec.errors import MissingError
from facerec.faces import Floats
from facerec.files.parsing import MALFORMED, brief

_GRAPH, _INITIALIZER = 7, 5
_DIMS, _TYPE, _FLOATS, _NAME, _RAW = 1, 2, 4, 8, 9
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_DTYPES = {1: "<f4", 3: "i1", 7: "<i8"}
_BLOCKS = 14
_CONVOLUTIONS = [
    "conv_1",
    *(f"conv_{block}{part}" for block in range(2, _BLOCKS + 1) for part in ("_dw", "")),
]
_EPSILON, _LAST_EPSILON = 1e-3, 2e-5


def read_sface(path: Path) -> dict[str, Floats]:
    """State dict of `models.sface_mobilenet.SFaceMobileNet`, each batch norm folded in.

    Raises:
        MissingError: the file is no such network, or is damaged.
    """
    try:
        tensors = dict(_tensors(path.read_bytes()))
        return _folded(tensors)
    except MALFORMED as error:
        raise MissingError(f"{path}: not SFace's known network: {brief(error)}") from error


def _folded(tensors: dict[str, np.ndarray]) -> dict[str, Floats]:
    state: dict[str, Floats] = {}
    for index, name in enumerate(_CONVOLUTIONS):
        gain, offset = _affine(tensors, f"{name}_batchnorm", _EPSILON)
        weight = _dequantised(tensors, f"{name}_conv2d_weight")
        state[f"convolutions.{index}.weight"] = weight * gain[:, None, None, None]
        state[f"convolutions.{index}.bias"] = offset
        state[f"activations.{index}.weight"] = tensors[f"{name}_relu_gamma"].ravel()
    # A batch norm before the linear layer, by channel of 7x7 values, and one after it.
    gain, offset = _affine(tensors, "bn1", _LAST_EPSILON)
    weight, bias = (_dequantised(tensors, f"pre_fc1_{kind}") for kind in ("weight", "bias"))
    cells = weight.shape[1] // len(gain)
    bias = bias + weight @ np.repeat(offset, cells)
    weight = weight * np.repeat(gain, cells)
    gain, offset = _affine(tensors, "fc1", _LAST_EPSILON)
    state["head.weight"], state["head.bias"] = weight * gain[:, None], bias * gain + offset
    return {key: np.array(value, np.float32, order="C") for key, value in state.items()}


def _affine(tensors: dict[str, np.ndarray], name: str, epsilon: float) -> tuple[Floats, Floats]:
    """A batch norm as `gain * x + offset`."""
    gamma, beta, mean, variance = (
        tensors[f"{name}_{part}"].astype(np.float32)
        for part in ("gamma", "beta", "moving_mean", "moving_var")
    )
    gain = (gamma / np.sqrt(variance + epsilon)).astype(np.float32)
    return gain, (beta - mean * gain).astype(np.float32)


def _dequantised(tensors: dict[str, np.ndarray], name: str) -> Floats:
    rows, scales, zeros = (
        tensors[f"{name}_{part}"].astype(np.float32)
        for part in ("quantized", "scales", "zero_point")
    )
    shape = (*scales.shape, -1)
    values = (rows.reshape(shape) - zeros[..., None]) * scales[..., None]
    return values.reshape(tensors[f"{name}_shape"])


def _tensors(model: bytes) -> Iterator[tuple[str, np.ndarray]]:
    """Names and values of an ONNX model's initializers."""
    for number, _, graph in _fields(memoryview(model)):
        if number != _GRAPH:
            continue
        for kind, _, tensor in _fields(graph):
            if kind == _INITIALIZER:
                yield _tensor(tensor)


def _tensor(message: memoryview) -> tuple[str, np.ndarray]:
    dims: list[int] = []
    name, values, dtype = "", memoryview(b""), ""
    for number, integer, content in _fields(message):
        if number == _DIMS:
            dims += _varints(content) if content else [integer]
        elif number == _TYPE:
            dtype = _DTYPES[integer]
        elif number == _NAME:
            name = bytes(content).decode()
        elif number in (_FLOATS, _RAW):
            values = content
    return name, np.frombuffer(values, dtype).reshape(dims)


def _fields(message: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Numbers of a protobuf message's fields, each with its integer (0 where it has none) and its
    bytes (empty for an integer)."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value, message[:0]
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        else:
            size = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}[kind]
        if at + size > len(message):
            raise ValueError(f"a field at byte {at} reaches beyond its message")
        yield key >> 3, 0, message[at : at + size]
        at += size


def _varints(packed: memoryview) -> list[int]:
    found, at = [], 0
    while at < len(packed):
        value, at = _varint(packed, at)
        found.append(value)
    return found


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
