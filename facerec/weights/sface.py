"""Reading SFace's network from OpenCV Zoo's ONNX file with weights of eight bits in blocks.

The file's weights are `(quantized - zero_point) * scale`, with a zero point and a scale for each
block of a row (ONNX `DequantizeLinear`, opset 21). They are read from the protobuf message itself,
as its graph names inputs that it does not use, which ONNX Runtime then asks for, and the package
`onnx` is an extra.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from facerec.errors import MissingError
from facerec.faces import Floats
from facerec.files.parsing import MALFORMED, brief
from facerec.files.protobuf import new_message, parse_message

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
        return _folded(_read_tensors(path))
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


def _read_tensors(path: Path) -> dict[str, np.ndarray]:
    """An ONNX model's initializers by name."""
    model = _model_message()
    parse_message(model, path.read_bytes())
    return {tensor.name: _values(tensor) for tensor in model.graph.initializer}


def _values(tensor: Any) -> np.ndarray:
    dtype = _DTYPES[tensor.data_type]
    flat = (
        np.array(tensor.float_data, dtype)
        if tensor.float_data
        else np.frombuffer(tensor.raw_data, dtype)
    )
    return flat.reshape(tensor.dims)


def _model_message() -> Any:
    """ONNX's `ModelProto`, with its graph's initializers alone (onnx/onnx.proto)."""
    from google.protobuf import descriptor_pb2

    field = descriptor_pb2.FieldDescriptorProto
    once, often = field.LABEL_OPTIONAL, field.LABEL_REPEATED
    schema = descriptor_pb2.FileDescriptorProto(name="onnx.proto", package="onnx", syntax="proto2")
    tensor = schema.message_type.add(name="TensorProto")
    tensor.field.add(name="dims", number=1, type=field.TYPE_INT64, label=often)
    tensor.field.add(name="data_type", number=2, type=field.TYPE_INT32, label=once)
    tensor.field.add(name="float_data", number=4, type=field.TYPE_FLOAT, label=often)
    tensor.field.add(name="name", number=8, type=field.TYPE_STRING, label=once)
    tensor.field.add(name="raw_data", number=9, type=field.TYPE_BYTES, label=once)
    for name, inner, number, inside, label in (
        ("GraphProto", "initializer", 5, "TensorProto", often),
        ("ModelProto", "graph", 7, "GraphProto", once),
    ):
        schema.message_type.add(name=name).field.add(
            name=inner, number=number, type=field.TYPE_MESSAGE, label=label,
            type_name=f".onnx.{inside}",
        )  # fmt: skip
    return new_message(schema, "onnx.ModelProto")
