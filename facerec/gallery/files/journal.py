"""Journal (write-ahead log) of a gallery file: changes since the file was written.

It begins with a magic string and the identity of the file that it continues. Each commit is a
record:
its length (uint64), the CRC-32 of its content and that of these two (uint32), the length of a JSON
text (uint32), that text (a list of changes), then the numbers of added faces, `(n, D + 15)
float32`: embedding, box, landmarks, score; qualities are in the text. All little-endian. A record
that ends beyond the file, or a last one with a wrong checksum, is what a killed writer left: it was
never committed.
"""

from __future__ import annotations

import json
import math
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from facerec.card import ModelCard
from facerec.errors import MissingError, UsageError
from facerec.faces import Floats
from facerec.files.parsing import MALFORMED, parse_json
from facerec.files.writing import replacing
from facerec.gallery.base import Batch
from facerec.gallery.entries import meta_texts
from facerec.gallery.memory import Append, Change, Merge, NewCard, Remove, Rename

_MAGIC = b"facerec journal 1\n"
_IDENTITY = 32
START = len(_MAGIC) + _IDENTITY
"""Offset of the first record."""
_DAMAGED: tuple[type[Exception], ...] = (*MALFORMED, MissingError)
_FRAME = struct.Struct("<QII")
_LENGTH = struct.Struct("<I")
_PLACE = 15
"""Numbers of a face after its embedding: box, landmarks, score."""


def journal_of(path: Path) -> Path:
    """The journal's path, for a gallery file's or that of a link to it."""
    place = Path(os.path.realpath(path))
    return place.with_name(f"{place.name}.journal")


class Journal(NamedTuple):
    """A journal's content: the file it continues, its changes, the end of its last record."""

    identity: str
    changes: list[Change]
    end: int


