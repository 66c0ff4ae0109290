"""What an album knows of its faces, whatever their vectors say."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facerec.album.records import Decisions, FaceColumns

NOBODY = -1
"""The person of a face that belongs to nobody yet."""

LATE_QUALITY = 0.25
"""Faces of less quality are late. Quality halves with each standard deviation of genuine pairs'
cosines that a face's defects cost; see `facerec.engine.quality`."""

PERIOD = 3.0
"""Years within which a face is compared with a person's looks, if the person is known from them: a
younger sibling looks as the older did."""

Numbers = NDArray[np.int64]
Pairs = frozenset[tuple[int, int]]


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known of N faces beside their vectors.

    Attributes:
        photos: `(N,) int64` photo of each face. Two faces of one photo are two people, unless both
            are fixed.
        fixed: `(N,) int64` the person that a face is, as the user said; `NOBODY` for most.
        previous: `(N,) int64` the person that the last grouping took it for; `NOBODY` for new ones.
        forbidden: row of a face, and a person that it is not.
        different: pairs of people who are not one.
        late: `(N,) bool` faces of low quality: they may join a group, and never begin one.
        years: `(N,) float64` when each was taken, NaN where it is not known.
    """

    photos: Numbers
    fixed: Numbers
    previous: Numbers
    forbidden: Pairs
    different: Pairs
    late: NDArray[np.bool_]
    years: NDArray[np.float64]

    @classmethod
    def of(
        cls, photos: ArrayLike, *, fixed: ArrayLike | None = None,
        previous: ArrayLike | None = None, forbidden: Iterable[tuple[int, int]] = (),
        different: Iterable[tuple[int, int]] = (), quality: ArrayLike | None = None,
        taken: Sequence[str | None] | None = None,
    ) -> Known:  # fmt: skip
        """What is not given is not known.

        Args:
            quality: `(N,)` in [0, 1], NaN where it was not measured.
            taken: ISO 8601 time of each.
        """
        shared = np.asarray(photos, np.int64)
        nobody = np.full(len(shared), NOBODY, np.int64)
        measured = np.full(len(shared), np.nan) if quality is None else np.asarray(quality)
        return cls(
            shared,
            nobody if fixed is None else np.asarray(fixed, np.int64),
            nobody if previous is None else np.asarray(previous, np.int64),
            frozenset(forbidden), frozenset(different), measured < LATE_QUALITY,
            np.array([_year(one) for one in taken or [None] * len(shared)], np.float64),
        )  # fmt: skip

    def with_fixed(self, people: Sequence[int]) -> Known:
        """The same and more faces, each fixed to a person and in a photo of its own."""
        count = len(people)
        start = int(self.photos.max(initial=0)) + 1
        nobody = np.full(count, NOBODY, np.int64)
        return Known(
            np.concatenate([self.photos, start + np.arange(count)]),
            np.concatenate([self.fixed, np.array(people, np.int64)]),
            np.concatenate([self.previous, nobody]), self.forbidden, self.different,
            np.concatenate([self.late, np.zeros(count, bool)]),
            np.concatenate([self.years, np.full(count, np.nan)]),
        )  # fmt: skip

    def sorted_by(self, order: NDArray[np.intp]) -> Known:
        """The same with row n being what was row `order[n]`."""
        row = np.empty(len(order), np.int64)
        row[order] = np.arange(len(order))
        forbidden = frozenset((int(row[face]), person) for face, person in self.forbidden)
        return Known(
            self.photos[order], self.fixed[order], self.previous[order], forbidden,
            self.different, self.late[order], self.years[order],
        )  # fmt: skip

    def whom(self) -> Numbers:
        """`(N,) int64` whom each face stands for in decisions about people: the person it is fixed
        to, or of people without fixed faces the one it was taken for."""
        tentative = ~np.isin(self.previous, self.fixed[self.fixed >= 0])
        return np.where(
            self.fixed >= 0, self.fixed, np.where(tentative, self.previous, NOBODY)
        ).astype(np.int64)


def known_of(columns: FaceColumns, decisions: Decisions) -> Known:
    """What the decisions say, by row."""
    rows = {face: row for row, face in enumerate(columns.ids.tolist())}
    fixed = np.full(len(rows), NOBODY, np.int64)
    for face, person in decisions.fixed.items():
        if face in rows:
            fixed[rows[face]] = person
    forbidden = [(rows[face], person) for face, person in decisions.forbidden if face in rows]
    return Known.of(
        columns.photos, fixed=fixed, previous=columns.person, forbidden=forbidden,
        different=decisions.different, quality=columns.quality, taken=columns.taken.tolist(),
    )  # fmt: skip


def _year(taken: str | None) -> float:
    """A time in years; NaN for none, or one that is no time, as cameras without a clock write."""
    try:
        time = datetime.fromisoformat(taken or "")
    except ValueError:
        return float("nan")
    return time.year + (time.timetuple().tm_yday - 1) / 366


def undecided(
    known: Known, labels: NDArray[np.intp], one: NDArray[np.intp], other: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Which pairs of rows are of two groups that nothing but their vectors keeps apart.

    Args:
        known: what is known of N faces.
        labels: `(N,)` group of each, from 0.
        one, other: `(E,)` rows.

    Returns:
        `(E,) bool`
    """
    mine, theirs = labels[one], labels[other]
    open_: NDArray[np.bool_] = mine != theirs
    count = int(labels.max(initial=-1)) + 1
    owned = np.zeros(count, bool)
    owned[labels[known.fixed >= 0]] = True
    open_ &= ~(owned[mine] & owned[theirs])
    who = known.whom()
    apart = [(labels[[row]], labels[who == person]) for row, person in known.forbidden]
    apart += [(labels[who == one], labels[who == other]) for one, other in known.different]
    keys = [np.add.outer(a * count, b).ravel() for a, b in apart]
    keys += [np.add.outer(b * count, a).ravel() for a, b in apart]
    if keys:
        open_ &= ~np.isin(mine * count + theirs, np.unique(np.concatenate(keys)))
    return open_


