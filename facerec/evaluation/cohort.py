"""The cohort of a calibration set: how alike its people look to a model, as a table of rates.

Every photo is compared with every other person, so that 4,281 people give nine million scores of
strangers where LFW's protocol has 3,000. The highest ten-thousandth, too few to count, is taken to
fall off exponentially (extreme value theory, the Gumbel domain; Coles 2001, section 4.2).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from facerec.card import Cohort
from facerec.evaluation.folds import normalised
from facerec.faces import Floats

_RATES = (0.9, 0.7, 0.5, 0.3, 0.2, *(10.0 ** (-half / 2) for half in range(2, 17)))
"""At these rates strangers reach the table's cosines, if one photo is enrolled."""
_TAIL, _LEAST_TAIL = 1e-4, 100
"""Share of the scores that the tail is fitted to, and their least number."""
_SPREAD_RATES = 1e-5, 1e-2
"""The spread of strangers is extrapolated from these rates to lower ones."""
_LEAST_SPREAD = 1e-3
_SIZES = (1, 2, 4, 8)
_LEAST_PEOPLE = 40
"""People with enough photos, for the rates of a number of photos to be measured."""
_MOST_PEOPLE = 5000
"""Drawn from a larger set: 25 million scores, 100 MB."""
_DRAWS = 4
"""Draws of photos for the genuine rates."""
_DIGITS = 5
"""Of the cosines."""

Scores = NDArray[np.float64]


def measure_cohort(vectors: Floats, people: Sequence[str], seed: int = 0) -> Cohort | None:
    """The cohort of a set of photos; None for fewer than 40 people with two photos each, or where
    all look alike to the model, as to one that was never trained.

    Args:
        vectors: `(I, D) float32` unit vectors; a row of NaN is left out.
        people: the person of each photo.
        seed: of the draws of photos.
    """
    dice = np.random.default_rng(seed)
    albums: dict[str, list[int]] = {}
    for row in np.flatnonzero(np.isfinite(vectors[:, 0])).tolist():
        albums.setdefault(people[row], []).append(row)
    rows = [np.array(album) for album in albums.values()]
    if len(rows) < _LEAST_PEOPLE:
        return None
    if len(rows) > _MOST_PEOPLE:
        rows = [rows[one] for one in dice.choice(len(rows), _MOST_PEOPLE, replace=False)]
    scores = _strangers(vectors, rows, 1, dice)
    tail = _Tail(scores[np.isfinite(scores)])
    cosines = np.array([tail.score(rate) for rate in _RATES]).round(_DIGITS)
    if (np.diff(cosines) <= 0).any():
        return None
    spread = _spread(scores, cosines)
    impostor = {1: _RATES}
    for size in _SIZES[1:]:
        if sum(len(album) > size for album in rows) >= _LEAST_PEOPLE:
            larger = _strangers(vectors, rows, size, dice)
            impostor[size] = tuple(_Tail(larger[np.isfinite(larger)]).rate(cosines).tolist())
    if sum(len(album) > 1 for album in rows) < _LEAST_PEOPLE:
        return None
    return Cohort(
        people=len(rows),
        cosines=tuple(cosines.tolist()),
        impostor={size: _brief(rates) for size, rates in impostor.items()},
        genuine={
            size: tuple(_genuine(vectors, rows, size, cosines, dice).round(4).tolist())
            for size in impostor
        },
        spread=_brief(spread.tolist()),
    )  # fmt: skip


class _Tail:
    """Scores of strangers, `(N,)`; above their highest ten-thousandth an exponential tail."""

    def __init__(self, scores: Floats) -> None:
        self._scores = np.sort(scores)[::-1].astype(np.float64)
        self._count = min(max(int(_TAIL * len(scores)), _LEAST_TAIL), len(scores) - 1)
        self._start = self._scores[self._count]
        excess = self._scores[: self._count] - self._start
        self._scale = max(float(excess.mean()), 1e-6)

    def score(self, rate: float) -> float:
        """The score that a share `rate` reaches."""
        place = rate * len(self._scores)
        if place > self._count:
            return float(self._scores[min(int(place), len(self._scores) - 1)])
        return float(self._start - self._scale * np.log(place / self._count))

    def rate(self, scores: Scores) -> Scores:
        """The share that reaches each score."""
        counted = np.searchsorted(-self._scores, -scores, side="right") / len(self._scores)
        above = np.maximum(scores - self._start, 0) / self._scale
        tail = self._count / len(self._scores) * np.exp(-above)
        rates: Scores = np.where(scores >= self._start, tail, counted)
        return np.clip(rates, 1e-30, 1)


def _strangers(
    vectors: Floats, rows: Sequence[NDArray[np.int64]], size: int, dice: np.random.Generator
) -> Floats:
    """Cosines `(P, T) float32` of one photo of each person with the mean vectors of `size` photos
    of those who have more; NaN for the own person."""
    probes = np.array([dice.choice(album) for album in rows])
    enrolled = [number for number, album in enumerate(rows) if len(album) >= size + (size > 1)]
    means = np.stack([vectors[dice.permutation(rows[n])[:size]].mean(axis=0) for n in enrolled])
    scores: Floats = vectors[probes] @ normalised(means.astype(np.float32)).T
    scores[enrolled, np.arange(len(enrolled))] = np.nan
    return scores


def _genuine(
    vectors: Floats, rows: Sequence[NDArray[np.int64]], size: int, cosines: Scores,
    dice: np.random.Generator,
) -> Scores:  # fmt: skip
    """Share of people whose further photo reaches each cosine with the mean of `size` others."""
    scores = []
    for album in rows:
        for _ in range(_DRAWS if len(album) > size else 0):
            drawn = dice.permutation(album)
            mean = vectors[drawn[1 : size + 1]].mean(axis=0)
            scores.append(float(vectors[drawn[0]] @ mean) / float(np.linalg.norm(mean)))
    return np.asarray(np.mean(np.array(scores)[:, None] >= cosines, axis=0))


def _spread(scores: Floats, cosines: Scores) -> Scores:
    """Squared coefficient of variation of strangers' own rates at each cosine: of how many people
    they meet, less what chance alone would give.

    Where that is all there is, and at rates too low to be counted, it follows the line through the
    others' logarithms.
    """
    found = []
    for cosine in cosines:
        met = np.nansum(scores >= cosine, axis=1)
        mean = max(float(met.mean()), 1e-12)
        found.append(float(met.var()) / mean**2 - 1 / mean)
    rates, spread = np.array(_RATES), np.maximum(found, _LEAST_SPREAD)
    low, high = _SPREAD_RATES
    counted = (rates >= low * 0.99) & (spread > _LEAST_SPREAD)
    fitted = counted & (rates <= high * 1.01)
    if fitted.sum() < 2:
        return np.asarray(spread)
    line = np.polyfit(np.log(rates[fitted]), np.log(spread[fitted]), 1)
    return np.asarray(np.where(counted, spread, np.exp(np.polyval(line, np.log(rates)))))


def _brief(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(f"{value:.3g}") for value in values)
