"""What an album holds, as frozen values."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facerec.faces import Face, Floats

_LASTING = re.compile(r"person-0*([1-9]\d{0,17})")


def lasting_id(person: int) -> str:
    """A person's lasting id as it is shown: `person-0007`."""
    return f"person-{person:04d}"


def parse_lasting_id(text: str) -> int | None:
    """The person's number in `person-0007`; None if the text is no such id."""
    found = _LASTING.fullmatch(text.strip().lower())
    return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a photo lies.

    Attributes:
        path: absolute path of a file or of an archive's member, or URL.
        size: bytes of the file or archive; None behind a URL.
        mtime_ns: when that was last changed; None behind a URL.
    """

    path: str
    size: int | None
    mtime_ns: int | None


@dataclass(frozen=True, slots=True)
class StoredPhoto:
    """A photo, by content.

    Attributes:
        id: its number in the album.
        content: hex SHA-256 of its bytes.
        width, height: pixels of the upright picture; 0 if it cannot be decoded.
        taken: local time, ISO 8601 without an offset; None if its metadata do not say.
        error: why it cannot be decoded.
        paths: where it lies, sorted; empty if nowhere any more.
    """

    id: int
    content: str
    width: int
    height: int
    taken: str | None
    error: str | None
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class NewFace:
    """A detected face, to be stored.

    Attributes:
        face: with its embedding, in pixels of the upright picture.
        chip: a small JPEG of it.
    """

    face: Face
    chip: bytes


@dataclass(frozen=True, slots=True)
class StoredFace:
    """A face of an album, without its vector and chip.

    Attributes:
        id: lasting, never used again.
        photo: the photo's number.
        path: where that lies, the first of its places; None if nowhere any more.
        box: x1, y1, x2, y2 in pixels of the upright picture.
        score: the detector's confidence in [0, 1].
        quality: 0 to 1; None if it was not measured.
        taken: see `StoredPhoto`.
        person: who it is taken for; None: nobody yet.
        name: that person's; None: unnamed.
        confirmed: whether the user said so.
    """

    id: int
    photo: int
    path: str | None
    box: tuple[float, float, float, float]
    score: float
    quality: float | None
    taken: str | None
    person: int | None
    name: str | None
    confirmed: bool


@dataclass(frozen=True, slots=True)
class Person:
    """A person of an album.

    Attributes:
        id: lasting, never used again.
        name: None: unnamed.
        faces: how many there are, in photos that lie somewhere.
        photos: how many of these photos there are.
        first, last: when the first and the last were taken; None if no photo says.
    """

    id: int
    name: str | None
    faces: int
    photos: int
    first: str | None
    last: str | None

    @property
    def label(self) -> str:
        """The name, or the lasting id."""
        return lasting_id(self.id) if self.name is None else self.name


@dataclass(frozen=True, slots=True, eq=False)
class FaceColumns:
    """All faces that have a vector of the album's model, by id.

    Attributes:
        ids: `(N,) int64`, ascending.
        photos: `(N,) int64` numbers of their photos.
        vectors: `(N, D) float32`, of unit length.
        quality: `(N,) float32`, NaN where not measured.
        taken: `(N,) object`, str or None, see `StoredPhoto`.
        person: `(N,) int64`, -1 for nobody.
        confirmed: `(N,) bool`.
        translated: `(N,) bool`, see `facerec.album.schema`.
    """

    ids: NDArray[np.int64]
    photos: NDArray[np.int64]
    vectors: Floats
    quality: Floats
    taken: NDArray[np.object_]
    person: NDArray[np.int64]
    confirmed: NDArray[np.bool_]
    translated: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Decisions:
    """What the user decided, all of it binding.

    Attributes:
        fixed: face → the person it is.
        forbidden: faces and persons that they are not.
        different: pairs of people that are not one, the smaller id first.
    """

    fixed: dict[int, int]
    forbidden: frozenset[tuple[int, int]]
    different: frozenset[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Step:
    """A change that `undo` takes back.

    Attributes:
        id: ascending with time.
        time: UTC, ISO 8601.
        command: what was done, in words.
        undo: JSON of what undoing it needs outside of the album; None: nothing.
    """

    id: int
    time: str
    command: str
    undo: str | None
