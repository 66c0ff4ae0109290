"""k-fold accuracy: each fold at the threshold that is best on the other folds.

Huang et al. 2007 (LFW), section 4: View 2's estimated mean accuracy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facerec.errors import UsageError
from facerec.evaluation.curve import Flags, Scores, check_pairs, score_curve
from facerec.evaluation.metrics import best_threshold

FoldIndices = NDArray[np.int64]
ScoresForFold = Callable[[int], Scores]


@dataclass(frozen=True, slots=True, eq=False)
class FoldAccuracy:
    """k-fold accuracy and the decision on every pair.

    Attributes:
        accuracies: `(K,) float64`, share of right decisions in each fold.
        thresholds: `(K,) float64`, similarity threshold of each fold.
        correct: `(N,) bool`, whether each pair was decided rightly.
    """

    accuracies: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    correct: Flags

    @property
    def mean(self) -> float:
        return float(self.accuracies.mean())

    @property
    def std(self) -> float:
        """Standard deviation over the folds (population, as the field reports it)."""
        return float(self.accuracies.std())


def fold_accuracy(similarities: ArrayLike, same: ArrayLike, folds: ArrayLike) -> FoldAccuracy:
    """Accuracy per fold.

    Args:
        similarities: `(N,)` floats.
        same: `(N,)` booleans.
        folds: `(N,)` integers, the fold of each pair.

    Raises:
        UsageError: fewer than two folds, or the others of a fold hold only one kind of pair.
    """
    scores, flags = check_pairs(similarities, same)
    return accuracy_over_folds(lambda _: scores, flags, np.asarray(folds, dtype=np.int64))


def accuracy_over_folds(scores_for: ScoresForFold, same: Flags, folds: FoldIndices) -> FoldAccuracy:
    """As `fold_accuracy`, with similarities that may depend on the fold held out.

    Args:
        scores_for: the `(N,)` similarities of all pairs when a given fold is held out.
    """
    names = np.unique(folds)
    if len(names) < 2:
        raise UsageError("k-fold accuracy needs at least two folds")
    correct = np.zeros(len(same), dtype=bool)
    accuracies, thresholds = [], []
    for fold in names:
        held_out = folds == fold
        scores = scores_for(int(fold))
        threshold, _ = best_threshold(score_curve(scores[~held_out], same[~held_out]))
        decided = (scores[held_out] >= threshold) == same[held_out]
        correct[held_out] = decided
        accuracies.append(np.count_nonzero(decided) / len(decided))
        thresholds.append(threshold)
    return FoldAccuracy(np.array(accuracies), np.array(thresholds), correct)


def accuracy_at(
    thresholds: NDArray[np.float64], similarities: Scores, same: Flags, folds: FoldIndices
) -> float:
    """Accuracy of other similarities of the same pairs, at the folds' thresholds.

    Args:
        thresholds: `(K,) float64`, of `FoldAccuracy`.
    """
    limits = thresholds[np.searchsorted(np.unique(folds), folds)]
    correct = (similarities >= limits) == same
    return float(np.mean([correct[folds == fold].mean() for fold in np.unique(folds)]))


def mean_subtracted_accuracy(
    embeddings: NDArray[np.float32], pairs: NDArray[np.int64], same: Flags, folds: FoldIndices
) -> FoldAccuracy:
    """k-fold accuracy with the mean embedding of the other folds' images subtracted.

    Args:
        embeddings: `(I, D) float32` unit vectors, or rows of NaN as in `pair_similarities`.
        pairs: `(N, 2) int64` rows of `embeddings`.
    """

    def scores_for(fold: int) -> Scores:
        others = np.unique(pairs[folds != fold])
        centred = embeddings - np.nanmean(embeddings[others], axis=0)
        return pair_similarities(normalised(centred), pairs)

    return accuracy_over_folds(scores_for, same, folds)


def normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to length 1; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit


def pair_similarities(
    embeddings: NDArray[np.float32], pairs: NDArray[np.int64], block: int = 65536
) -> NDArray[np.float32]:
    """Cosine of each pair, in blocks of pairs so that memory is bounded.

    Args:
        embeddings: `(I, D) float32` unit vectors; a row of NaN for an image without a vector,
            whose pairs are scored -1.
        pairs: `(N, 2) int64` rows of `embeddings`.

    Returns:
        `(N,) float32`.
    """
    similarities = np.empty(len(pairs), dtype=np.float32)
    for start in range(0, len(pairs), block):
        rows = pairs[start : start + block]
        similarities[start : start + block] = np.einsum(
            "nd,nd->n", embeddings[rows[:, 0]], embeddings[rows[:, 1]]
        )
    return np.nan_to_num(similarities, copy=False, nan=-1.0)
