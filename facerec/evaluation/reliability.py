"""Reliability: whether of the answers told with probability p a share p is right.

Expected calibration error and reliability curve after Guo et al. 2017, section 2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facerec.evaluation.cohort import measure_cohort
from facerec.evaluation.folds import pair_similarities
from facerec.evaluation.protocols.pairs import PairProtocol
from facerec.faces import Floats
from facerec.gallery.certainty import Certainty

BINS = 15

Reals = NDArray[np.float64]


class Reliability(NamedTuple):
    """Answers by probability told, in bins of equal width; one row a bin that is not empty.

    Attributes:
        told: `(B,)` mean probability.
        right: `(B,)` share of right answers.
        answers: `(B,)` how many.
    """

    told: Reals
    right: Reals
    answers: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error."""
        return float(np.average(np.abs(self.told - self.right), weights=self.answers))


def reliability(probability: ArrayLike, right: ArrayLike) -> Reliability:
    """The reliability curve.

    Args:
        probability: `(N,)` in [0, 1].
        right: `(N,)` booleans.
    """
    values, flags = np.asarray(probability, float), np.asarray(right, float)
    bins = np.minimum((values * BINS).astype(int), BINS - 1)
    count = np.bincount(bins, minlength=BINS)
    filled = count > 0
    told, rights = (np.bincount(bins, one, BINS)[filled] / count[filled] for one in (values, flags))
    return Reliability(told, rights, count[filled])


def calibration_error(probability: ArrayLike, right: ArrayLike) -> float:
    """Expected calibration error, see `reliability`."""
    return reliability(probability, right).error


def held_out_reliability(vectors: Floats, protocol: PairProtocol) -> Reliability | None:
    """Reliability of the pairs' probabilities, each by the people of the other half of the folds.

    Args:
        vectors: `(I, D) float32` unit vectors of the protocol's images; NaN where there is none.

    Returns:
        None where images do not name people, there is one fold, or a half has too few people.
    """
    if protocol.people is None or len(np.unique(protocol.folds)) < 2:
        return None
    similarities = pair_similarities(vectors, protocol.pairs)
    probability = np.empty(len(similarities))
    late = protocol.folds >= (protocol.folds.max() + 1) / 2
    for half in (late, ~late):
        rows = np.unique(protocol.pairs[~half])
        cohort = measure_cohort(vectors[rows], [protocol.people[row] for row in rows])
        if cohort is None:
            return None
        probability[half] = Certainty(cohort, {1: 1}).probability(similarities[half])
    return reliability(probability, protocol.same)
