"""Vectors that do not depend, in their last bits, on how many faces are embedded together."""

from __future__ import annotations

import numpy as np

from facerec.faces import Floats, Image
from facerec.models import Embedder


class WholeBatches:
    """An embedder that is only given batches of one size, filled up with black chips.

    How a network's sums are arranged depends on the size of its batch, and on nothing else in it.

    Args:
        embedder: does the work.
        size: chips in a batch.
    """

    def __init__(self, embedder: Embedder, size: int) -> None:
        self.card = embedder.card
        self.arithmetic = embedder.arithmetic
        self._embedder = embedder
        self._size = size

    def embed(self, chips: Image) -> Floats:
        """See `Embedder.embed`."""
        vectors = [np.empty((0, self.card.embedding_size), np.float32)]
        for start in range(0, len(chips), self._size):
            part = chips[start : start + self._size]
            filling = np.zeros((self._size - len(part), *part.shape[1:]), np.uint8)
            vectors.append(self._embedder.embed(np.concatenate([part, filling]))[: len(part)])
        return np.concatenate(vectors)
