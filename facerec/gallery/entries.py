"""A gallery's columns: entries, their texts and metadata, people's mean vectors."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facerec.errors import MissingError
from facerec.faces import Face, Floats
from facerec.files.parsing import parse_json
from facerec.gallery.base import Where

Texts = NDArray[Any]
"""`(N,)` UTF-8 bytes of one length, padded with zeros, or `object` str."""
_WASTE = 4
"""A column is padded if that makes it at most this many times larger."""


def known_quality(face: Face) -> float:
    """A face's quality as stored; NaN where it was not measured."""
    return math.nan if face.quality is None else face.quality


def format_meta(meta: Mapping[str, str]) -> str:
    """Metadata as stored: a JSON object with sorted keys, or "" for none."""
    return format_json(dict(meta)) if meta else ""


def format_json(value: object) -> str:
    """A value as JSON with sorted keys.

    Raises:
        ValueError: it is nested too deeply.
    """
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def parse_meta(text: str) -> dict[str, str]:
    """The inverse of `format_meta`; what is no text, as earlier versions took, as its JSON.

    Raises:
        MissingError: the text is no JSON object.
    """
    if not text:
        return {}
    try:
        return meta_texts(parse_json(text))
    except (TypeError, ValueError) as error:
        raise MissingError(f"damaged metadata of an enrolled face: {text[:60]!r}") from error


def meta_texts(meta: object) -> dict[str, str]:
    """Metadata as read from JSON; what is no text, as earlier versions took, as its JSON.

    Raises:
        TypeError: they are no object.
        ValueError: they are nested too deeply.
    """
    if not isinstance(meta, dict):
        raise TypeError("metadata are no object")
    return {
        key: value if isinstance(value, str) else format_json(value) for key, value in meta.items()
    }


def matches(meta: Mapping[str, str], where: Mapping[str, str]) -> bool:
    """Whether metadata have every key of `where` with its value."""
    return all(meta.get(key) == value for key, value in where.items())


def _may_match(text: str, where: Mapping[str, str]) -> bool:
    """Whether metadata, as stored, can match: without escapes their texts stand there as they are.
    Faster than parsing, which a search for one face's id would do for every face."""
    return "\\" in text or all(part in text for pair in where.items() for part in pair)


def mean_vector(embeddings: Floats) -> Floats:
    """`(D,) float32`: the mean of unit vectors `(N, D) float32`, renormalised."""
    (mean,) = mean_vectors(embeddings, np.zeros(len(embeddings), np.int32), 1)
    return mean  # type: ignore[no-any-return]


def mean_vectors(embeddings: Floats, person: NDArray[np.integer], people: int) -> Floats:
    """`(P, D) float32`: the mean of each person's unit vectors, renormalised.

    Args:
        embeddings: `(N, D) float32`.
        person: `(N,)` numbers below `people`.
    """
    sums = np.zeros((people, embeddings.shape[1]), np.float64)
    np.add.at(sums, person, embeddings)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    means: Floats = (sums / np.maximum(norms, np.finfo(np.float32).tiny)).astype(np.float32)
    return means


Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """Columns of a gallery, one row per enrolled face.

    Attributes:
        embeddings: `(N, D) float32` unit vectors.
        person: `(N,) int32` index into the gallery's people.
        source: `(N,) object` str; the photo, relative to the gallery's folder where possible.
        sha256: `(N,) object` str; hex hash of the photo's bytes, empty when unknown.
        box: `(N, 4) float32`.
        landmarks: `(N, 5, 2) float32`; NaN when unknown.
        score: `(N,) float32`.
        quality: `(N,) float32` in [0, 1]; NaN when unknown.
        meta: `(N,) object` str; the metadata as a JSON object, empty for none.
    """

    embeddings: Floats
    person: NDArray[np.int32]
    source: NDArray[np.object_]
    sha256: NDArray[np.object_]
    box: Floats
    landmarks: Floats
    score: Floats
    quality: Floats
    meta: NDArray[np.object_]

    @classmethod
    def empty(cls, size: int) -> Entries:
        return cls(
            np.empty((0, size), np.float32),
            np.empty(0, np.int32),
            np.empty(0, object),
            np.empty(0, object),
            np.empty((0, 4), np.float32),
            np.empty((0, 5, 2), np.float32),
            np.empty(0, np.float32),
            np.empty(0, np.float32),
            np.empty(0, object),
        )

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Entries:
        """The chosen rows."""
        return Entries(*(getattr(self, name)[rows] for name in self.__slots__))

    def join(self, others: Sequence[Entries]) -> Entries:
        """These rows followed by the others'."""
        parts = [self, *others]
        return Entries(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in self.__slots__)
        )

    def __len__(self) -> int:
        return len(self.person)


