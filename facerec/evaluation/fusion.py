"""Weights of fused networks, fitted to pairs by logistic regression on the networks' cosines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facerec.errors import UsageError
from facerec.evaluation.curve import Flags
from facerec.evaluation.folds import (
    FoldAccuracy,
    FoldIndices,
    accuracy_over_folds,
    normalised,
    pair_similarities,
)
from facerec.evaluation.protocols.pairs import PairProtocol
from facerec.evaluation.verification import percent
from facerec.faces import Floats
from facerec.models.fusion import normalised_weights

_LEAST = 1e-3
"""Weight of a network that adds nothing; a weight of 0 would leave no part to fit again."""

Cosines = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class FittedWeights:
    """Weights of fused networks.

    Attributes:
        weights: fitted to all pairs; one for each network.
        by_fold: fitted without each fold.
        accuracy: of each fold, with weights and threshold of the other folds.
    """

    weights: tuple[float, ...]
    by_fold: dict[int, tuple[float, ...]]
    accuracy: FoldAccuracy

    def record(self, names: Sequence[str]) -> dict[str, Any]:
        """As fields of a JSON object, rates in percent.

        Args:
            names: of the networks.
        """
        return {
            "fitted_weights": dict(zip(names, self.weights, strict=True)),
            "weights_by_fold": {str(fold): list(each) for fold, each in self.by_fold.items()},
            "fitted": {
                "accuracy": percent(self.accuracy.mean),
                "accuracy_std": percent(self.accuracy.std),
            },
        }


def fit_weights(
    vectors: Floats, networks: Sequence[tuple[int, float]], protocol: PairProtocol
) -> FittedWeights:
    """Weights that tell a protocol's pairs apart best.

    Args:
        vectors: `(I, D) float32` fused unit vectors; rows of NaN count as unlike.
        networks: dimension and weight of each network's part; see `Engine.networks`.

    Raises:
        UsageError: there is one network, or the protocol has no folds.
    """
    if len(networks) < 2:
        raise UsageError("--fit-weights needs several networks in model.name")
    folds = protocol.folds
    if folds is None or len(np.unique(folds)) < 2:
        raise UsageError(f"--fit-weights needs folds, which {protocol.name} does not have")
    cosines = network_cosines(vectors, [size for size, _ in networks], protocol.pairs)
    return _fit_over_folds(cosines, protocol.same, folds)


def network_cosines(vectors: Floats, sizes: Sequence[int], pairs: NDArray[np.int64]) -> Cosines:
    """`(N, M) float32` cosine of each pair by each network.

    Args:
        sizes: dimension of each network's part of a vector.
    """
    parts = np.split(vectors, np.cumsum(sizes)[:-1], axis=1)
    return np.stack([pair_similarities(normalised(part), pairs) for part in parts], axis=1)


def _fit_over_folds(cosines: Cosines, same: Flags, folds: FoldIndices) -> FittedWeights:
    by_fold: dict[int, tuple[float, ...]] = {}

    def scores_for(fold: int) -> NDArray[np.float32]:
        others = folds != fold
        by_fold[fold] = _fit(cosines[others], same[others])
        scores: NDArray[np.float32] = cosines @ np.asarray(by_fold[fold], np.float32)
        return scores

    accuracy = accuracy_over_folds(scores_for, same, folds)
    return FittedWeights(_fit(cosines, same), by_fold, accuracy)


def _fit(cosines: Cosines, same: Flags) -> tuple[float, ...]:
    from sklearn.linear_model import LogisticRegression

    # Equal spread, so that the penalty on a coefficient does not depend on a network's scale.
    spread = cosines.std(axis=0) + np.finfo(np.float32).eps
    model = LogisticRegression(class_weight="balanced").fit(cosines / spread, same)
    slopes = np.maximum(model.coef_[0] / spread, 0)
    total = slopes.sum()
    shares = slopes / total if total > 0 else np.full(len(slopes), 1 / len(slopes))
    return normalised_weights(np.maximum(shares, _LEAST).tolist())
