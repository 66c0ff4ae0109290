"""Fixed batch size, for vectors that do not depend to the bit on the rest of their batch."""

from __future__ import annotations

import numpy as np

from facerec.faces import Floats, Image
from facerec.models import Embedder, fill_batch


class WholeBatches:
    """An embedder whose batches all have one size, padded with copies of the last chip.

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
        return self.embed_with_norms(chips)[0]

    def embed_with_norms(self, chips: Image) -> tuple[Floats, Floats]:
        """See `Embedder.embed_with_norms`."""
        if not len(chips):
            return self._embedder.embed_with_norms(chips)
        filled = fill_batch(chips, self._size)
        starts = range(0, len(filled), self._size)
        passes = [self._embedder.embed_with_norms(filled[at : at + self._size]) for at in starts]
        units, norms = zip(*passes, strict=True)
        return np.concatenate(units)[: len(chips)], np.concatenate(norms)[: len(chips)]
