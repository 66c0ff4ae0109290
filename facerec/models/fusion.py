"""Fusion: several embedding networks as one, their weighted unit vectors side by side.

With part `i` scaled by the root of its weight, and weights that sum to 1, the cosine of two fused
vectors is the weighted mean of the networks' cosines (sum rule; Kittler et al. 1998), so whatever
compares vectors takes fused ones too.

A network's raw vector has a smaller norm where a face is hard to tell (Meng et al. 2021). With
`norm` its part is scaled by the root of it, too: on LFW the root and the fourth root serve, the
norm itself does not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from facerec.card import Calibration, Metric, ModelCard, distance_to_similarity
from facerec.errors import UsageError
from facerec.faces import Floats
from facerec.models import Embedder, unit_vectors

_DIGITS = 4
"""Of a weight; the fingerprint covers the weights, so they must read back equal from a profile."""


class Part(NamedTuple):
    """A network's part of a fused vector.

    Attributes:
        size: its dimension.
        weight: of the network.
        norm: its raw vectors' usual norm, at which a face has that weight; None: at any.
    """

    size: int
    weight: float
    norm: float | None = None


@dataclass(frozen=True, slots=True)
class Fusion:
    """Networks that are used as one.

    Attributes:
        members: at least two; each is fed by its own card.
        weights: one each, above 0, that sum to 1.
        card: of the fused vectors.
        norms: one each; see `Part`.
    """

    members: tuple[Embedder, ...]
    weights: tuple[float, ...]
    card: ModelCard
    norms: tuple[float | None, ...] = ()

    @property
    def parts(self) -> tuple[Part, ...]:
        """What a fused vector consists of."""
        norms = self.norms or (None,) * len(self.members)
        sizes = [member.card.embedding_size for member in self.members]
        return tuple(map(Part, sizes, self.weights, norms))


def normalised_weights(weights: Sequence[float]) -> tuple[float, ...]:
    """The weights, each above 0, scaled to sum to 1 and rounded.

    Raises:
        UsageError: one is rounded to 0, so that its network would run for nothing.
    """
    largest = max(weights)  # Of which the sum may be infinite.
    total = sum(weight / largest for weight in weights)
    rounded = tuple(round(weight / largest / total, _DIGITS) for weight in weights)
    if not all(rounded):
        raise UsageError(
            f"model.weights: {min(weights):g} counts nothing beside {largest:g}; leave that "
            "network out"
        )
    return rounded


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


def fused_card(
    cards: Sequence[ModelCard], weights: Sequence[float], norms: Sequence[float | None] = ()
) -> ModelCard:
    """The card of fused vectors, without thresholds.

    Chips are described by the first network's fields. `sha256` covers the networks' fingerprints,
    their weights and, where they count, norms.
    """
    first = cards[0]
    identity = [
        [card.fingerprint(), weight] if norm is None else [card.fingerprint(), weight, norm]
        for card, weight, norm in zip(cards, weights, norms or (None,) * len(cards), strict=True)
    ]
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


def fuse(vectors: Sequence[Floats], parts: Sequence[Part]) -> Floats:
    """Fused unit vectors `(N, D) float32`.

    Args:
        vectors: `(N, size) float32` of each network, raw where its `norm` counts.
    """
    scaled = []
    for own, part in zip(vectors, parts, strict=True):
        scale = np.full((len(own), 1), np.sqrt(part.weight), np.float32)
        if part.norm is not None:
            scale *= np.sqrt(np.linalg.norm(own, axis=1, keepdims=True) / part.norm)
        scaled.append(scale * unit_vectors(own))
    return unit_vectors(np.concatenate(scaled, axis=1))


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
