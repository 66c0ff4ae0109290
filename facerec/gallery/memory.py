"""A gallery in memory: search and changes. Each change is also logged, for the journal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from facerec.card import ModelCard
from facerec.errors import UsageError
from facerec.faces import Face, Floats
from facerec.gallery.base import Batch, Hit, MatchBy, Where
from facerec.gallery.checks import (
    batch_of_faces,
    check_batch,
    check_meta,
    check_search,
    source_text,
)
from facerec.gallery.columns import GalleryColumns, under_lock
from facerec.gallery.entries import (
    Base,
    Entries,
    Growing,
    format_meta,
    mean_vectors,
)
from facerec.gallery.people import Names, check_name, check_new_name, renamed, stored_name
from facerec.gallery.search.exact import Best, ExactSearch

if TYPE_CHECKING:
    from facerec.gallery.search.approximate import ApproximateSearch


@dataclass(frozen=True, slots=True, eq=False)
class Append:
    """Entries were added; with `replace`, in place of the person's entries from that source."""

    batch: Batch
    replace: bool


@dataclass(frozen=True, slots=True)
class Remove:
    """A person was removed, or their entries from one source."""

    person: str
    source: str | None


@dataclass(frozen=True, slots=True)
class Rename:
    """A person was renamed."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Merge:
    """Two people were merged."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class NewCard:
    """The card was replaced."""

    card: ModelCard


Change = Append | Remove | Rename | Merge | NewCard


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Vectors to search: `groups` are people's numbers, `allowed` masks the rows."""

    search: ExactSearch | ApproximateSearch
    groups: NDArray[np.integer]
    allowed: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Searched:
    """What is searched, as it is at one moment: it needs no lock."""

    names: Names
    parts: Sequence[_Part]


