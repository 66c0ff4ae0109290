"""A gallery in memory: the faces of people, their vectors, and where each came from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facerec.card import ModelCard
from facerec.errors import UsageError
from facerec.faces import Face, Floats
from facerec.gallery.metadata import format_meta, matches, parse_meta
from facerec.gallery.store import Batch, Hit, MatchBy, Where


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
        meta: `(N,) object` str; the metadata as a JSON object, empty for none.
    """

    embeddings: Floats
    person: NDArray[np.int32]
    source: NDArray[np.object_]
    sha256: NDArray[np.object_]
    box: Floats
    landmarks: Floats
    score: Floats
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


@dataclass(frozen=True, slots=True)
class _Keys:
    """What is enrolled, as (person, sha256) and as (person, source)."""

    photos: set[tuple[str, str]]
    sources: set[tuple[str, str]]


class Gallery:
    """Enrolled people.

    Changes stay in memory until `save`; rows keep the order in which they were added.

    >>> gallery = Gallery.open("gallery.h5")
    >>> gallery.people
    ['biden', 'obama']
    """

    def __init__(
        self,
        card: ModelCard,
        people: Iterable[str] = (),
        entries: Entries | None = None,
        *,
        path: Path | None = None,
    ) -> None:
        self.card = card
        self._path = path
        self._people = list(people)
        self._index = {name: number for number, name in enumerate(self._people)}
        self._entries = entries if entries is not None else Entries.empty(card.embedding_size)
        self._pending: list[Entries] = []
        self._keys: _Keys | None = None

    @classmethod
    def open(cls, path: str | Path, *, assume: ModelCard | None = None) -> Gallery:
        """Read a gallery file.

        Args:
            path: an HDF5 file, version 1 or one of the seed project's two older layouts.
            assume: the card for an older layout, which carries none.

        Raises:
            MissingError: the file is absent, damaged or no gallery.
        """
        from facerec.gallery.hdf5 import read_gallery

        opened = read_gallery(Path(path), assume)
        opened._path = Path(path)
        return opened

    def save(self, path: str | Path) -> None:
        """Write the gallery atomically.

        Raises:
            UsageError: the place cannot be written.
        """
        from facerec.gallery.hdf5 import write_gallery

        write_gallery(Path(path), self)

    def commit(self) -> None:
        """Write the gallery atomically to where it was opened.

        Raises:
            UsageError: the place cannot be written.
        """
        if self._path is None:
            raise ValueError("the gallery was not opened from a file; save it to one")
        self.save(self._path)

    @property
    def people(self) -> list[str]:
        """Names in the order of their first enrolment."""
        return list(self._people)

    @property
    def entries(self) -> Entries:
        """All rows."""
        if self._pending:
            self._entries = self._entries.join(self._pending)
            self._pending = []
        return self._entries

    def __len__(self) -> int:
        """Number of enrolled faces."""
        return len(self._entries) + sum(map(len, self._pending))

    def counts(self, where: Where | None = None) -> dict[str, int]:
        """Enrolled faces per person, of those whose metadata match."""
        entries = self._matching(where)
        counts = np.bincount(entries.person, minlength=len(self._people)).tolist()
        return {name: count for name, count in zip(self._people, counts, strict=True) if count}

    def batches(self, size: int = 4096, where: Where | None = None) -> Iterator[Batch]:
        """The faces whose metadata match, in order, at most `size` at once."""
        entries = self._matching(where)
        for first in range(0, len(entries), size):
            yield self._batch(entries.take(np.arange(first, min(first + size, len(entries)))))

    def of_person(self, person: str) -> Batch:
        """See `GalleryStore.of_person`."""
        return self._batch(self.entries.take(self.entries.person == self._number(person)))

    def _batch(self, rows: Entries) -> Batch:
        return Batch(
            [self._people[number] for number in rows.person.tolist()],
            rows.source.tolist(),
            rows.sha256.tolist(),
            [parse_meta(text) for text in rows.meta],
            rows.embeddings,
            rows.box,
            rows.landmarks,
            rows.score,
        )

    def search(
        self,
        queries: Floats,
        top: int,
        *,
        match: MatchBy = "template",
        least: float = -1.0,
        where: Where | None = None,
    ) -> list[list[Hit]]:
        """See `GalleryStore.search`."""
        entries = self._matching(where)
        if not len(entries):
            return [[] for _ in queries]
        numbers, person = np.unique(entries.person, return_inverse=True)
        if match == "template":
            vectors = mean_vectors(entries.embeddings, person, len(numbers))
            similarity = queries @ vectors.T
        else:
            order = np.argsort(person, kind="stable")
            starts = np.searchsorted(person[order], np.arange(len(numbers)))
            similarity = np.maximum.reduceat(queries @ entries.embeddings[order].T, starts, axis=1)
        similarity = np.clip(similarity, -1, 1)
        found = []
        for row in similarity:
            nearest = np.argsort(-row, kind="stable")[:top]
            found.append(
                [
                    Hit(self._people[numbers[place]], float(row[place]))
                    for place in nearest
                    if row[place] >= least
                ]
            )
        return found

    def templates(self) -> Floats:
        """`(P, D) float32`: the mean of each person's unit vectors, renormalised."""
        return mean_vectors(self.entries.embeddings, self.entries.person, len(self._people))

    def holds(self, person: str, sha256: str) -> bool:
        """Whether that photo, by content, is enrolled for that person."""
        return (person, sha256) in self._known.photos

    def has_source(self, person: str, source: str) -> bool:
        """Whether a photo of that name, whatever its content, is enrolled for that person."""
        return (person, source) in self._known.sources

    def add(
        self,
        person: str,
        faces: Sequence[Face],
        source: str,
        sha256: str = "",
        meta: Where | None = None,
    ) -> None:
        """Enrol the faces of one photo, replacing what the same source gave that person before.

        Raises:
            UsageError: the name is empty or holds a slash or a control character.
            ValueError: a face has no embedding of the card's size.
        """
        check_name(person)
        size = self.card.embedding_size
        if any(face.embedding is None or face.embedding.shape != (size,) for face in faces):
            raise ValueError(f"every face needs an embedding of {size} values")
        if self.has_source(person, source):
            self._remove_rows(person, lambda entries: entries.source == source)
        if person not in self._index:
            self._index[person] = len(self._people)
            self._people.append(person)
        count = len(faces)
        self._pending.append(
            Entries(
                np.stack([face.embedding for face in faces]).astype(np.float32),  # type: ignore[misc]
                np.full(count, self._index[person], np.int32),
                np.full(count, source, object),
                np.full(count, sha256, object),
                np.stack([face.box for face in faces]),
                np.stack([face.landmarks for face in faces]),
                np.array([face.score for face in faces], np.float32),
                np.full(count, format_meta(meta or {}), object),
            )
        )
        if self._keys is not None:
            self._keys.photos.add((person, sha256))
            self._keys.sources.add((person, source))

    def append(self, batch: Batch) -> None:
        """Add entries as they are; whether any is there already is not looked at."""
        for name in batch.person:
            if name not in self._index:
                check_name(name)
                self._index[name] = len(self._people)
                self._people.append(name)
        self._pending.append(
            Entries(
                np.asarray(batch.embeddings, np.float32),
                np.array([self._index[name] for name in batch.person], np.int32),
                np.array(batch.source, object),
                np.array(batch.sha256, object),
                np.asarray(batch.box, np.float32),
                np.asarray(batch.landmarks, np.float32),
                np.asarray(batch.score, np.float32),
                np.array([format_meta(meta) for meta in batch.meta], object),
            )
        )
        self._keys = None

    def rename(self, old: str, new: str) -> None:
        """Give a person another name.

        Raises:
            UsageError: `old` is unknown, or `new` is taken or no name.
        """
        check_name(new)
        number = self._number(old)
        if new in self._index:
            raise UsageError(f"{new} is in the gallery already; to join them, merge {old} into it")
        self._people[number] = new
        self._reindex()

    def merge(self, source: str, target: str) -> None:
        """Make two people one: all of `source`'s faces become `target`'s.

        Raises:
            UsageError: one of them is unknown, or they are the same.
        """
        giver, taker = self._number(source), self._number(target)
        if giver == taker:
            raise UsageError(f"{source} cannot be merged into itself")
        person = self.entries.person.copy()
        person[person == giver] = taker
        self._entries = replace(self.entries, person=person)
        self._drop_people_without_faces()

    def remove(self, person: str) -> int:
        """Remove a person and all their faces; returns how many.

        Raises:
            UsageError: the person is unknown.
        """
        self._number(person)
        return self._remove_rows(person, lambda entries: np.ones(len(entries), bool))

    def remove_source(self, person: str, source: str) -> int:
        """Remove what one photo gave a person; returns how many faces.

        Raises:
            UsageError: the person is unknown.
        """
        self._number(person)
        return self._remove_rows(person, lambda entries: entries.source == source)

    def extend(self, other: Gallery) -> None:
        """Add all people and faces of another gallery of the same model.

        Raises:
            IncompatibleError: it was built with another model.
        """
        self.card.require_same_model(other.card, "the other gallery")
        for name in other.people:
            if name not in self._index:
                self._index[name] = len(self._people)
                self._people.append(name)
        numbers = np.array([self._index[name] for name in other.people], np.int32)
        rows = other.entries
        new = np.array(
            [
                not (digest and self.holds(other.people[number], digest))
                for number, digest in zip(rows.person, rows.sha256, strict=True)
            ],
            bool,
        )
        rows = rows.take(new)
        if len(rows):
            self._pending.append(replace(rows, person=numbers[rows.person]))
        self._keys = None

    def _matching(self, where: Where | None) -> Entries:
        entries = self.entries
        if not where:
            return entries
        kept = {text for text in set(entries.meta) if matches(parse_meta(text), where)}
        return entries.take(np.array([text in kept for text in entries.meta], bool))

    @property
    def _known(self) -> _Keys:
        if self._keys is None:
            entries = self.entries
            names = [self._people[number] for number in entries.person]
            self._keys = _Keys(
                set(zip(names, entries.sha256, strict=True)),
                set(zip(names, entries.source, strict=True)),
            )
        return self._keys

    def _number(self, person: str) -> int:
        if person not in self._index:
            raise unknown_person(person, self._people)
        return self._index[person]

    def _remove_rows(self, person: str, chosen: Callable[[Entries], NDArray[np.bool_]]) -> int:
        entries = self.entries
        gone = (entries.person == self._index[person]) & chosen(entries)
        self._entries = entries.take(~gone)
        self._drop_people_without_faces()
        return int(gone.sum())

    def _drop_people_without_faces(self) -> None:
        used, person = np.unique(self.entries.person, return_inverse=True)
        self._people = [self._people[number] for number in used]
        self._entries = replace(self.entries, person=person.astype(np.int32))
        self._reindex()

    def _reindex(self) -> None:
        self._index = {name: number for number, name in enumerate(self._people)}
        self._keys = None


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


def unknown_person(person: str, people: Iterable[str]) -> UsageError:
    """Says that nobody is called so, and who may have been meant."""
    import difflib

    close = difflib.get_close_matches(person, people, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return UsageError(f"the gallery holds nobody called {person}{hint}")


def check_name(name: str) -> None:
    """Refuse names that could not be a folder, a line of a list or a label.

    Raises:
        UsageError: the name is empty, `.` or `..`, or holds a slash or a control character.
    """
    if name.strip(" .") == "" or set(name) & {"/", "\\"} or not name.isprintable():
        raise UsageError(f"{name!r} is no usable name: give printable characters without a slash")
