"""Bootstrap confidence intervals over pairs, and McNemar's test of two models.

Genuine and impostor pairs are resampled separately, so that a replicate has as many of each as
the data (Efron & Tibshirani 1993, section 8.3; percentile intervals, section 13.3). Resampled
counts are drawn from their exact distributions (binomials, split step by step, and order statistics
of a uniform sample) instead of drawing every pair: the intervals are those of the plain bootstrap,
at a cost independent of the number of pairs. Pairs that share an image or a person are treated as
independent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facerec.evaluation.curve import Counts, Flags, ScoreCurve
from facerec.evaluation.metrics import allowed_impostors

Interval = tuple[float, float]

REPLICATES = 2000
SEED = 0
LEVEL = 0.95


def accuracy_interval(correct: Flags, same: Flags) -> Interval:
    """95 % interval of the accuracy, at fixed thresholds.

    Args:
        correct: `(N,) bool`, whether each pair was decided rightly.
        same: `(N,) bool`.
    """
    generator = np.random.default_rng(SEED)
    right = np.zeros(REPLICATES)
    for kind in (correct[same], correct[~same]):
        right += generator.binomial(len(kind), kind.mean(), REPLICATES)
    return _percentiles(right / len(correct))


def tar_interval(curve: ScoreCurve, far: float) -> Interval:
    """95 % interval of the TAR at a FAR, the threshold chosen anew in each replicate."""
    generator = np.random.default_rng(SEED)
    impostors, allowed = curve.impostor_total, allowed_impostors(far, curve.impostor_total)
    if allowed >= impostors:
        return 1.0, 1.0
    # The highest impostor score to reject has index `allowed` in the resample; its rank in the
    # data is distributed as an order statistic of uniform numbers.
    uniform = generator.beta(allowed + 1, impostors - allowed, REPLICATES)
    rank = np.minimum((uniform * impostors).astype(np.int64), impostors - 1)
    accepted_scores = np.searchsorted(curve.impostor, rank, side="right") - 1
    share = curve.genuine[accepted_scores] / curve.genuine_total
    return _percentiles(generator.binomial(curve.genuine_total, share) / curve.genuine_total)


def eer_interval(curve: ScoreCurve) -> Interval:
    """95 % interval of the equal error rate."""
    split = _Splitter(np.random.default_rng(SEED))
    low = np.zeros(REPLICATES, dtype=np.int64)
    high = np.full(REPLICATES, len(curve.scores))
    totals = curve.genuine_total, curve.impostor_total
    bounds = [
        (np.zeros(REPLICATES, dtype=np.int64), np.full(REPLICATES, total)) for total in totals
    ]
    while (high - low > 1).any():
        middle = np.where(high - low > 1, (low + high) // 2, low)
        counts = [
            split(cumulated, low, middle, high, *bound)
            for cumulated, bound in zip((curve.genuine, curve.impostor), bounds, strict=True)
        ]
        beyond = counts[1] / totals[1] >= 1 - counts[0] / totals[0]
        low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
        bounds = [
            (np.where(beyond, first, count), np.where(beyond, count, last))
            for count, (first, last) in zip(counts, bounds, strict=True)
        ]
    (tar_low, tar_high), (far_low, far_high) = (
        (first / total, last / total) for (first, last), total in zip(bounds, totals, strict=True)
    )
    gap_low, gap_high = far_low + tar_low - 1, far_high + tar_high - 1
    width = np.where(gap_high > gap_low, gap_high - gap_low, 1)
    return _percentiles(far_low - gap_low / width * (far_high - far_low))


class _Splitter:
    """Draws a resample's accepted count at `middle`, given those at `low` and `high`."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator

    def __call__(
        self, cumulated: Counts, low: Counts, middle: Counts, high: Counts, first: Counts,
        last: Counts,
    ) -> Counts:  # fmt: skip
        inside = cumulated[high] - cumulated[low]
        share = (cumulated[middle] - cumulated[low]) / np.maximum(inside, 1)
        drawn: Counts = first + self.generator.binomial(last - first, share)
        return drawn


def fold_mean_interval(accuracies: NDArray[np.float64]) -> Interval:
    """95 % interval of the mean over folds, whole folds resampled.

    Args:
        accuracies: `(K,) float64`.
    """
    generator = np.random.default_rng(SEED)
    drawn = generator.integers(len(accuracies), size=(REPLICATES, len(accuracies)))
    return _percentiles(accuracies[drawn].mean(axis=1))


def _percentiles(values: NDArray[np.float64]) -> Interval:
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(values, (tail, 100 - tail))
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class McNemar:
    """Paired comparison of two models' decisions.

    Attributes:
        only_first: pairs that only the first model decides rightly.
        only_second: pairs that only the second model decides rightly.
        p_value: two-sided, exact.
    """

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: Flags, second: Flags) -> McNemar:
    """McNemar's test in its exact binomial form (McNemar 1947; Fay 2010).

    Args:
        first, second: `(N,) bool`, whether each model decided each pair rightly.
    """
    # Imported late: scipy.stats takes half a second.
    from scipy.stats import binomtest

    only_first = int(np.count_nonzero(first & ~second))
    only_second = int(np.count_nonzero(second & ~first))
    discordant = only_first + only_second
    p_value = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return McNemar(only_first, only_second, p_value)