class MemoryGallery(GalleryColumns):
    """A `GalleryStore` of its columns, without a place to commit to.

    Args:
        card: the model's; with `entries`, of the gallery that they are of, which is kept as it is.
        people: names, by the entries' numbers.
        entries: None: a new gallery.
    """

    _made_anew = GalleryColumns._made_anew | {"_exact", "_indexes", "_searched"}

    def __init__(
        self, card: ModelCard, people: Iterable[str] = (), entries: Entries | None = None
    ) -> None:
        if entries is None:
            card, entries = card.for_gallery(), Entries.empty(card.embedding_size)
        self._begin(card, Base.of(list(people), entries))

    @classmethod
    def of_base(cls, card: ModelCard, base: Base) -> Self:
        """A gallery of columns that may be memory-mapped."""
        gallery = cls.__new__(cls)
        gallery._begin(card, base)
        return gallery

    def _begin(self, card: ModelCard, base: Base) -> None:
        super().__init__(card, base)
        self.find_index: Callable[[MatchBy, Floats], ApproximateSearch | None] | None = None
        """Opens the approximate index of the gallery file, which is of these vectors."""
        self._revision = object()
        self.changes: list[Change] = []
        """Changes since the last commit."""

    def _prepare(self) -> None:
        super()._prepare()
        self._exact: dict[MatchBy, ExactSearch] = {}
        self._indexes: dict[MatchBy, ApproximateSearch | None] = {}
        self._searched: dict[tuple[str, str], _Searched] = {}

    @property
    def card(self) -> ModelCard:
        """The model that made the vectors."""
        return self._card

    @card.setter
    @under_lock
    def card(self, card: ModelCard) -> None:
        self._card, self._revision = card, object()
        self.changes.append(NewCard(card))

    @property
    def revision(self) -> object:
        """See `GalleryStore.revision`."""
        return self._revision

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
        queries = check_search(queries, self._card.embedding_size, top, match)
        where = check_meta(where, "where")
        best = Best.of_none(len(queries), top, least if least > -1 else -np.inf)
        searched = self._searched_by(match, where)
        for part in searched.parts:
            part.search.search(queries, best, part.groups, part.allowed)
        similarity = np.clip(best.similarity, -1, 1)
        return [
            [
                Hit(searched.names.name(number), value)
                for number, value in zip(numbers, values, strict=True)
                if number >= 0
            ]
            for numbers, values in zip(best.group.tolist(), similarity.tolist(), strict=True)
        ]

    @under_lock
    def holds(self, person: str, sha256: str) -> bool:
        """Whether that photo, by content, is enrolled for that person."""
        number = self._names.find(stored_name(person, self._names))
        return number is not None and sha256 in self._albums.of(number).hashes.values()

    @under_lock
    def has_source(self, person: str, source: str | Path) -> bool:
        """Whether a photo of that name, whatever its content, is enrolled for that person."""
        return self._has(stored_name(person, self._names), source_text(source))

    @under_lock
    def add(
        self,
        person: str,
        faces: Sequence[Face],
        source: str | Path,
        sha256: str = "",
        meta: Where | None = None,
    ) -> None:
        """See `GalleryStore.add`."""
        person = stored_name(person, self._names)
        if person not in self._names:
            check_new_name(person)
        size = self._card.embedding_size
        self._append(batch_of_faces(person, faces, source, sha256, meta, size), replace=True)

    @under_lock
    def append(self, batch: Batch) -> None:
        """Add entries as they are, without looking for duplicates."""
        check_batch(batch, self._card.embedding_size)
        self._append(batch, replace=False)

    @under_lock
    def rename(self, old: str, new: str) -> None:
        """Give a person another name.

        Raises:
            UsageError: `old` is unknown, or `new` is taken or no name.
        """
        new = renamed(old, new, self._names)
        check_new_name(new)
        self._rename(old, new)

    def _rename(self, old: str, new: str) -> None:
        number = self._names.number(old)
        old = self._names.name(number)
        if self._names.find(new) is not None:
            raise UsageError(f"{new} is in the gallery already; to join them, merge {old} into it")
        self._names.rename(number, new)
        self._revision = object()
        self.changes.append(Rename(old, new))

    @under_lock
    def merge(self, source: str, target: str) -> None:
        """Make two people one: all of `source`'s faces become `target`'s.

        Raises:
            UsageError: one of them is unknown, or they are the same.
        """
        giver, taker = self._names.number(source), self._names.number(target)
        if giver == taker:
            raise UsageError(f"{source} cannot be merged into itself")
        given, taken = self._albums.of(giver), self._albums.of(taker)
        rows = given.rows
        people = self._person_of_rows().copy()
        people[rows] = taker
        self._person_column = Growing(people)
        for place, photos in given.by_source.items():
            for row in photos:
                taken.put(row, place, given.hashes[row])
        self.changes.append(Merge(self._names.name(giver), self._names.name(taker)))
        self._albums.add(giver)
        self._names.drop(giver)
        self._touch(giver, taker)

    @under_lock
    def remove(self, person: str) -> int:
        """Remove a person and all their faces; returns how many.

        Raises:
            UsageError: the person is unknown.
        """
        number = self._names.number(person)
        self.changes.append(Remove(self._names.name(number), None))
        return sum(self._drop(number, source) for source in list(self._albums.of(number).by_source))

    @under_lock
    def remove_source(self, person: str, source: str | Path) -> int:
        """Remove a person's entries from one photo; returns how many.

        Raises:
            UsageError: the person is unknown.
        """
        source, number = source_text(source), self._names.number(person)
        self.changes.append(Remove(self._names.name(number), source))
        return self._drop(number, source)

    @under_lock
    def apply(self, change: Change) -> None:
        """Replay a change."""
        if isinstance(change, Append):
            self._append(change.batch, replace=change.replace)
        elif isinstance(change, Rename):
            self._rename(change.old, change.new)
        elif isinstance(change, Merge):
            self.merge(change.source, change.target)
        elif isinstance(change, NewCard):
            self.card = change.card
        elif change.source is None:
            self.remove(change.person)
        else:
            self.remove_source(change.person, change.source)

    def _append(self, batch: Batch, *, replace: bool) -> None:
        for name in dict.fromkeys(batch.person):
            check_name(name)
        numbers = []
        photos = list(zip(batch.person, batch.source, batch.sha256, strict=True))
        if replace:
            for name, source, _ in dict.fromkeys(photos):
                if self._has(name, source):
                    self._drop(self._names.number(name), source, keep=True)
        first = self._rows_made
        for row, (name, source, sha256) in enumerate(photos, start=first):
            number = self._names.find(name)
            if number is None:
                # A thread that asks meanwhile who holds a photo finds a name's rows by its number.
                self._albums.add(len(self._names))
                number = self._names.append(name)
            self._albums.of(number).put(row, source, sha256)
            self._touch(number)
            numbers.append(number)
        self._pending.append(
            Entries(
                np.asarray(batch.embeddings, np.float32),
                np.array(numbers, np.int32),
                np.array(batch.source, object),
                np.array(batch.sha256, object),
                np.asarray(batch.box, np.float32),
                np.asarray(batch.landmarks, np.float32),
                np.asarray(batch.score, np.float32),
                np.asarray(batch.quality, np.float32),
                np.array([format_meta(meta) for meta in batch.meta], object),
            )
        )
        self._length += len(batch)
        self._rows_made += len(batch)
        self.changes.append(Append(batch, replace))

    def _has(self, name: str, source: str) -> bool:
        number = self._names.find(name)
        return number is not None and source in self._albums.of(number).by_source

    def _drop(self, number: int, source: str, *, keep: bool = False) -> int:
        """Remove a photo's rows, and the person with the last one unless `keep`."""
        album = self._albums.of(number)
        rows = album.pop(source)
        self._dropped += rows
        self._length -= len(rows)
        if not album.hashes and not keep:
            self._names.drop(number)
        self._touch(number)
        return len(rows)

    def _touch(self, *numbers: int) -> None:
        self._touched.update(numbers)
        for number in numbers:
            self._known_means.pop(number, None)
        self._searched.clear()
        self._revision = object()

    def _searched_by(self, match: MatchBy, where: Where) -> _Searched:
        key = (match, format_meta(where))
        # Without the lock, so that who searches does not wait for who saves.
        found = self._searched.get(key)
        if found is None:
            with self.lock:
                found = _Searched(self._names, self._parts_of(match, where))
                self._searched[key] = found
        return found

    def _parts_of(self, match: MatchBy, where: Where) -> list[_Part]:
        if match == "exemplar":
            return self._exemplars(where)
        return self._filtered_templates(where) if where else self._templates()

    def _exemplars(self, where: Where) -> list[_Part]:
        allowed, size = self._allowed(where), len(self._base)
        search = self._search_of("exemplar", exact=bool(where))
        return [
            _Part(search, self._person[:size], None if allowed[:size].all() else allowed[:size]),
            _Part(ExactSearch(self._added.embeddings), self._person[size:], allowed[size:]),
        ]

    def _templates(self) -> list[_Part]:
        people = len(self._base.people)
        untouched = np.ones(people, bool)
        touched = np.array(sorted(self._touched), np.int64)
        untouched[touched[touched < people]] = False
        search = self._search_of("template", exact=False)
        living = np.array([n for n in touched.tolist() if self._albums.of(n).hashes], np.int64)
        return [
            _Part(search, np.arange(people, dtype=np.int32), untouched if len(touched) else None),
            _Part(ExactSearch(self._means(living)), living),
        ]

    @under_lock
    def index(self, match: MatchBy) -> ApproximateSearch | None:
        """The approximate index, used for searches without a metadata filter; None without one."""
        if match not in self._indexes:
            self._indexes[match] = (
                self.find_index(match, self.base_vectors(match)) if self.find_index else None
            )
        return self._indexes[match]

    def _search_of(self, match: MatchBy, *, exact: bool) -> ExactSearch | ApproximateSearch:
        if not exact and (index := self.index(match)) is not None:
            return index
        if match not in self._exact:
            self._exact[match] = ExactSearch(self.base_vectors(match))
        return self._exact[match]

    def _filtered_templates(self, where: Where) -> list[_Part]:
        rows = self._view().take(np.flatnonzero(self._allowed(where)))
        numbers, person = np.unique(rows.person, return_inverse=True)
        return [_Part(ExactSearch(mean_vectors(rows.embeddings, person, len(numbers))), numbers)]
