"""A card's distances between and beyond the false-accept rates it was calibrated at.

Over the normal quantile of the rate, a distance is taken to lie on the line through the two
nearest calibrated ones: impostor distances are nearly normal.
"""

from __future__ import annotations

from statistics import NormalDist

from facerec.card import Metric, ModelCard, convert_distance

_NORMAL = NormalDist()


def distance_at(card: ModelCard, far: float, metric: Metric) -> float | None:
    """The distance of a false-accept rate; None for a card with fewer than two rates."""
    quantile = _NORMAL.inv_cdf(far)
    points = sorted(_points(card, metric), key=lambda point: abs(point[0] - quantile))
    if len(points) < 2:
        return None
    (one, near), (two, far_) = points[:2]
    return max(near + (far_ - near) * (quantile - one) / (two - one), 0.0)


def rate_at(card: ModelCard, distance: float, metric: Metric) -> float | None:
    """The false-accept rate of a distance; None for a card with fewer than two rates."""
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
