"""Embedding networks: aligned chips in, unit vectors out."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from facerec.card import ModelCard
from facerec.faces import Floats, Image


class Embedder(Protocol):
    """What every model does, whatever runs it.

    Attributes:
        arithmetic: runtime and precision, such as `torch bf16`: what else than the card has a
            say in the last digits.
    """

    card: ModelCard
    arithmetic: str

    def embed(self, chips: Image) -> Floats:
        """Unit vectors of aligned chips, averaged with their mirror images' unless the card's
        `augment` is `none`.

        Args:
            chips: `(N, H, W, 3) uint8` RGB at the card's input size; N may be 0.

        Returns:
            `(N, D) float32`, each row of L2 norm 1.
        """
        ...


def require_chips(chips: Image, card: ModelCard) -> None:
    """See that chips are of the card's input size.

    Raises:
        ValueError: they are not.
    """
    size = (card.input_height, card.input_width, 3)
    if chips.shape[1:] != size:
        raise ValueError(f"chips of shape {chips.shape[1:]}, but {card.name} takes {size}")


def fill_batch(chips: Image, size: int) -> Image:
    """The chips, and as many black ones as make their number a multiple of `size`."""
    return np.concatenate([chips, np.zeros((-len(chips) % size, *chips.shape[1:]), np.uint8)])
