"""Which files beside an ONNX model hold its weights, read from its protobuf message.

A model names them in `TensorProto.external_data`, wherever tensors stand (onnx/onnx.proto). The
message is walked field by field rather than parsed, so that embedded weights are skipped: a parsed
message would hold them all, and the package `onnx` is an extra.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path, PurePath

from facerec.errors import MissingError

PARTS: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto", 6: "GraphProto", 10: "TensorProto", 11: "GraphProto",
        22: "SparseTensorProto", 23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}  # fmt: skip
"""By message: the fields that lead to a tensor, and their messages."""
_EXTERNAL_DATA, _DATA_LOCATION, _EXTERNAL = 13, 14, 1
_KEY, _VALUE = 1, 2

Bytes = bytes | mmap.mmap
Field = tuple[int, int, int]
"""Number, and where its bytes begin and end; of a number as a varint: the number, twice."""


def weight_files(path: Path) -> list[Path]:
    """The files beside an ONNX model that hold weights of it, each once, in order of their names.

    Raises:
        MissingError: the file cannot be read, is no ONNX model, or names a file outside its folder.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            locations = external_locations(data)
    except FileNotFoundError as error:
        raise MissingError(f"{path}: no such model file") from error
    except OSError as error:
        raise MissingError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise MissingError(f"{path}: not a readable ONNX model: {error}") from error
    for location in locations:
        inside = PurePath(os.path.normpath(location))
        if inside.anchor or ".." in inside.parts or not location:
            raise MissingError(f"{path}: names weights outside its folder: {location!r}")
    return [path.parent / location for location in sorted(locations)]


def external_locations(model: Bytes) -> set[str]:
    """The `location` of each tensor that is stored outside a `ModelProto`.

    Raises:
        ValueError: the bytes are no such message.
    """
    found = set()
    left = [("ModelProto", 0, len(model))]
    while left:
        kind, start, end = left.pop()
        if kind == "TensorProto":
            found |= _location(model, start, end)
            continue
        for number, first, after in _fields(model, start, end):
            if number in PARTS[kind]:
                left.append((PARTS[kind][number], first, after))
    return found


def _location(model: Bytes, start: int, end: int) -> set[str]:
    entries: dict[bytes, bytes] = {}
    external = False
    for number, first, after in _fields(model, start, end):
        if number == _DATA_LOCATION:
            external = first == _EXTERNAL
        elif number == _EXTERNAL_DATA:
            entry = {part: model[a:b] for part, a, b in _fields(model, first, after)}
            entries[entry.get(_KEY, b"")] = entry.get(_VALUE, b"")
    return {entries.get(b"location", b"").decode()} if external else set()


def _fields(model: Bytes, start: int, end: int) -> Iterator[Field]:
    """Fields of the message in `[start, end)`; those of a fixed width are passed over.

    See protobuf.dev/programming-guides/encoding.
    """
    while start < end:
        tag, start = _varint(model, start, end)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, start = _varint(model, start, end)
            yield number, value, value
        elif wire == 2:
            length, start = _varint(model, start, end)
            if length > end - start:
                raise ValueError("cut off")
            yield number, start, start + length
            start += length
        elif wire in (1, 5):
            start += 8 if wire == 1 else 4
        else:
            raise ValueError(f"a field of type {wire}")


def _varint(model: Bytes, start: int, end: int) -> tuple[int, int]:
    """A number of 7 bits a byte, and where it ends."""
    value = shift = 0
    while start < end and shift < 70:
        byte = model[start]
        value |= (byte & 127) << shift
        start, shift = start + 1, shift + 7
        if byte < 128:
            return value, start
    raise ValueError("cut off")
