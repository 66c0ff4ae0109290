"""How a file's bytes are made from those of its next version: exactly, and small.

Names add one segment to a file of megabytes, so what was there before is the part that differs.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from hashlib import sha256

import numpy as np


@dataclass(frozen=True, slots=True)
class Patch:
    """What makes the earlier bytes of a file of the later ones.

    Attributes:
        before: SHA-256 of the earlier bytes; None: there was no file.
        after: SHA-256 of the later ones.
        start: where they begin to differ.
        length: bytes of the later ones that differ.
        old: the earlier ones in their place, compressed by zlib.
    """

    before: str | None
    after: str
    start: int
    length: int
    old: bytes


def make_patch(before: bytes | None, after: bytes) -> Patch:
    """The patch between two versions of a file."""
    if before is None:
        return Patch(None, _hash(after), 0, len(after), b"")
    start = _common(before, after)
    shared = min(len(before), len(after)) - start
    end = min(_common(before[::-1], after[::-1]), shared)
    old = zlib.compress(before[start : len(before) - end])
    return Patch(_hash(before), _hash(after), start, len(after) - end - start, old)


def earlier_bytes(patch: Patch, after: bytes) -> bytes | None:
    """The earlier bytes of a file that has not been changed since; None: it has."""
    if _hash(after) != patch.after:
        return None
    old = zlib.decompress(patch.old) if patch.old else b""
    return after[: patch.start] + old + after[patch.start + patch.length :]


def is_before(patch: Patch, data: bytes | None) -> bool:
    """Whether these are the earlier bytes, or none where there was no file."""
    return (None if data is None else _hash(data)) == patch.before


def _hash(data: bytes) -> str:
    return sha256(data).hexdigest()


def _common(one: bytes, other: bytes) -> int:
    """Bytes at the start that are equal."""
    length = min(len(one), len(other))
    differs = np.frombuffer(one, np.uint8, length) != np.frombuffer(other, np.uint8, length)
    return int(differs.argmax()) if differs.any() else length