def read_journal(path: Path, size: int) -> Journal | None:
    """A journal, for embeddings of `size` values; None where there is none.

    Raises:
        MissingError: it is damaged before its last record.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(content) < START or not content.startswith(_MAGIC):
        raise MissingError(f"{path}: damaged: no journal of a gallery")
    changes: list[Change] = []
    end = START
    for record, stop in _records(path, content):
        try:
            changes += _decode(record, size)
        except _DAMAGED as error:
            raise MissingError(f"{path}: damaged at byte {end} ({error})") from error
        end = stop
    return Journal(content[len(_MAGIC) : START].decode("ascii", "replace"), changes, end)


def read_identity(path: Path) -> str:
    """The identity of the file that a journal continues; empty without a journal."""
    try:
        with path.open("rb") as file:
            return file.read(START)[len(_MAGIC) :].decode("ascii", "replace")
    except FileNotFoundError:
        return ""


def create_journal(path: Path, identity: str, gallery: Path) -> None:
    """Create an empty journal, readable by whoever may read the gallery.

    Raises:
        UsageError: the place cannot be written.
    """
    with replacing(path, like=gallery) as temporary:
        temporary.write_bytes(_MAGIC + identity.encode("ascii"))


def append_changes(path: Path, end: int, changes: Sequence[Change]) -> int:
    """Write one record at `end`, over what a killed writer left there; returns the new end.

    It is on disk when this returns.

    Raises:
        UsageError: the place cannot be written.
    """
    try:
        with path.open("r+b") as file:
            file.truncate(end)
            file.seek(end)
            record = _encode(changes)
            file.write(_frame(record) + record)
            file.flush()
            os.fsync(file.fileno())
            return file.tell()
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from error


def _records(path: Path, content: bytes) -> Iterator[tuple[memoryview, int]]:
    """Each whole record and its end."""
    start, view = START, memoryview(content)
    while start + _FRAME.size <= len(content):
        frame = content[start : start + _FRAME.size]
        length, _, _ = _FRAME.unpack(frame)
        stop = start + _FRAME.size + length
        record = view[start + _FRAME.size : stop]
        # Zeros: the file was extended, and the power failed before the record was written.
        if not any(frame):
            return
        if frame[-4:] != _crc(frame[:-4]):
            raise MissingError(f"{path}: damaged at byte {start}: a record's frame is wrong")
        if stop > len(content):
            return
        if frame != _frame(record):
            if stop == len(content):
                return
            raise MissingError(f"{path}: damaged at byte {start}: a record's checksum is wrong")
        yield record, stop
        start = stop


def _frame(record: bytes | memoryview) -> bytes:
    sums = struct.pack("<Q", len(record)) + _crc(record)
    return sums + _crc(sums)


def _crc(content: bytes | memoryview) -> bytes:
    return struct.pack("<I", zlib.crc32(content))


def _encode(changes: Sequence[Change]) -> bytes:
    text = json.dumps([_to_json(change) for change in changes], ensure_ascii=False)
    encoded = text.encode("utf-8", "surrogateescape")
    numbers = [_numbers(change.batch) for change in changes if isinstance(change, Append)]
    return b"".join(
        [_LENGTH.pack(len(encoded)), encoded, *(rows.astype("<f4").tobytes() for rows in numbers)]
    )


def _decode(record: memoryview, size: int) -> list[Change]:
    (length,) = _LENGTH.unpack_from(record)
    start = _LENGTH.size + length
    text = bytes(record[_LENGTH.size : start]).decode("utf-8", "surrogateescape")
    rows = np.frombuffer(record[start:], "<f4").reshape(-1, size + _PLACE)
    changes, first = [], 0
    for fields in parse_json(text):
        count = len(fields.get("person", ())) if fields["change"] == "append" else 0
        changes.append(_from_json(fields, rows[first : first + count]))
        first += count
    return changes


def _texts(values: Any, count: int | None = None) -> list[str]:
    """The values, which are texts, and so many.

    Raises:
        TypeError: they are none.
        ValueError: there are more or fewer.
    """
    if not (isinstance(values, list) and all(isinstance(value, str) for value in values)):
        raise TypeError("a name is no text")
    if count is not None and len(values) != count:
        raise ValueError("other faces than names")
    return values


def _qualities(values: list[float | None], count: int) -> Floats:
    if len(values) != count:
        raise ValueError("other faces than qualities")
    return np.array([math.nan if value is None else value for value in values], np.float32)


def _numbers(batch: Batch) -> Floats:
    rows = len(batch)
    parts = (batch.embeddings, batch.box, batch.landmarks, batch.score)
    joined: Floats = np.concatenate([part.reshape(rows, -1) for part in parts], axis=1)
    return joined


def _to_json(change: Change) -> dict[str, Any]:
    if isinstance(change, Append):
        batch = change.batch
        return {
            "change": "append",
            "replace": change.replace,
            "person": list(batch.person),
            "source": list(batch.source),
            "sha256": list(batch.sha256),
            "meta": [dict(meta) for meta in batch.meta],
            "quality": [None if math.isnan(one) else one for one in batch.quality.tolist()],
        }
    if isinstance(change, Remove):
        return {"change": "remove", "name": change.person, "source": change.source}
    if isinstance(change, Rename):
        return {"change": "rename", "old": change.old, "new": change.new}
    if isinstance(change, Merge):
        return {"change": "merge", "source": change.source, "target": change.target}
    return {"change": "card", "card": change.card.to_json()}


def _from_json(fields: dict[str, Any], rows: Floats) -> Change:
    kind = fields["change"]
    if kind == "append":
        embeddings, box, landmarks, score = np.split(rows, [-15, -11, -1], axis=1)
        count = len(rows)
        if len(fields["meta"]) != count:
            raise ValueError("other faces than metadata")
        return Append(
            Batch(
                _texts(fields["person"], count),
                _texts(fields["source"], count),
                _texts(fields["sha256"], count),
                [meta_texts(meta) for meta in fields["meta"]],
                embeddings,
                box,
                landmarks.reshape(-1, 5, 2),
                score.reshape(-1),
                _qualities(fields.get("quality", [None] * count), count),
            ),
            bool(fields["replace"]),
        )
    if kind == "remove":
        (name,) = _texts([fields["name"]])
        return Remove(name, None if fields["source"] is None else _texts([fields["source"]])[0])
    if kind == "rename":
        return Rename(*_texts([fields["old"], fields["new"]]))
    if kind == "merge":
        return Merge(*_texts([fields["source"], fields["target"]]))
    if kind == "card":
        card = ModelCard.from_json(fields["card"], "the journal")
        if card.embedding_size + _PLACE != rows.shape[1]:
            raise ValueError("a card of another size")
        return NewCard(card)
    raise ValueError(f"unknown change {kind}")
