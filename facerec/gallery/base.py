"""The gallery protocol that every backend implements: rows, search, changes, storage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from facerec.card import ModelCard
from facerec.faces import Face, Floats

Where = Mapping[str, str]
"""Metadata filter: an entry must have every key with that value. Empty: any entry."""

MatchBy = Literal["template", "exemplar"]
"""Compare with each person's template (mean vector), or with the nearest of their entries."""


class Hit(NamedTuple):
    """A person found, and the cosine in [-1, 1]."""

    name: str
    similarity: float


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Consecutive entries of a gallery, one row per enrolled face.

    Attributes:
        person: whose face.
        source: the photo, relative to the gallery's folder where possible.
        sha256: hex hash of the photo's bytes, empty when unknown.
        meta: the metadata given at enrolment.
        embeddings: `(B, D) float32` unit vectors.
        box: `(B, 4) float32`.
        landmarks: `(B, 5, 2) float32`; NaN when unknown.
        score: `(B,) float32`.
        quality: `(B,) float32` in [0, 1]; NaN when unknown.
    """

    person: Sequence[str]
    source: Sequence[str]
    sha256: Sequence[str]
    meta: Sequence[Where]
    embeddings: Floats
    box: Floats
    landmarks: Floats
    score: Floats
    quality: Floats

    def __len__(self) -> int:
        return len(self.person)

    def take(self, rows: Sequence[int]) -> Batch:
        """The chosen rows."""
        return Batch(
            [self.person[row] for row in rows],
            [self.source[row] for row in rows],
            [self.sha256[row] for row in rows],
            [self.meta[row] for row in rows],
            self.embeddings[rows],
            self.box[rows],
            self.landmarks[rows],
            self.score[rows],
            self.quality[rows],
        )


class GalleryStore(Protocol):
    """People and the vectors of their faces.

    Entries are in insertion order, people in that of their first entry. `commit` is atomic. With
    `where` a query sees only the entries that match. A person may be named with accents decomposed,
    as macOS writes them (NFD); names are stored composed (NFC).
    """

    @property
    def card(self) -> ModelCard:
        """The model that made the vectors; setting it (new thresholds) is a change."""

    @card.setter
    def card(self, card: ModelCard) -> None: ...

    def __len__(self) -> int:
        """Number of entries."""

    @property
    def revision(self) -> object:
        """A value that each change of the people or the card replaces."""

    def counts(self, where: Where | None = None) -> dict[str, int]:
        """Entries per person, in the people's order, without people who have none.

        Raises:
            UsageError: `where` is not texts by texts.
        """

    def sizes(self, where: Where | None = None) -> dict[int, int]:
        """People by their number of entries, without people who have none."""

    def batches(self, size: int = 4096, where: Where | None = None) -> Iterator[Batch]:
        """All entries, in order, at most `size` at once."""

    def called(self, name: str) -> str | None:
        """The name as it is stored of the person whom a name calls; None: nobody."""

    def person(self, name: str, where: Where | None = None) -> Batch:
        """A person's entries, in order.

        Raises:
            UsageError: the person is unknown.
        """

    def search(
        self,
        queries: Floats,
        top: int,
        *,
        match: MatchBy = "template",
        least: float = -1.0,
        where: Where | None = None,
    ) -> list[list[Hit]]:
        """The most similar people of each query, most similar first.

        Ties go to the person enrolled first. Similarities are those of the float32 vectors, also
        where an index found the candidates.

        Args:
            queries: `(Q, D) float32` unit vectors, or means of unit vectors.
            top: people per query, at most.
            match: compare with templates or with entries.
            least: minimum similarity.

        Raises:
            UsageError: the queries have another shape or are longer than unit vectors; `top` is
                below 1; there is no such `match`; or `where` is not texts by texts.
        """

    def holds(self, person: str, sha256: str) -> bool:
        """Whether that photo, by content, is enrolled for that person."""

    def photos(self) -> Iterator[tuple[str, str, str]]:
        """Person, source and hash of each entry, without its vector."""

    def has_source(self, person: str, source: str | Path) -> bool:
        """Whether a photo of that name, whatever its content, is enrolled for that person."""

    def add(
        self,
        person: str,
        faces: Sequence[Face],
        source: str | Path,
        sha256: str = "",
        meta: Where | None = None,
    ) -> None:
        """Enrol the faces of one photo, replacing the person's entries from that source.

        Raises:
            UsageError: the name is empty or holds a slash or a control character, or is new and
                longer than 255 bytes in UTF-8; or `meta` is not texts by texts.
            ArgumentError: there is no face, or one has no embedding of the card's size and of unit
                length.
        """

    def append(self, batch: Batch) -> None:
        """Add entries as they are, without looking for duplicates."""

    def rename(self, old: str, new: str) -> None:
        """Rename a person.

        Raises:
            UsageError: `old` is unknown, or `new` is taken or no name.
        """

    def merge(self, source: str, target: str) -> None:
        """Merge two people: all of `source`'s entries become `target`'s.

        Raises:
            UsageError: one of them is unknown, or they are the same.
        """

    def remove(self, person: str) -> int:
        """Remove a person and all their entries; returns how many.

        Raises:
            UsageError: the person is unknown.
        """

    def remove_source(self, person: str, source: str | Path) -> int:
        """Remove a person's entries from one photo; returns how many.

        Raises:
            UsageError: the person is unknown.
        """

    def commit(self) -> None:
        """Write all changes since the last commit; they are on disk when it returns.

        Raises:
            UsageError: the place cannot be written.
        """


class Backend(Protocol):
    """Where galleries can be stored; registered in `GALLERIES` under its URL scheme."""

    def local_path(self, address: str) -> Path | None:
        """The file or folder that holds the gallery; None on a server."""

    def open(self, address: str, assume: ModelCard | None) -> GalleryStore:
        """Open a gallery.

        Args:
            assume: the card for an older file, which carries none.

        Raises:
            MissingError: it is absent, damaged or no gallery.
        """

    def create(self, address: str, card: ModelCard) -> GalleryStore:
        """An empty gallery, which exists from its first commit on.

        Args:
            card: kept as it is, as a copy's must be; of a model see `ModelCard.for_gallery`.
        """

    def exists(self, address: str) -> bool:
        """Whether there is a gallery."""

    def locked(self, address: str) -> AbstractContextManager[None]:
        """The writer's lock; readers are never blocked."""

    def version(self, address: str) -> object:
        """A value that each commit changes; None where there is no gallery."""

    def tidy(self, store: Any) -> None:
        """Rewrite a new gallery, so that its bytes do not depend on how it was committed."""

    def verify(self, address: str, advance: Callable[[int], None] = lambda _: None) -> GalleryStore:
        """Open a gallery and check all of it.

        Args:
            advance: progress callback, with the number of entries checked.

        Raises:
            MissingError: it is absent or damaged.
        """
