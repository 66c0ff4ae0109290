"""Weights of fused networks, fitted to pairs by logistic regression on the networks' cosines.

Where a protocol names people, all pairs of each are taken, and the strangers most alike by the
weights so far. Where vectors' norms count, a fused cosine's denominator depends on the weights,
too. So the regression is repeated with the weights that it gave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from facerec.errors import UsageError
from facerec.evaluation.curve import Flags, Scores
from facerec.evaluation.folds import (
    FoldAccuracy,
    accuracy_over_folds,
    normalised,
    pair_similarities,
)
from facerec.evaluation.protocols.pairs import PairProtocol
from facerec.evaluation.verification import percent
from facerec.faces import Floats
from facerec.models.fusion import Part, normalised_weights

_LEAST = 1e-3
"""Weight of a network that adds nothing; a weight of 0 would leave no part to fit again."""

_ROUNDS = 5
"""Of regression, where what it regresses on depends on the weights."""
_FAR = 1e-3
"""As of default thresholds."""
_NEAREST = 1e-2
"""Share of the strangers that a regression sees."""
_STRANGERS, _STRANGERS_EACH = 1_000_000, 100
"""Pairs of strangers drawn, at most, and for each image."""
_LIKELY = 0.1
"""Share of the strangers by each network alone among which those most alike by all are sought."""
_STEPS = 100

Cosines = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class FittedWeights:
    """Weights of fused networks.

    Attributes:
        weights: fitted to all pairs; one for each network.
        by_fold: fitted without each fold.
        accuracy: of each fold, with weights and threshold of the other folds.
        norms: see `Part`; found to count or not on all pairs.
    """

    weights: tuple[float, ...]
    by_fold: dict[int, tuple[float, ...]]
    accuracy: FoldAccuracy
    norms: tuple[float | None, ...]

    def record(self, names: Sequence[str]) -> dict[str, Any]:
        """As fields of a JSON object, rates in percent.

        Args:
            names: of the networks.
        """
        norms = dict(zip(names, self.norms, strict=True)) if any(self.norms) else None
        return {
            "fitted_weights": dict(zip(names, self.weights, strict=True)),
            **({} if norms is None else {"fitted_norms": norms}),
            "weights_by_fold": {str(fold): list(each) for fold, each in self.by_fold.items()},
            "fitted": {
                "accuracy": percent(self.accuracy.mean),
                "accuracy_std": percent(self.accuracy.std),
            },
        }


def fit_weights(vectors: Floats, networks: Sequence[Part], protocol: PairProtocol) -> FittedWeights:
    """Weights that tell a protocol's pairs apart best.

    Args:
        vectors: `(I, D) float32` of `Engine.apart`; rows of NaN count as unlike.
        networks: see `Engine.networks`.

    Raises:
        UsageError: there is one network, or the protocol has no folds.
    """
    if len(networks) < 2:
        raise UsageError("--fit-weights needs several networks in model.name")
    folds = protocol.folds
    if folds is None or len(np.unique(folds)) < 2:
        raise UsageError(f"--fit-weights needs folds, which {protocol.name} does not have")
    sizes = [part.size for part in networks]
    shown = _Pairs(vectors, sizes, protocol.pairs, protocol.same)
    known, without = _known_pairs(vectors, sizes, protocol, shown)
    by_fold: dict[int, _Choice] = {}

    def scores_for(fold: int) -> Scores:
        by_fold[fold] = known.choose(without(fold))
        return shown.scores(by_fold[fold])

    accuracy = accuracy_over_folds(scores_for, protocol.same, folds)
    chosen = known.choose(np.ones(len(known.same), bool))
    norms = np.nanmedian(_norms(vectors, sizes), axis=0)
    return FittedWeights(
        chosen.weights,
        {fold: each.weights for fold, each in by_fold.items()},
        accuracy,
        tuple(
            float(f"{norm:.4g}") if counted else None
            for norm, counted in zip(norms, chosen.counted, strict=True)
        ),
    )


def _known_pairs(
    vectors: Floats, sizes: Sequence[int], protocol: PairProtocol, shown: _Pairs
) -> tuple[_Pairs, Callable[[int], Flags]]:
    """The pairs to fit weights to, and which of them share no person with a fold."""
    if protocol.people is None:
        return shown, lambda fold: protocol.folds != fold
    _, people = np.unique(protocol.people, return_inverse=True)
    usable = np.flatnonzero(np.isfinite(vectors[:, 0]))
    pairs = usable[pairs_of_people(people[usable])]
    same = people[pairs[:, 0]] == people[pairs[:, 1]]
    if same.all() or not same.any():
        return shown, lambda fold: protocol.folds != fold
    known = _Pairs(vectors, sizes, pairs, same, of_people=True)

    def without(fold: int) -> Flags:
        held_out = np.zeros(people.max() + 1, bool)
        held_out[people[protocol.pairs[protocol.folds == fold]]] = True
        first, second = people[known.pairs].T
        free: Flags = ~(held_out[first] | held_out[second])
        return free

    kinds = [known.same[without(fold)] for fold in np.unique(protocol.folds)]
    if not all(kind.any() and not kind.all() for kind in kinds):
        return shown, lambda fold: protocol.folds != fold
    return known, without


def pairs_of_people(people: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs `(N, 2) int64` of images of known people: of one person all, or for each image at most
    100, and strangers drawn at random, with a seed."""
    order = np.argsort(people, kind="stable")
    genuine = [np.empty((0, 2), np.int64)]
    for step in range(1, min(_STEPS, len(order) - 1) + 1):
        both = np.stack([order[:-step], order[step:]], axis=1)
        both = both[people[both[:, 0]] == people[both[:, 1]]]
        if not len(both):
            break
        genuine.append(both)
    count = min(_STRANGERS, _STRANGERS_EACH * len(people))
    drawn = np.random.default_rng(0).integers(0, max(len(people), 1), (count, 2))
    return np.concatenate([*genuine, drawn[people[drawn[:, 0]] != people[drawn[:, 1]]]])


