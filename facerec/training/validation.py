"""Verification of validation images: balanced pairs, k folds, TAR at FAR."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facerec.evaluation.curve import ScoreCurve
from facerec.evaluation.folds import fold_accuracy, pair_similarities
from facerec.evaluation.metrics import area_under_roc, supported_fars, tar_at_far
from facerec.evaluation.verification import percent, rate_name, verify_scores
from facerec.faces import Floats
from facerec.training.data import Labels

_FOLDS = 10
_MAX_OF_A_KIND = 3000
_LEAST_PEOPLE = 100
"""Who has many images leaves room for so many people, where there are so many."""


@dataclass(frozen=True, slots=True, eq=False)
class Validation:
    """Figures of one snapshot.

    Attributes:
        accuracy: percent, the mean over folds of as many genuine as impostor pairs, each decided
            by the best threshold of the other folds; vectors that know nobody score 50. None:
            fewer than two genuine pairs.
        auc: area under the ROC of all pairs, percent.
        tar: by false-accept rate, percent of the genuine among all pairs that are accepted.
        curve: of all pairs.
    """

    accuracy: float | None
    auc: float
    tar: dict[str, float]
    curve: ScoreCurve

    def record(self) -> dict[str, object]:
        """The figures, for the log."""
        known = {} if self.accuracy is None else {"accuracy": self.accuracy}
        return {**known, "auc": self.auc, "tar_at_far": self.tar}


def validate(vectors: Floats, labels: Labels) -> Validation | None:
    """Compare all pairs of some images.

    Args:
        vectors: `(N, D) float32` unit vectors.
        labels: `(N,) int64`, the person of each.

    Returns:
        None where the pairs are all of one kind.
    """
    if not comparable(labels):
        return None
    left, right = np.triu_indices(len(labels), 1)
    same = labels[left] == labels[right]
    similarities = pair_similarities(vectors, np.stack((left, right), axis=1))
    curve = verify_scores(similarities, same, None).curve
    rows, folds = _balanced(same)
    accuracy = None
    if len(np.unique(folds)) > 1:
        accuracy = percent(fold_accuracy(similarities[rows], same[rows], folds).mean)
    fars = supported_fars(curve.impostor_total)
    tar = {rate_name(far): percent(tar_at_far(curve, far).tar) for far in fars}
    return Validation(accuracy, percent(area_under_roc(curve)), tar, curve)


def comparable(labels: Labels) -> bool:
    """Whether `(N,) int64` labels make pairs of one person and of two."""
    counts = np.unique(labels, return_counts=True)[1]
    return len(counts) > 1 and bool(counts.max() > 1)


def whole_people(labels: Labels, limit: int) -> Labels:
    """Rows of the images to compare, the same ones each time: all where they are no more than
    `limit`, else all those of some people, as single images of many make no genuine pairs.

    People come in random order, those with one image last. Of a person with more than a hundredth
    of the limit, among fewer people more than an equal share of it, random images are taken.

    Args:
        labels: `(N,) int64`, the person of each image.

    Returns:
        `(M,) int64`, ascending, M at most `limit`.
    """
    if len(labels) <= limit:
        return np.arange(len(labels))
    generator = np.random.default_rng(0)
    rows = generator.permutation(len(labels))
    rows = rows[np.argsort(labels[rows], kind="stable")]
    _, starts, places, counts = np.unique(
        labels[rows], return_index=True, return_inverse=True, return_counts=True
    )
    most = max(limit // min(len(counts), _LEAST_PEOPLE), 2)
    kept = np.arange(len(rows)) - starts[places] < most
    turns = generator.permutation(len(counts)) + len(counts) * (counts == 1)
    chosen = rows[kept][np.argsort(turns[places[kept]], kind="stable")]
    return np.sort(chosen[:limit])


def _balanced(same: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of as many genuine as impostor pairs, the same ones each time, and their folds."""
    generator = np.random.default_rng(0)
    genuine, impostor = (generator.permutation(np.flatnonzero(same == kind)) for kind in (1, 0))
    count = min(len(genuine), len(impostor), _MAX_OF_A_KIND)
    folds = np.arange(count) % _FOLDS
    return np.concatenate((genuine[:count], impostor[:count])), np.concatenate((folds, folds))
