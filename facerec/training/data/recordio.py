"""RecordIO: insightface's `train.rec` and `train.idx`, without MXNet.

A record is the magic 0xced7230a, one word with a continuation flag (upper 3 bits) and a length
(lower 29), that many bytes, and zeros up to a multiple of 4 (dmlc-core, recordio.h). Its content is
an image header (`IfQQ`: flag, label, id, id2), `flag` more float32 labels, and the encoded image
(mxnet, recordio.py). Record 0 of insightface's sets has two labels: the first key after the images,
and the first key after the records that give each person's range of images.

Labels are float32, which holds whole numbers up to 2^24 exactly: in a set of more records
(Glint360K, WebFace42M) keys in record 0 and in ranges are rounded. arcface_torch takes each image's
label from its own record, everywhere.
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
_FRAME = struct.Struct("<II")
_HEADER = struct.Struct("<IfQQ")
_LABEL = struct.Struct("<f")
_MAX_RECORD = 1 << 29
_EXACT = 1 << 24


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
        # Some writers leave out the people's records. Where they can be trusted, they are far fewer
        # than the images.
        ranged = max(self._offsets) < _EXACT
        if not ranged or not any(images <= key < people for key in self._offsets):
            return self._list_labelled(self._keys_before(images))
        keys: list[int] = []
        found: list[int] = []
        for number, key in enumerate(range(images, people)):
            _, (first, after), _ = _split(self._record(key))
            if not 0 <= after - first <= len(self._offsets):
                raise InputError(f"its person {number} has {after - first:g} images")
            keys.extend(range(int(first), int(after)))
            found.extend([number] * int(after - first))
        return keys, np.array(found, np.int64)

    def _keys_before(self, after: int) -> list[int]:
        """Keys of images, up to the first key after them, which may have been rounded."""
        rounding = after // _EXACT
        return [
            key
            for key in sorted(self._offsets)
            if 0 < key < after - rounding
            or (after - rounding <= key < after + rounding and self._holds_image(key))
        ]

    def _holds_image(self, key: int) -> bool:
        """Whether a record is no person's."""
        return bool(_split(self._record(key))[2])

    def _list_labelled(self, keys: list[int]) -> tuple[list[int], Labels]:
        """Images whose own records say whose they are, in the first of their labels."""
        labels = (int(self._first_label(key)) for key in keys)
        return keys, np.fromiter(labels, np.int64, len(keys))

    def _first_label(self, key: int) -> float:
        """Of a record, whose image is not read."""
        start = self._read_up_to(self._offsets[key], _FRAME.size + _HEADER.size + _LABEL.size, key)
        part, length = self._parse_frame(start[: _FRAME.size], key)
        if part:
            # The magic may occur in what is looked for.
            return _split(self._record(key))[1][0]
        content = start[_FRAME.size :][:length]
        if len(content) < min(length, _HEADER.size + _LABEL.size):
            raise InputError(f"{self._path}: ends within record {key}")
        flag, label = _parse_header(content, length)
        return label if not flag else float(_LABEL.unpack_from(content, _HEADER.size)[0])

    def _record(self, key: int) -> bytes:
        if key not in self._offsets:
            raise InputError(f"{self._path}: its index has no record {key}")
        position = self._offsets[key]
        parts = []
        while True:
            flag, length = self._parse_frame(self._read(position, _FRAME.size, key), key)
            parts.append(self._read(position + _FRAME.size, length, key))
            # 0: whole; 1, 2, 3: first, middle, last part of data in which the magic occurred.
            if flag in (0, 3):
                return _MAGIC_BYTES.join(parts)
            position += _FRAME.size + length + -length % 4

    def _parse_frame(self, frame: bytes, key: int) -> tuple[int, int]:
        """Continuation flag and length of a record, or of a part of one."""
        if len(frame) < _FRAME.size:
            raise InputError(f"{self._path}: ends within record {key}")
        magic, word = _FRAME.unpack(frame)
        flag, length = word >> 29, word & 0x1FFFFFFF
        if magic != _MAGIC or length > _MAX_RECORD:
            raise InputError(f"{self._path}: damaged at record {key}")
        return flag, length

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

    def _read_up_to(self, position: int, length: int, key: int) -> bytes:
        """The bytes at a position, fewer at the file's end."""
        try:
            return self._read_at(position, length)
        except (OSError, OverflowError) as error:
            raise InputError(f"{self._path}: its index is wrong at record {key}") from error

    def _read(self, position: int, length: int, key: int) -> bytes:
        data = self._read_up_to(position, length, key)
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
    flag, label = _parse_header(record, len(record))
    start = _HEADER.size + 4 * flag
    labels = struct.unpack_from(f"<{flag}f", record, _HEADER.size) if flag else (label,)
    return flag, labels, record[start:]


def _parse_header(content: bytes, length: int) -> tuple[int, float]:
    """Flag and label of a record's content, of which the beginning is enough.

    Args:
        length: of all of it.
    """
    flag, label, _, _ = _HEADER.unpack_from(content.ljust(_HEADER.size, b"\0"))
    if _HEADER.size + 4 * flag > length:
        raise InputError("a record is shorter than its header says")
    return flag, label
