"""A gallery's columns in memory: those of its file, memory-mapped, and rows added since.

Threads may share a gallery. Changes, and whatever reads what they change, hold its lock; what takes
long (a search, a walk through all rows) takes a view of the columns meanwhile and goes on without.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from facerec.card import ModelCard
from facerec.faces import Floats
from facerec.gallery.base import Batch, MatchBy, Where
from facerec.gallery.checks import check_meta
from facerec.gallery.entries import (
    Base,
    Entries,
    Growing,
    GrowingEntries,
    Rows,
    as_texts,
    matches,
    mean_vectors,
    parse_meta,
)
from facerec.gallery.people import Albums, Names, stored_name

BATCH = 4096
"""Entries read at once."""

Options = ParamSpec("Options")
Result = TypeVar("Result")
Columns = TypeVar("Columns", bound="GalleryColumns")


def under_lock(
    method: Callable[Concatenate[Columns, Options], Result],
) -> Callable[Concatenate[Columns, Options], Result]:
    """Have a method hold the gallery's lock."""

    @wraps(method)
    def run(gallery: Columns, /, *args: Options.args, **kwargs: Options.kwargs) -> Result:
        with gallery.lock:
            return method(gallery, *args, **kwargs)

    return run


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """All rows as they are at one moment, which later changes leave as they are.

    Attributes:
        base: the file's columns.
        added: the rows after them.
        person: `(N,) int32` each row's person, by internal number.
        names: the people's, which are renamed here too.
    """

    base: Base
    added: Entries
    person: NDArray[np.int32]
    names: Names

    def take(self, rows: Rows) -> Entries:
        """Rows by ascending index, with internal people's numbers."""
        cut = np.searchsorted(rows, len(self.base))
        taken = self.base.take(rows[:cut]).join([self.added.take(rows[cut:] - len(self.base))])
        return replace(taken, person=self.person[rows])

    def batch(self, rows: Entries) -> Batch:
        """Rows with the people's names."""
        numbers, places = np.unique(rows.person, return_inverse=True)
        names = [self.names.name(number) for number in numbers.tolist()]
        return Batch(
            [names[place] for place in places],
            rows.source.tolist(),
            rows.sha256.tolist(),
            [parse_meta(text) for text in rows.meta],
            rows.embeddings,
            rows.box,
            rows.landmarks,
            rows.score,
            rows.quality,
        )


