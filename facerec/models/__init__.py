"""Embedding networks: aligned chips in, unit vectors out."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from facerec.card import ModelCard
from facerec.faces import Floats, Image


class Embedder(Protocol):
    """An embedding model in any runtime.

    Attributes:
        arithmetic: runtime and precision, such as `torch bf16`, on which a vector's last digits
            depend beside the card.
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

    def embed_with_norms(self, chips: Image) -> tuple[Floats, Floats]:
        """`embed`, and the norms `(N,) float32` before normalisation, the mean of those of a chip
        and its mirror image where both are averaged. Asked of models whose card has `norms`."""
        ...


def require_chips(chips: Image, card: ModelCard) -> None:
    """Check the chips' size.

    Raises:
        ValueError: it is not the card's input size.
    """
    size = (card.input_height, card.input_width, 3)
    if chips.shape[1:] != size:
        raise ValueError(f"chips of shape {chips.shape[1:]}, but {card.name} takes {size}")


def fill_batch(chips: Image, size: int) -> Image:
    """The chips, padded with copies of the last to a multiple of `size`."""
    return np.concatenate([chips, chips[-1:].repeat(-len(chips) % size, 0)])


def unit_vectors(vectors: Floats) -> Floats:
    """The vectors `(N, D)`, each of L2 norm 1."""
    return unit_and_norms(vectors)[0]


def mirror_average(raw: Floats, mirrored: Floats) -> tuple[Floats, Floats]:
    """The mean `(N, D)` of unit vectors and of those of the mirror images, of L2 norm 1, and the
    mean of their norms `(N,)`.

    Args:
        raw, mirrored: `(N, D) float32`, not normalised.
    """
    (units, norms), (others, lengths) = unit_and_norms(raw), unit_and_norms(mirrored)
    return unit_vectors(units + others), (norms + lengths) / np.float32(2)


def unit_and_norms(vectors: Floats) -> tuple[Floats, Floats]:
    """The vectors `(N, D)`, each of L2 norm 1, and the norms `(N,)` that they had."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = vectors / np.maximum(norms, np.finfo(np.float32).tiny)
    return unit, norms[:, 0]
