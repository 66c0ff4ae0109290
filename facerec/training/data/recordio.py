"""RecordIO: insightface's `train.rec` and `train.idx`, without MXNet.

A record is the magic 0xced7230a, one word with a continuation flag (upper 3 bits) and a length
(lower 29), that many bytes, and zeros up to a multiple of 4 (dmlc-core, recordio.h). Its content is
an image header (`IfQQ`: flag, label, id, id2), `flag` more float32 labels, and the encoded image
(mxnet, recordio.py). Record 0 of insightface's sets has two labels: the first key after the images,
and the first key after the records that give each person's range of images.
"""

from __future__ import annotations

import os
import struct
import threading
from pathlib import Path

import numpy as np

from facerec.errors import InputError, MissingError
from facerec.faces import Image
from facerec.imaging.decode import decode_image
from facerec.training.data import Labels
from facerec.training.data.tree import MAX_PIXELS

_MAGIC = 0xCED7230A
_MAGIC_BYTES = struct.pack("<I", _MAGIC)
_HEADER = struct.Struct("<IfQQ")
_MAX_RECORD = 1 << 29


class RecordFile:
    """A `.rec` file with its `.idx` beside it.

    Raises:
        MissingError: one of them is absent, or they are no image records.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        index = path.with_suffix(".idx")
        for part in (path, index):
            if not part.is_file():
                raise MissingError(f"{part}: no such file; a record file needs .rec and .idx")
        self._offsets = _read_index(index)
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._seeking = threading.Lock()
        try:
            self._keys, labels = self._list_images()
        except (InputError, ValueError, OverflowError) as error:
            raise MissingError(f"{path}: not insightface's image records: {error}") from error
        unique, inverse = np.unique(labels, return_inverse=True)
        self.people = [str(int(label)) for label in unique]
        self.labels: Labels = inverse.astype(np.int64)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def name(self, index: int) -> str:
        return f"{self._path}:{self._keys[index]}"

    def image(self, index: int) -> Image:
        key = self._keys[index]
        _, _, data = _split(self._record(key))
        return decode_image(data, self.name(index), MAX_PIXELS)

    def _list_images(self) -> tuple[list[int], Labels]:
        flag, labels, _ = _split(self._record(0)) if 0 in self._offsets else (0, (), b"")
        if flag != 2:
            return self._list_labelled(sorted(self._offsets))
        images, people = (int(label) for label in labels)
        # arcface_torch looks at no person's record, and some writers leave them out.
        if not any(images <= key < people for key in self._offsets):
            return self._list_labelled([key for key in sorted(self._offsets) if 0 < key < images])
        keys: list[int] = []
        found: list[int] = []
        for number, key in enumerate(range(images, people)):
            _, (first, after), _ = _split(self._record(key))
            if not 0 <= after - first <= len(self._offsets):
                raise InputError(f"its person {number} has {after - first:g} images")
            keys.extend(range(int(first), int(after)))
            found.extend([number] * int(after - first))
        return keys, np.array(found, np.int64)

    def _list_labelled(self, keys: list[int]) -> tuple[list[int], Labels]:
        """Images whose own records say whose they are, in the first of their labels."""
        labels = [_split(self._record(key))[1][0] for key in keys]
        return keys, np.array(labels, np.int64)

    def _record(self, key: int) -> bytes:
        if key not in self._offsets:
            raise InputError(f"{self._path}: its index has no record {key}")
        position = self._offsets[key]
        parts = []
        while True:
            magic, word = struct.unpack("<II", self._read(position, 8, key))
            flag, length = word >> 29, word & 0x1FFFFFFF
            if magic != _MAGIC or length > _MAX_RECORD:
                raise InputError(f"{self._path}: damaged at record {key}")
            parts.append(self._read(position + 8, length, key))
            # 0: whole; 1, 2, 3: first, middle, last part of data in which the magic occurred.
            if flag in (0, 3):
                return _MAGIC_BYTES.join(parts)
            position += 8 + length + -length % 4

    def _read_at(self, position: int, length: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._file, length, position)
        # Windows has none.
        with self._seeking:
            os.lseek(self._file, position, os.SEEK_SET)
            parts = []
            while length > 0 and (part := os.read(self._file, length)):
                parts.append(part)
                length -= len(part)
        return b"".join(parts)

    def _read(self, position: int, length: int, key: int) -> bytes:
        try:
            data = self._read_at(position, length)
        except (OSError, OverflowError) as error:
            raise InputError(f"{self._path}: its index is wrong at record {key}") from error
        if len(data) != length:
            raise InputError(f"{self._path}: ends within record {key}")
        return data


def _read_index(path: Path) -> dict[int, int]:
    try:
        lines = path.read_text(encoding="ascii").split("\n")
        return {int(key): int(at) for key, at in (line.split("\t") for line in lines if line)}
    except ValueError as error:
        raise MissingError(f"{path}: not an index of records (key, tab, offset)") from error


def _split(record: bytes) -> tuple[int, tuple[float, ...], bytes]:
    """Flag, labels and image of a record's content."""
    flag, label, _, _ = _HEADER.unpack_from(record.ljust(_HEADER.size, b"\0"))
    start = _HEADER.size + 4 * flag
    if start > len(record):
        raise InputError("a record is shorter than its header says")
    labels = struct.unpack_from(f"<{flag}f", record, _HEADER.size) if flag else (label,)
    return flag, labels, record[start:]
