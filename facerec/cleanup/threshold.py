"""A distance threshold from the data's own similarities, and from the model card's calibration.

Between and beyond the card's false-accept rates a distance is interpolated linearly over the normal
quantile of the rate, because impostor distances are nearly normal.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from facerec.card import (
    Metric,
    ModelCard,
    convert_distance,
    distance_to_similarity,
    similarity_to_distance,
)
from facerec.cleanup.groups import Groups
from facerec.cleanup.photos import Photos
from facerec.cleanup.youden import least_error
from facerec.errors import UsageError
from facerec.files.text import counted

_NORMAL = NormalDist()

_ROUNDS = 3
_MEASURABLE = 20
"""Images with others in their folder, below which error rates are not measured."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A threshold and why.

    Attributes:
        threshold: distance in the metric requested.
        reason: a sentence or two.
    """

    threshold: float
    reason: str


def choose_threshold(photos: Photos, card: ModelCard, metric: Metric) -> Choice:
    """The threshold of least total error (Youden 1950), for average linkage.

    Genuine scores are mean cosines of an image with the rest of its folder, impostor scores with a
    random other folder. Label noise is in both error rates, so they are not the model's. With too
    few images, `calibrated_threshold` is returned.

    Raises:
        UsageError: there are too few images, and the card has no threshold.
    """
    rows = photos.embedded()
    vectors = photos.vectors(rows)
    person, people = photos.owners(rows)
    groups = Groups.of(vectors, person, people)
    shared = groups.sizes[person] > 1
    if people < 2 or shared.sum() < _MEASURABLE:
        few = int(shared.sum())
        return calibrated_threshold(
            card, metric,
            f"only {counted(few, 'image')} with others in the same folder, too few to measure "
            f"({_MEASURABLE} are enough), so it is ",
        )  # fmt: skip
    step = np.random.default_rng(0).integers(1, people, len(person))
    used = np.ones(len(person), bool)
    for _ in range(_ROUNDS):
        rest = groups.sizes[person] - used
        sums = np.einsum("nd,nd->n", vectors, groups.sums[person]) - used
        every = sums / np.maximum(rest, 1)
        own = every[shared & (rest > 0)]
        other = np.einsum("nd,nd->n", vectors, groups.means()[(person + step) % people])
        limit = least_error(own, other)
        # Strangers must not count as the rest of a folder.
        used = (every >= limit.score) | (rest == 0)
        groups = Groups.of(vectors, np.where(used, person, -1), people)
    threshold = similarity_to_distance(limit.score, metric)
    genuine, impostor = (
        similarity_to_distance(float(np.median(cosines)), metric) for cosines in (own, other)
    )
    return Choice(
        threshold,
        f"half of the images are within {genuine:.4f} of the rest of their folder and within "
        f"{impostor:.4f} of a random other one; at the threshold {limit.missed:.1%} are farther "
        f"from their own and {limit.passed:.1%} nearer to the other"
        + _beside_calibration(card, threshold, metric),
    )


def calibrated_threshold(card: ModelCard, metric: Metric, why: str = "") -> Choice:
    """The card's strictest calibrated threshold.

    Args:
        why: it is not measured; begins the reason.

    Raises:
        UsageError: the card has no threshold.
    """
    known = card.calibration.thresholds if card.calibration else {}
    if not known:
        raise UsageError(
            f"{why.removesuffix(', so it is ') or 'this linkage has no threshold of its own'}, and "
            f"{card.name} is not calibrated; give --distance-threshold"
        )
    rate = min(known, key=float)
    return Choice(
        convert_distance(known[rate], card.metric, metric),
        f"{why}the card's for two images at FAR {rate}",
    )


def same_person_cosine(card: ModelCard) -> float | None:
    """The cosine of the card's strictest calibrated threshold; None without one."""
    known = card.calibration.thresholds if card.calibration else {}
    return distance_to_similarity(min(known.values()), card.metric) if known else None


def _beside_calibration(card: ModelCard, threshold: float, metric: Metric) -> str:
    if card.calibration is None:
        return "; the card is not calibrated"
    known = ", ".join(
        f"{convert_distance(distance, card.metric, metric):.4f} at FAR {rate}"
        for rate, distance in card.calibration.thresholds.items()
    )
    rate = rate_at(card, threshold, metric)
    return f"; the card's for two images: {known}" + (
        "" if rate is None else f", which puts this one at about {rate:.0e}"
    )


def distance_at(card: ModelCard, far: float, metric: Metric) -> float | None:
    """The distance at a false-accept rate; None for a card with fewer than two rates."""
    quantile = _NORMAL.inv_cdf(far)
    points = sorted(_points(card, metric), key=lambda point: abs(point[0] - quantile))
    if len(points) < 2:
        return None
    (one, near), (two, far_) = points[:2]
    return max(near + (far_ - near) * (quantile - one) / (two - one), 0.0)


def rate_at(card: ModelCard, distance: float, metric: Metric) -> float | None:
    """The false-accept rate at a distance; None for a card with fewer than two rates."""
    points = sorted(_points(card, metric), key=lambda point: abs(point[1] - distance))
    if len(points) < 2 or points[0][1] == points[1][1]:
        return None
    (one, near), (two, far_) = points[:2]
    return _NORMAL.cdf(one + (two - one) * (distance - near) / (far_ - near))


def _points(card: ModelCard, metric: Metric) -> list[tuple[float, float]]:
    known = card.calibration.thresholds if card.calibration else {}
    return [
        (_NORMAL.inv_cdf(float(rate)), convert_distance(distance, card.metric, metric))
        for rate, distance in known.items()
    ]
