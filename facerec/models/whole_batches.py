"""Vectors that do not depend, in their last bits, on how many faces are embedded together."""

from __future__ import annotations

import numpy as np

from facerec.faces import Floats, Image
from facerec.models import Embedder, fill_batch


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
        filled = fill_batch(chips, self._size)
        vectors = [
            self._embedder.embed(filled[start : start + self._size])
            for start in range(0, len(filled), self._size)
        ]
        empty = np.empty((0, self.card.embedding_size), np.float32)
        return np.concatenate([empty, *vectors])[: len(chips)]
