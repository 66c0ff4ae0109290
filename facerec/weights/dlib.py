"""Reading dlib's face recognition ResNet (`.dat`), as dlib's `serialize` writes it.

Format (dlib/serialize.h, dlib/dnn/layers.h): a string is its length and its bytes; an integer
is one byte (low four bits: byte count, high bit: sign) and its little-endian bytes; a tensor is
version 2, four dimensions, and raw little-endian float32. The innermost layer comes first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from facerec.errors import MissingError
from facerec.faces import Floats
from facerec.files.parsing import MALFORMED, brief

_TENSOR_VERSION = 2
_NAME = re.compile(rb"\x01\x05con_4|\x01\x07affine_|\x01\x04fc_2")
_BLOCKS = 14
_CONVOLUTIONS = [
    "stem",
    *(f"blocks.{block}.{name}" for block in range(_BLOCKS) for name in ("first", "second")),
]


def read_dlib_resnet(path: Path) -> dict[str, Floats]:
    """State dict of `models.dlib_resnet.DlibResNet`: each convolution with the per-channel
    affine that follows it folded in (`gain * (w x + b) + offset`).

    Raises:
        MissingError: the file is no such network, or is damaged.
    """
    try:
        layers = list(_layers(path.read_bytes()))
    except MALFORMED as error:
        raise MissingError(f"{path}: damaged dlib network: {brief(error)}") from error
    expected = [b"con_4", b"affine_"] * len(_CONVOLUTIONS) + [b"fc_2"]
    if [name for name, _ in layers] != expected:
        raise MissingError(f"{path}: not dlib's face recognition ResNet")

    state: dict[str, Floats] = {}
    inputs = 3
    for index, name in enumerate(_CONVOLUTIONS):
        values, affine = layers[2 * index][1], layers[2 * index + 1][1]
        gain, offset = np.split(affine, 2)
        outputs = len(gain)
        weight = values[:-outputs].reshape(outputs, inputs, -1) * gain[:, None, None]
        side = round(weight.shape[2] ** 0.5)
        state[f"{name}.weight"] = weight.reshape(outputs, inputs, side, side)
        state[f"{name}.bias"] = values[-outputs:] * gain + offset
        inputs = outputs
    state["head.weight"] = np.ascontiguousarray(layers[-1][1].reshape(inputs, -1).T)
    return state


def _layers(data: bytes) -> Iterator[tuple[bytes, Floats]]:
    position = 0
    while found := _NAME.search(data, position):
        position, name = found.end(), found[0][2:]
        if name == b"fc_2":
            _outputs, position = _integer(data, position)
            _inputs, position = _integer(data, position)
        values, position = _tensor(data, position)
        yield name, values


def _integer(data: bytes, position: int) -> tuple[int, int]:
    control = data[position]
    count = control & 0x0F
    end = position + 1 + count
    if not 1 <= count <= 8 or end > len(data):
        raise ValueError(f"bad integer at byte {position}")
    value = int.from_bytes(data[position + 1 : end], "little")
    return (-value if control & 0x80 else value), end


def _tensor(data: bytes, position: int) -> tuple[Floats, int]:
    version, position = _integer(data, position)
    if version != _TENSOR_VERSION:
        raise ValueError(f"tensor version {version} at byte {position}")
    count = 1
    for _ in range(4):
        size, position = _integer(data, position)
        count *= size
    end = position + 4 * count
    if count < 0 or end > len(data):
        raise ValueError(f"the tensor at byte {position} reaches beyond the file")
    return np.frombuffer(data, "<f4", count, position).astype(np.float32), end
