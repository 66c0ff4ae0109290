"""How a file's bytes are made from those of its next version: exactly, and small.

Names add one segment to a file of megabytes, so what was there before is the part that differs. A
TIFF or WebP is written anew by Exiv2: its strips and chunks then lie elsewhere in the next version,
and are copied from there.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

_SMALL = 1 << 16
"""Bytes that differ and are kept as they are."""
_WINDOW = 64
"""Bytes that are searched for in the later file."""
_LONGEST_STEP = 1 << 16
"""Bytes between two searches, after several in vain; what lies before a find is looked at again."""
_SEARCHED = 1 << 31
"""Bytes looked through in vain before the rest is kept as it is: about a second."""
_MOST = 10_000
"""Parts that are copied."""
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Patch:
    """What makes the earlier bytes of a file of the later ones.

    Attributes:
        before: SHA-256 of the earlier bytes; None: there was no file.
        after: SHA-256 of the later ones.
        start: where they begin to differ.
        length: bytes of the later ones that differ.
        old: the earlier ones in their place, but for those of `copies`; compressed by zlib.
        copies: parts of the earlier ones that the later file has too: place from `start` on, place
            in the whole later file, and bytes; ascending.
    """

    before: str | None
    after: str
    start: int
    length: int
    old: bytes
    copies: tuple[tuple[int, int, int], ...] = ()


def make_patch(before: bytes | None, after: bytes) -> Patch:
    """The patch between two versions of a file."""
    if before is None:
        return Patch(None, _hash(after), 0, len(after), b"")
    start = _common(before, 0, after, 0)
    shared = min(len(before), len(after)) - start
    end = min(_common(before[::-1], 0, after[::-1], 0), shared)
    middle = before[start : len(before) - end]
    copies = _copies(middle, after) if len(middle) > _SMALL else ()
    old = zlib.compress(_without(middle, copies))
    patch = Patch(_hash(before), _hash(after), start, len(after) - end - start, old, copies)
    assert _rebuilt(patch, after) == before, "a patch gives the earlier bytes back"
    return patch


def earlier_bytes(patch: Patch, after: bytes) -> bytes | None:
    """The earlier bytes of a file that has not been changed since; None: it has."""
    return _rebuilt(patch, after) if is_after(patch, after) else None


def _rebuilt(patch: Patch, after: bytes) -> bytes:
    old = zlib.decompress(patch.old) if patch.old else b""
    middle = bytearray()
    used = 0
    for place, source, length in patch.copies:
        missing = place - len(middle)
        middle += old[used : used + missing]
        used += missing
        middle += after[source : source + length]
    middle += old[used:]
    return after[: patch.start] + bytes(middle) + after[patch.start + patch.length :]


def _without(middle: bytes, copies: tuple[tuple[int, int, int], ...]) -> bytes:
    """What is not copied."""
    ends = [0, *(place + length for place, _, length in copies)]
    begins = [*(place for place, _, _ in copies), len(middle)]
    return b"".join(middle[end:begin] for end, begin in zip(ends, begins, strict=True))


def _copies(middle: bytes, after: bytes) -> tuple[tuple[int, int, int], ...]:
    """Parts of the earlier bytes that lie somewhere in the later ones; see `Patch`."""
    copies: list[tuple[int, int, int]] = []
    place = done = shift = 0
    step, patience = _WINDOW, max(_SEARCHED // max(len(after), 1), 8)
    while place + _WINDOW <= len(middle) and patience and len(copies) < _MOST:
        window = middle[place : place + _WINDOW]
        # Where the last part was shifted to, the next is likely to be.
        source = max(place + shift, 0)
        if after[source : source + _WINDOW] != window:
            source = after.find(window)
        if source < 0:
            patience -= 1
            place += step
            step = min(2 * step, _LONGEST_STEP)
            continue
        begun = max(source - (place - done), 0)
        back = _common(middle[done:place][::-1], 0, after[begun:source][::-1], 0)
        length = back + _common(middle, place, after, source)
        copies.append((place - back, source - back, length))
        place = done = place - back + length
        shift, step = source - back + length - place, _WINDOW
    return tuple(copies)


def is_before(patch: Patch, data: bytes | None) -> bool:
    """Whether these are the earlier bytes, or none where there was no file."""
    return (None if data is None else _hash(data)) == patch.before


def is_after(patch: Patch, data: bytes) -> bool:
    """Whether these are the later bytes."""
    return _hash(data) == patch.after


def _hash(data: bytes) -> str:
    return sha256(data).hexdigest()


def _common(one: bytes, start: int, other: bytes, begin: int) -> int:
    """Bytes that are equal from a place in each on."""
    length, found = min(len(one) - start, len(other) - begin), 0
    while found < length:
        size = min(_BLOCK, length - found)
        differs = np.frombuffer(one, np.uint8, size, start + found) != np.frombuffer(
            other, np.uint8, size, begin + found
        )
        if differs.any():
            return found + int(differs.argmax())
        found += size
    return length
