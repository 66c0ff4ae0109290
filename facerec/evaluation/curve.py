"""Genuine and impostor pairs accepted at every threshold (ROC): one sort for all metrics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facerec.errors import UsageError

Scores = NDArray[np.float32] | NDArray[np.float64]
Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class ScoreCurve:
    """Accepted pairs at each distinct score, strictest first.

    Entry `k` of the counts is for a threshold that accepts exactly the `k` highest distinct
    scores, so the counts have one entry more than `scores` and begin with 0.

    Attributes:
        scores: `(M,)` distinct similarities, descending, in their original dtype.
        genuine: `(M + 1,) int64`, accepted pairs of one person.
        impostor: `(M + 1,) int64`, accepted pairs of two people.
    """

    scores: Scores
    genuine: Counts
    impostor: Counts

    @property
    def genuine_total(self) -> int:
        return int(self.genuine[-1])

    @property
    def impostor_total(self) -> int:
        return int(self.impostor[-1])

    @property
    def tar(self) -> NDArray[np.float64]:
        """`(M + 1,)` true-accept rate, in [0, 1]."""
        return self.genuine / self.genuine_total

    @property
    def far(self) -> NDArray[np.float64]:
        """`(M + 1,)` false-accept rate, in [0, 1]."""
        return self.impostor / self.impostor_total

    def threshold(self, index: int) -> float:
        """A threshold that accepts exactly the `index` highest distinct scores.

        It lies half-way to the next score, so that rounding in the conversion to a distance and
        back changes no decision.
        """
        if index == 0:
            return float(np.nextafter(self.scores[0], np.inf, dtype=self.scores.dtype))
        if index == len(self.scores):
            return float(self.scores[-1])
        return halfway(self.scores[index], self.scores[index - 1])


def halfway(lower: np.floating, upper: np.floating) -> float:
    """A threshold between two scores of one dtype, which the upper one reaches and the lower does
    not: the middle, unless it rounds onto the lower one, as NumPy compares in the scores' dtype."""
    middle = type(upper)((float(lower) + float(upper)) / 2)
    return float(middle if middle > lower else upper)


def score_curve(similarities: ArrayLike, same: ArrayLike) -> ScoreCurve:
    """The curve of scored pairs.

    Args:
        similarities: `(N,)` floats, finite.
        same: `(N,)` booleans, true where both images show one person.

    Raises:
        UsageError: lengths differ, a similarity is not finite, or one of the two kinds is missing.
    """
    scores, flags = check_pairs(similarities, same)
    ascending = np.sort(scores)
    first_of_tie = np.flatnonzero(np.append(True, ascending[1:] != ascending[:-1]))
    accepted = (len(scores) - first_of_tie)[::-1]
    distinct = ascending[first_of_tie]
    del ascending, first_of_tie
    # Looking up the rarer kind in the sorted scores is cheaper than an argsort.
    rarer_is_genuine = 2 * np.count_nonzero(flags) <= len(flags)
    places = np.searchsorted(distinct, np.sort(scores[flags == rarer_is_genuine]))
    rarer = np.cumsum(np.bincount(places, minlength=len(distinct))[::-1])
    other = accepted - rarer
    genuine, impostor = (rarer, other) if rarer_is_genuine else (other, rarer)
    return ScoreCurve(
        scores=np.ascontiguousarray(distinct[::-1]),
        genuine=np.concatenate(([0], genuine)),
        impostor=np.concatenate(([0], impostor)),
    )


def check_pairs(similarities: ArrayLike, same: ArrayLike) -> tuple[Scores, Flags]:
    """Validate pairs; returns them as arrays `(N,)` of floats and booleans.

    Raises:
        UsageError: as `score_curve`.
    """
    scores, flags = np.asarray(similarities), np.asarray(same, dtype=bool)
    if scores.dtype != np.float32:
        scores = scores.astype(np.float64)
    if scores.ndim != 1 or scores.shape != flags.shape:
        raise UsageError(f"{scores.shape} similarities do not match {flags.shape} labels")
    genuine = int(np.count_nonzero(flags))
    if genuine in (0, len(flags)):
        kind = "different people" if genuine == 0 else "the same person"
        pairs = "the only pair shows" if len(flags) == 1 else f"all {len(flags)} pairs show"
        raise UsageError(f"{pairs} {kind}; error rates need pairs of both kinds")
    if not np.isfinite(scores).all():
        raise UsageError(f"{np.count_nonzero(~np.isfinite(scores))} similarities are not finite")
    return scores, flags