class _Facts:
    """What is known of a cluster, or of all clusters of a person.

    Attributes:
        photos: its faces' photos.
        were: people that it stands for, as far as decisions name them.
        barred: people that it is not.
    """

    __slots__ = ("barred", "photos", "were")

    def __init__(self, photo: int) -> None:
        self.photos = {photo}
        self.were: set[int] = set()
        self.barred: set[int] = set()

    def add(self, other: _Facts) -> None:
        self.photos |= other.photos
        self.were |= other.were
        self.barred |= other.barred

    def contradicts(self, other: _Facts) -> bool:
        return not (
            self.photos.isdisjoint(other.photos)
            and self.barred.isdisjoint(other.were)
            and self.were.isdisjoint(other.barred)
        )


class Rules:
    """Which clusters of faces may become one; told of each merge.

    What keeps two clusters apart keeps apart all that they become. A cluster is named after one of
    its rows. Several clusters may be one person; these share what is known of that person.
    """

    def __init__(self, known: Known) -> None:
        self.person: list[int] = known.fixed.tolist()
        self._waiting: list[bool] = known.late.tolist()
        self._alone = [True] * len(self.person)
        self._facts = list(map(_Facts, known.photos.tolist()))
        self._span = [(year, year) for year in known.years.tolist()]
        self._years: dict[int, list[float]] = {}
        self._decide(known)
        shared: dict[int, _Facts] = {}
        for row in np.flatnonzero(known.fixed >= 0).tolist():
            facts = shared.setdefault(self.person[row], self._facts[row])
            facts.add(self._facts[row])
            self._facts[row] = facts
            if self._span[row][0] > 0:
                self._years.setdefault(self.person[row], []).append(self._span[row][0])
        for years in self._years.values():
            years.sort()

    def apart(self, one: int, other: int) -> bool:
        """Whether two clusters must stay two."""
        mine, theirs = self.person[one], self.person[other]
        if mine >= 0 and theirs >= 0:
            return mine != theirs
        if self._waiting[one] or self._waiting[other]:
            alone = self._alone[other] if self._waiting[one] else self._alone[one]
            if alone and mine < 0 and theirs < 0:
                return True
        if self._years and (mine >= 0 or theirs >= 0):
            face, look = (one, other) if mine < 0 else (other, one)
            if self._of_another_time(face, look):
                return True
        return self._facts[one].contradicts(self._facts[other])

    def merge(self, one: int, other: int) -> None:
        """`one` becomes part of `other`."""
        if self.person[other] < 0 <= self.person[one]:
            self.person[other] = self.person[one]
            self._facts[one], self._facts[other] = self._facts[other], self._facts[one]
        if self._facts[one] is not self._facts[other]:
            self._facts[other].add(self._facts[one])
        self._alone[other] = self._waiting[other] = False
        (begin, end), (start, stop) = self._span[one], self._span[other]
        # The other is the earlier, or later, one if one is NaN.
        self._span[other] = (
            start if start <= begin or begin != begin else begin,
            stop if stop >= end or end != end else end,
        )

    def _of_another_time(self, face: int, look: int) -> bool:
        """Whether a cluster lies years from a person's look, and near to others of that person."""
        (begin, end), (start, stop) = self._span[face], self._span[look]
        if not max(start - end, begin - stop) > PERIOD:
            return False
        years = self._years.get(self.person[look], [])
        place = bisect_left(years, begin - PERIOD)
        return place < len(years) and years[place] <= end + PERIOD

    def _decide(self, known: Known) -> None:
        if not known.forbidden and not known.different:
            return
        named = {person for _, person in known.forbidden}
        others: dict[int, set[int]] = {}
        for one, other in known.different:
            others.setdefault(one, set()).add(other)
            others.setdefault(other, set()).add(one)
        named |= others.keys()
        for facts, person in zip(self._facts, known.whom().tolist(), strict=True):
            if person in named:
                facts.were.add(person)
                facts.barred |= others.get(person, set())
        for row, person in known.forbidden:
            if self.person[row] != person:
                self._facts[row].barred.add(person)
                self._facts[row].were.discard(person)