class GalleryColumns:
    """People and the vectors of their faces, in the order of enrolment."""

    _made_anew = frozenset({"lock"})
    """Attributes that a copy does not take over."""

    def __init__(self, card: ModelCard, base: Base) -> None:
        self._prepare()
        self._card = card
        self._base = base
        self._names = Names(base.people)
        self._person_column = Growing(base.person)
        self._gone_column = Growing(np.zeros(len(base), bool))
        self._length = len(base)
        self._rows_made = len(base)
        self._added_rows = GrowingEntries(card.embedding_size)
        self._pending: list[Entries] = []
        self._dropped: list[int] = []
        self._albums = Albums(base)
        self._touched: set[int] = set()
        self._known_means: dict[int, Floats] = {}

    def __getstate__(self) -> dict[str, Any]:
        """A copy, which later changes leave as it is: for `pickle` and `copy`."""
        with self.lock:
            kept = {
                name: value for name, value in vars(self).items() if name not in self._made_anew
            }
            return copy.deepcopy(kept)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._prepare()
        vars(self).update(state)

    def _prepare(self) -> None:
        self.lock = threading.RLock()

    @property
    def base(self) -> Base:
        """The file's columns."""
        return self._base

    @property
    def people(self) -> list[str]:
        """Names in the order of their first enrolment."""
        return list(self.counts())

    @property
    @under_lock
    def entries(self) -> Entries:
        """All rows, copied when the gallery has changed."""
        if len(self) == len(self._base) == len(self._person) and not self._touched:
            entries = self._base.take(slice(None))
        else:
            entries = Entries.empty(self._card.embedding_size).join(list(self.blocks(1 << 16)))
        _, person = np.unique(entries.person, return_inverse=True)
        return replace(entries, person=person.astype(np.int32))

    def __len__(self) -> int:
        """Number of enrolled faces."""
        return self._length

    @under_lock
    def counts(self, where: Where | None = None) -> dict[str, int]:
        """Matching faces per person.

        Raises:
            UsageError: `where` is not texts by texts.
        """
        counts, names = self._counts(where), self._names.all()
        return {names[number]: int(counts[number]) for number in np.flatnonzero(counts)}

    @under_lock
    def sizes(self, where: Where | None = None) -> dict[int, int]:
        """See `GalleryStore.sizes`."""
        people = np.bincount(self._counts(where))
        return {faces: int(people[faces]) for faces in np.flatnonzero(people).tolist() if faces}

    @under_lock
    def batches(self, size: int = BATCH, where: Where | None = None) -> Iterator[Batch]:
        """Matching faces, in order, at most `size` at once, as they are when this is called."""
        return map(self._view().batch, self.blocks(size, where))

    @under_lock
    def blocks(self, size: int, where: Where | None = None) -> Iterator[Entries]:
        """As `batches`, as columns; `person` are internal numbers (see `numbers`)."""
        view, allowed = self._view(), self._allowed(where)
        blocks = (
            first + np.flatnonzero(allowed[first : first + size])
            for first in range(0, len(allowed), size)
        )
        return (view.take(rows) for rows in blocks if len(rows))

    @under_lock
    def photos(self) -> Iterator[tuple[str, str, str]]:
        """See `GalleryStore.photos`."""
        return _photos(self._view(), self._names.all(), self._allowed(None))

    @under_lock
    def templates(self) -> Floats:
        """`(P, D) float32`: the mean of each person's unit vectors, renormalised."""
        return self.templates_of(self.numbers())

    @under_lock
    def numbers(self) -> Rows:
        """`(P,)` the people's internal numbers, ascending; `entries` and files renumber from 0."""
        return np.unique(self._person_of_rows()[self._allowed(None)]).astype(np.int64)

    @under_lock
    def templates_of(self, numbers: Rows) -> Floats:
        """`(len(numbers), D) float32`: the templates of these people."""
        means = np.empty((len(numbers), self._card.embedding_size), np.float32)
        touched = (
            np.isin(numbers, list(self._touched)) if self._touched else np.zeros(len(numbers), bool)
        )
        means[~touched] = self._base_templates()[numbers[~touched]]
        means[touched] = self._means(numbers[touched])
        return means

    @under_lock
    def called(self, name: str) -> str | None:
        """See `GalleryStore.called`."""
        stored = stored_name(name, self._names)
        return stored if stored in self._names else None

    @under_lock
    def person(self, name: str, where: Where | None = None) -> Batch:
        """See `GalleryStore.person`."""
        where = check_meta(where, "where")
        view, album = self._view(), self._albums.of(self._names.number(name))
        rows = view.take(np.array(album.rows, np.int64))
        wanted = [matches(parse_meta(text), where) for text in rows.meta]
        return view.batch(rows.take(np.array(wanted, bool)))

    @under_lock
    def base_vectors(self, match: MatchBy) -> Floats:
        """`(N or P, D) float32`: the file's embeddings or templates."""
        return self._base.embeddings if match == "exemplar" else self._base_templates()

    def _view(self) -> View:
        self._settle()
        return View(self._base, self._added, self._person, self._names)

    def _counts(self, where: Where | None) -> NDArray[np.int64]:
        """`(P,)` matching faces by person's number."""
        allowed = self._allowed(where)
        return np.bincount(self._person[allowed], minlength=len(self._names))

    def _settle(self) -> None:
        """Concatenate pending rows, and mark dropped ones."""
        if self._pending:
            new = Entries.join(self._pending[0], self._pending[1:])
            self._pending = []
            self._added_rows.extend(new)
            self._person_column.extend(new.person)
            self._gone_column.extend(np.zeros(len(new), bool))
        self._gone[self._dropped] = True
        self._dropped = []

    @property
    def _added(self) -> Entries:
        return self._added_rows.values

    @property
    def _person(self) -> NDArray[np.int32]:
        """`(N,)` each row's person, by internal number."""
        return self._person_column.values

    @property
    def _gone(self) -> NDArray[np.bool_]:
        return self._gone_column.values

    def _person_of_rows(self) -> NDArray[np.int32]:
        self._settle()
        return self._person

    def _allowed(self, where: Where | None) -> NDArray[np.bool_]:
        """Mask of the rows that exist and match."""
        where = check_meta(where, "where")
        self._settle()
        if not where:
            return ~self._gone
        kept = {text for text in set(self._added.meta) if matches(parse_meta(text), where)}
        added = np.array([text in kept for text in self._added.meta], bool)
        allowed: NDArray[np.bool_] = np.concatenate((self._base.matching(where), added))
        return allowed & ~self._gone

    def _means(self, numbers: Rows) -> Floats:
        """The means of these people's rows; those computed before are kept until they change."""
        missing = [number for number in numbers.tolist() if number not in self._known_means]
        albums = [self._albums.of(number).rows for number in missing]
        rows = np.array([row for album in albums for row in album], np.int64)
        person = np.repeat(np.arange(len(albums)), [len(album) for album in albums])
        order = np.argsort(rows, kind="stable")
        vectors = self._view().take(rows[order]).embeddings
        means = mean_vectors(vectors, person[order], len(albums))
        self._known_means.update(zip(missing, means, strict=True))
        known = [self._known_means[number] for number in numbers.tolist()]
        return np.array(known, np.float32).reshape(-1, self._card.embedding_size)

    def _base_templates(self) -> Floats:
        if self._base.templates is None:
            base = self._base
            means = mean_vectors(base.embeddings, base.person, len(base.people))
            self._base = replace(base, templates=means)
            return means
        return self._base.templates


def _photos(
    view: View, people: Sequence[str], living: NDArray[np.bool_]
) -> Iterator[tuple[str, str, str]]:
    """Person, source and hash of each living row."""
    size = len(view.base)
    for columns, first in ((view.base, 0), (view.added, size)):
        for start in range(0, len(columns), BATCH):
            some = living[first + start : first + min(start + BATCH, len(columns))]
            kept = np.flatnonzero(some) + start
            names = (people[number] for number in view.person[first + kept].tolist())
            sources, hashes = as_texts(columns.source[kept]), as_texts(columns.sha256[kept])
            yield from zip(names, sources.tolist(), hashes.tolist(), strict=True)