class _Choice(NamedTuple):
    """Weights, and whether the norm of each network's raw vectors counts."""

    weights: tuple[float, ...]
    counted: tuple[bool, ...]


class _Pairs:
    """Pairs of faces, at any weights.

    Args:
        vectors: `(I, D) float32`, the networks' raw vectors side by side.
        sizes: dimension of each.
        of_people: these are all that is known of people, not a protocol's choice: the strangers
            most alike count, whatever the others do, and whether norms count is found out.

    Attributes:
        pairs: `(N, 2) int64`, without strangers that no network takes to be alike if `of_people`.
        same: `(N,) bool`.
    """

    def __init__(
        self, vectors: Floats, sizes: Sequence[int], pairs: NDArray[np.int64], same: Flags,
        *, of_people: bool = False,
    ) -> None:  # fmt: skip
        self._of_people = of_people
        cosines = network_cosines(vectors, sizes, pairs)
        alike = np.ones(len(same), bool)
        if of_people:
            alike = same | (cosines >= np.quantile(cosines[~same], 1 - _LIKELY, axis=0)).any(axis=1)
        self._kept = float(alike[~same].mean())
        self.pairs, self.same, self._cosines = pairs[alike], same[alike], cosines[alike]
        norms = _norms(vectors, sizes)
        self._norms = np.nan_to_num(norms / np.nanmedian(norms, axis=0), nan=1.0)

    def choose(self, rows: Flags) -> _Choice:
        """What tells the pairs in `rows` apart best."""
        networks = self._cosines.shape[1]
        if not self._of_people:
            return self._fit(rows, (False,) * networks)
        fits = [
            self._fit(rows, counted)
            for counted in product((False, True), repeat=networks)
            if not all(counted)
        ]
        return max(fits, key=lambda fit: self._tar(rows, fit))

    def scores(self, choice: _Choice) -> Scores:
        """The fused cosine `(N,)` of each pair."""
        scores: Scores = self._weighed(choice) @ np.asarray(choice.weights, np.float32)
        return scores

    def _fit(self, rows: Flags, counted: tuple[bool, ...]) -> _Choice:
        choice = _Choice(normalised_weights([1.0] * len(counted)), counted)
        for _ in range(_ROUNDS if self._of_people else 1):
            seen = rows.copy()
            if self._of_people:
                scores = self.scores(choice)
                seen &= self.same | (scores >= self._limit(rows, scores, _NEAREST))
            weights = _regress(self._weighed(choice)[seen], self.same[seen])
            choice = _Choice(weights, counted)
        return choice

    def _tar(self, rows: Flags, choice: _Choice) -> float:
        scores = self.scores(choice)
        return float(np.mean(scores[rows & self.same] > self._limit(rows, scores, _FAR)))

    def _limit(self, rows: Flags, scores: Scores, share: float) -> float:
        """The score that a share of the strangers reach."""
        return float(np.quantile(scores[rows & ~self.same], 1 - share / self._kept))

    def _weighed(self, choice: _Choice) -> Cosines:
        """`(N, M)`: what the weights sum to the fused cosine of each pair."""
        norms = np.where(choice.counted, self._norms, 1.0)
        totals = norms @ np.asarray(choice.weights) / sum(choice.weights)
        shares = np.sqrt(norms / totals[:, None]).astype(np.float32)
        first, second = self.pairs.T
        weighed: Cosines = self._cosines * shares[first] * shares[second]
        return weighed


def _norms(vectors: Floats, sizes: Sequence[int]) -> NDArray[np.float64]:
    parts = np.split(vectors, np.cumsum(sizes)[:-1], axis=1)
    return np.stack([np.linalg.norm(part, axis=1) for part in parts], axis=1).astype(np.float64)


def network_cosines(vectors: Floats, sizes: Sequence[int], pairs: NDArray[np.int64]) -> Cosines:
    """`(N, M) float32` cosine of each pair by each network.

    Args:
        sizes: dimension of each network's part of a vector.
    """
    parts = np.split(vectors, np.cumsum(sizes)[:-1], axis=1)
    return np.stack([pair_similarities(normalised(part), pairs) for part in parts], axis=1)


def _regress(cosines: Cosines, same: Flags) -> tuple[float, ...]:
    from sklearn.linear_model import LogisticRegression

    # Equal spread, so that the penalty on a coefficient does not depend on a network's scale.
    spread = cosines.std(axis=0) + np.finfo(np.float32).eps
    model = LogisticRegression(class_weight="balanced").fit(cosines / spread, same)
    slopes = np.maximum(model.coef_[0] / spread, 0)
    total = slopes.sum()
    shares = slopes / total if total > 0 else np.full(len(slopes), 1 / len(slopes))
    return normalised_weights(np.maximum(shares, _LEAST).tolist())
