"""Fixed batch size, for vectors that do not depend to the bit on the rest of their batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from facerec.faces import Floats, Image
from facerec.models import Embedder, fill_batch


class WholeBatches:
    """An embedder whose batches all have one size, padded with black chips.

    The order of a network's sums depends on the batch size alone.

    Args:
        embedder: the embedder wrapped.
        size: chips per batch.
    """

    def __init__(self, embedder: Embedder, size: int) -> None:
        self.card = embedder.card
        self.arithmetic = embedder.arithmetic
        self._embedder = embedder
        self._size = size

    def embed(self, chips: Image) -> Floats:
        """See `Embedder.embed`."""
        return self._embed(self._embedder.embed, chips)

    def embed_raw(self, chips: Image) -> Floats:
        """See `Embedder.embed_raw`."""
        return self._embed(self._embedder.embed_raw, chips)

    def _embed(self, embed: Callable[[Image], Floats], chips: Image) -> Floats:
        filled = fill_batch(chips, self._size)
        vectors = [
            embed(filled[start : start + self._size]) for start in range(0, len(filled), self._size)
        ]
        empty = np.empty((0, self.card.embedding_size), np.float32)
        return np.concatenate([empty, *vectors])[: len(chips)]
