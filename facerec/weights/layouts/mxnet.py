"""MXNet's `.params`, and insightface's MobileFaceNet in it.

Format (mxnet, src/ndarray/ndarray.cc, `NDArray::Save`): magic 0x112 and a zero as uint64; the
number of arrays; each array; the number of names; each name with its length. An array has a magic
of its version, a storage type (0: dense), its shape as int32 rank and int64 sides, a device, a
type, and its values, all little-endian. Version 1 has no storage type; older ones begin with the
rank.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from facerec.alignment.templates import ARCFACE
from facerec.errors import MissingError
from facerec.files.parsing import MALFORMED, brief
from facerec.weights.layouts import Imported, State

_LIST_MAGIC = 0x112
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_TYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4", 5: "i1", 6: "<i8"}
_MOST_DIMENSIONS = 8
# BatchNorm's epsilons: MXNet's default, insightface's last layer, and ours.
_EPSILON, _LAST_EPSILON, _OUR_EPSILON = 1e-3, 2e-5, 1e-5


def read_params(path: Path) -> State:
    """Named arrays of a `.params` file, `arg:` and `aux:` before the names removed.

    Raises:
        MissingError: it cannot be read or is no such file.
    """
    try:
        return _Reader(path.read_bytes()).read()
    except MALFORMED as error:
        raise MissingError(f"{path}: not MXNet's parameters: {brief(error)}") from error


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def read(self) -> State:
        magic, _, count = self._take("<QQQ")
        if magic != _LIST_MAGIC:
            raise ValueError("wrong magic number")
        arrays = [self._array() for _ in range(min(count, len(self._data)))]
        (names,) = self._take("<Q")
        if names != count:
            raise ValueError(f"{count} arrays, {names} names")
        return {self._name().partition(":")[2]: array for array in arrays}

    def _take(self, layout: str) -> tuple[int, ...]:
        values = struct.unpack_from(layout, self._data, self._at)
        self._at += struct.calcsize(layout)
        return values

    def _name(self) -> str:
        (length,) = self._take("<Q")
        name = self._data[self._at : self._at + length]
        if len(name) != length:
            raise ValueError("ends within a name")
        self._at += length
        text = name.decode("utf-8")
        return text if ":" in text else f":{text}"

    def _array(self) -> np.ndarray:
        (magic,) = self._take("<I")
        if magic in (_V2, _V3):
            (storage,) = self._take("<i")
            if storage not in (0, -1):
                raise ValueError("sparse arrays are not read")
        if magic in (_V1, _V2, _V3):
            (rank,) = self._take("<i")
            side = "q"
        else:
            rank, side = magic, "I"
        if not 0 <= rank <= _MOST_DIMENSIONS:
            raise ValueError(f"{rank} dimensions")
        shape = self._take(f"<{rank}{side}")
        _device, _number, kind = self._take("<iii")
        dtype = np.dtype(_TYPES[kind])
        count = int(np.prod(shape, dtype=np.int64))
        end = self._at + count * dtype.itemsize
        if count < 0 or end > len(self._data):
            raise ValueError("ends within an array")
        array = np.frombuffer(self._data, dtype, count, self._at).reshape(shape)
        self._at = end
        return array.astype(np.float32)


def import_mobilefacenet(params: State) -> Imported:
    """insightface's `fmobilefacenet`, in the names of InsightFace_Pytorch.

    Its epsilons are put into the variances, and the bias before the last batch norm into that
    norm's mean, so that the result is the same.

    Raises:
        ValueError: it is another network.
    """
    if "pre_fc1_weight" not in params or "conv_6dw7_7_conv2d_weight" not in params:
        raise ValueError("of MXNet's networks only insightface's MobileFaceNet is read")
    state: State = {}
    for name, array in params.items():
        if not name.startswith(("pre_fc1", "fc1")):
            place, layer, kind = _place(name)
            if layer == "batchnorm":
                state |= _norm(f"{place}.bn", kind, array, _EPSILON)
            else:
                inner = "conv" if layer == "conv2d" else "prelu"
                state[f"{place}.{inner}.weight"] = array
    state["linear.weight"] = params["pre_fc1_weight"]
    for kind in ("beta", "moving_var"):
        state |= _norm("bn", kind, params[f"fc1_{kind}"], _LAST_EPSILON)
    # fix_gamma: the stored gain is not used.
    state["bn.weight"] = np.ones_like(params["fc1_beta"])
    state["bn.running_mean"] = params["fc1_moving_mean"] - params.get("pre_fc1_bias", 0)
    fields = {
        "input_height": 112, "input_width": 112, "embedding_size": len(state["linear.weight"]),
        "template": ARCFACE, "mean": [127.5] * 3, "std": [128.0] * 3,
    }  # fmt: skip
    return Imported("mobilefacenet", state, fields)


def _place(name: str) -> tuple[str, str, str]:
    """Where a parameter belongs: module, layer and kind."""
    stem, _, kind = name.rpartition("_")
    if kind in ("mean", "var"):
        stem, kind = stem.rpartition("_")[0], f"moving_{kind}"
    unit, _, layer = stem.rpartition("_")
    outer = {
        "conv_1": "conv1", "conv_2_dw": "conv2_dw", "conv_6sep": "conv_6_sep",
        "conv_6dw7_7": "conv_6_dw",
    }  # fmt: skip
    if unit in outer:
        return outer[unit], layer, kind
    parts = unit.split("_")
    inner = {"sep": "conv", "dw": "conv_dw", "proj": "project"}.get(parts[-1])
    if inner is None or parts[-2] != "conv":
        raise ValueError(f"unknown parameter {name}")
    if parts[0] == "dconv":
        return f"conv_{parts[1]}.{inner}", layer, kind
    block = parts[2].removeprefix("block")
    return f"conv_{parts[1]}.model.{block}.{inner}", layer, kind


def _norm(place: str, kind: str, array: np.ndarray, epsilon: float) -> State:
    name = {
        "gamma": "weight", "beta": "bias", "moving_mean": "running_mean",
        "moving_var": "running_var",
    }[kind]  # fmt: skip
    if kind == "moving_var":
        array = array + np.float32(epsilon - _OUR_EPSILON)
    return {f"{place}.{name}": array}
