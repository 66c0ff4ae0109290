"""Fusion: several embedding networks as one, their weighted unit vectors side by side.

With part `i` scaled by the root of its weight, and weights that sum to 1, the cosine of two fused
vectors is the weighted mean of the networks' cosines (sum rule; Kittler et al. 1998), so whatever
compares vectors takes fused ones too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facerec.card import Calibration, Metric, ModelCard, distance_to_similarity
from facerec.errors import UsageError
from facerec.faces import Floats
from facerec.models import Embedder

_DIGITS = 4
"""Of a weight; the fingerprint covers the weights, so they must read back equal from a profile."""


Part = tuple[int, float]


@dataclass(frozen=True, slots=True)
class Fusion:
    """Networks that are used as one.

    Attributes:
        members: at least two; each is fed by its own card.
        weights: one each, above 0, that sum to 1.
        card: of the fused vectors.
    """

    members: tuple[Embedder, ...]
    weights: tuple[float, ...]
    card: ModelCard


def normalised_weights(weights: Sequence[float]) -> tuple[float, ...]:
    """The weights, scaled to sum to 1 and rounded."""
    total = sum(weights)
    return tuple(round(weight / total, _DIGITS) for weight in weights)


def equal_weights(cards: Sequence[ModelCard]) -> tuple[float, ...]:
    """Weights with which every network counts the same, whatever the spread of its cosines.

    A network's spread is the difference between its thresholds at two false-accept rates: the
    distance of two quantiles of its strangers' cosines.

    Args:
        cards: with thresholds at two rates that all of them share.

    Raises:
        UsageError: a card has none.
    """
    shared = set.intersection(*(_rates(card) for card in cards))
    if len(shared) < 2:
        lacking = min(cards, key=lambda card: len(_rates(card)))
        raise UsageError(
            f"model.weights: {lacking.name} has no thresholds at two false-accept rates to compare "
            "its scale by; give model.weights, or evaluate it with --calibrate"
        )
    return normalised_weights([1 / _spread(card, min(shared), max(shared)) for card in cards])


def fused_card(cards: Sequence[ModelCard], weights: Sequence[float]) -> ModelCard:
    """The card of fused vectors, without thresholds.

    Chips are described by the first network's fields. `sha256` covers the networks' fingerprints
    and their weights.
    """
    first = cards[0]
    identity = [[card.fingerprint(), weight] for card, weight in zip(cards, weights, strict=True)]
    parts = (f"{weight:g} {card.name}" for card, weight in zip(cards, weights, strict=True))
    augments = {card.augment for card in cards}
    return first.model_copy(
        update={
            "name": " + ".join(parts),
            "architecture": "fusion",
            "embedding_size": sum(card.embedding_size for card in cards),
            "metric": "cosine",
            "augment": first.augment if len(augments) == 1 else "none",
            "calibration": None,
            "norms": None,
            "sha256": hashlib.sha256(json.dumps(identity).encode()).hexdigest(),
            "licence": _each([card.licence for card in cards]),
            "source": _each([card.source for card in cards]),
            "training": _each([card.training for card in cards]),
        }
    )


def reweight(vectors: Floats, old: Sequence[Part], new: Sequence[Part]) -> Floats:
    """Fused unit vectors `(N, D) float32` with other weights.

    Args:
        old, new: dimension and weight of each network's part; see `Engine.networks`.
    """
    if list(old) == list(new):
        return vectors
    scales = [
        np.full(size, np.sqrt(weight / before), np.float32)
        for (size, before), (_, weight) in zip(old, new, strict=True)
    ]
    scaled: Floats = vectors * np.concatenate(scales)
    return scaled


def _rates(card: ModelCard) -> set[float]:
    return {float(rate) for rate in card.calibration.thresholds} if card.calibration else set()


def _spread(card: ModelCard, low: float, high: float) -> float:
    assert card.calibration is not None, "it has rates"
    strict, loose = (_cosine(card.calibration, rate, card.metric) for rate in (low, high))
    return max(strict - loose, float(np.finfo(np.float32).eps))


def _cosine(calibration: Calibration, far: float, metric: Metric) -> float:
    found = (distance for rate, distance in calibration.thresholds.items() if float(rate) == far)
    return distance_to_similarity(next(found), metric)


def _each(texts: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(texts))
