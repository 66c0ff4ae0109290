"""Columns of text that may lie in a memory-mapped file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Texts = NDArray[Any]
"""`(N,)` UTF-8 bytes of one length, padded with zeros, or `object` str."""

# Padding texts to one length may make a column so many times larger.
_WASTE = 4


def as_texts(values: Texts) -> NDArray[np.object_]:
    """`(N,) object` str."""
    if values.dtype == object:
        return values
    if not len(values):
        return np.empty(0, object)
    decoded: NDArray[np.object_] = np.char.decode(values, "utf-8", "surrogateescape").astype(object)
    return decoded


def as_bytes(texts: Sequence[str]) -> NDArray[np.bytes_]:
    """`(N,)` UTF-8 bytes, padded."""
    encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
    return np.array(encoded, f"S{max(map(len, encoded), default=0) or 1}")


def fits_padded(parts: Sequence[NDArray[np.bytes_]]) -> bool:
    """Whether padding all texts of these columns to the longest one's length wastes little."""
    longest = max((part.dtype.itemsize for part in parts), default=0)
    used = sum(int(np.char.str_len(part).sum()) for part in parts)
    return longest * sum(map(len, parts)) <= _WASTE * used + (1 << 20)


class Lookup:
    """Where a text is in a column of distinct padded bytes, without making Python objects of it.

    The texts' 64-bit hashes are sorted once (16 bytes a text).
    """

    def __init__(self, texts: NDArray[np.bytes_]) -> None:
        self._texts = texts
        hashes = np.concatenate(
            [_hashes(texts[first : first + 65_536]) for first in range(0, len(texts), 65_536)]
            or [np.empty(0, np.uint64)]
        )
        self._order = np.argsort(hashes)
        self._hashes = hashes[self._order]

    def find(self, text: str) -> int | None:
        """The text's place, or None."""
        wanted = text.encode("utf-8", "surrogateescape")
        if len(wanted) > self._texts.dtype.itemsize:
            return None
        digest = _hashes(np.array([wanted], self._texts.dtype))[0]
        for place in range(*np.searchsorted(self._hashes, [digest, digest + np.uint64(1)])):
            if self._texts[self._order[place]] == wanted:
                return int(self._order[place])
        return None


def _hashes(texts: NDArray[np.bytes_]) -> NDArray[np.uint64]:
    words = -(-texts.dtype.itemsize // 8)
    padded = np.ascontiguousarray(texts.astype(f"S{words * 8}")).view(np.uint64)
    factors = np.random.default_rng(0).integers(1, 1 << 63, words, np.uint64) * 2 + 1
    mixed: NDArray[np.uint64] = padded.reshape(len(texts), words)
    mixed = mixed ^ (mixed >> np.uint64(29))
    summed: NDArray[np.uint64] = (mixed * factors).sum(axis=1, dtype=np.uint64)
    return (summed ^ (summed >> np.uint64(32))) & np.uint64((1 << 63) - 1)