class Growing:
    """A column that is extended at its end, at a cost that does not depend on its length.

    Args:
        values: `(N, …)`; copied when it is first extended.
    """

    def __init__(self, values: NDArray[Any]) -> None:
        self._room = values
        self._length = len(values)

    @property
    def values(self) -> NDArray[Any]:
        """`(N, …)`, which later extensions leave as it is."""
        return self._room[: self._length]

    def extend(self, values: NDArray[Any]) -> None:
        end = self._length + len(values)
        if end > len(self._room):
            room = np.empty((max(end, 2 * self._length), *self._room.shape[1:]), self._room.dtype)
            room[: self._length] = self.values
            self._room = room
        self._room[self._length : end] = values
        self._length = end


class GrowingEntries:
    """Entries that are extended at their end.

    Args:
        size: length of their embeddings.
    """

    def __init__(self, size: int) -> None:
        empty = Entries.empty(size)
        self._columns = {name: Growing(getattr(empty, name)) for name in Entries.__slots__}

    @property
    def values(self) -> Entries:
        """All of them, which later extensions leave as they are."""
        return Entries(*(column.values for column in self._columns.values()))

    def extend(self, entries: Entries) -> None:
        for name, column in self._columns.items():
            column.extend(getattr(entries, name))


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """A gallery file's columns: immutable, and memory-mapped where possible.

    Attributes:
        people: `(P,)` UTF-8 bytes, padded.
        templates: `(P, D) float32`, or None: not computed yet.
        metas: the distinct metadata.
        meta: `(N,) int32` index into them; the other columns are as in `Entries`.
    """

    people: NDArray[np.bytes_]
    templates: Floats | None
    embeddings: Floats
    person: NDArray[np.int32]
    source: Texts
    sha256: Texts
    box: Floats
    landmarks: Floats
    score: Floats
    quality: Floats
    meta: NDArray[np.int32]
    metas: Sequence[str]

    @classmethod
    def of(cls, people: Sequence[str], entries: Entries) -> Base:
        metas = sorted(set(entries.meta))
        codes = {text: code for code, text in enumerate(metas)}
        return cls(
            as_bytes(people),
            None,
            entries.embeddings,
            entries.person,
            entries.source,
            entries.sha256,
            entries.box,
            entries.landmarks,
            entries.score,
            entries.quality,
            np.array([codes[text] for text in entries.meta], np.int32),
            metas,
        )

    def __len__(self) -> int:
        return len(self.person)

    def __deepcopy__(self, memo: object) -> Base:
        """Itself, as it is immutable and may be of gigabytes."""
        return self

    def take(self, rows: slice | Rows) -> Entries:
        """The chosen rows, texts as str."""
        metas = np.array([*self.metas, ""], object)
        return Entries(
            self.embeddings[rows],
            self.person[rows],
            as_texts(self.source[rows]),
            as_texts(self.sha256[rows]),
            self.box[rows],
            self.landmarks[rows],
            self.score[rows],
            self.quality[rows],
            metas[self.meta[rows]],
        )

    def matching(self, where: Where) -> NDArray[np.bool_]:
        """`(N,) bool`: the metadata match."""
        good = np.array(
            [_may_match(text, where) and matches(parse_meta(text), where) for text in self.metas],
            bool,
        )
        return good[self.meta] if len(good) else np.zeros(len(self), bool)


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
    """Whether padding these texts to the longest one's length wastes little memory."""
    longest = max((part.dtype.itemsize for part in parts), default=0)
    used = sum(int(np.char.str_len(part).sum()) for part in parts)
    return longest * sum(map(len, parts)) <= _WASTE * used + (1 << 20)


class Lookup:
    """Index from a text to its row in a column of distinct padded bytes, without Python objects.

    64-bit hashes, sorted once: 16 bytes a text.
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
        """The text's row, or None."""
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
