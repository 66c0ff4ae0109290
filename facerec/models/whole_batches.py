"""Vectors that do not depend, in their last bits, on how many faces are embedded together."""

from __future__ import annotations

import numpy as np

from facerec.faces import Floats, Image
from facerec.models import Embedder


class WholeBatches:
    """An embedder that is only given whole batches, filled up with black chips.

    How a network's sums are arranged depends on the size of its batch, and on nothing else in it.

    Args:
        embedder: does the work.
        batch: chips in a batch.
    """

    def __init__(self, embedder: Embedder, batch: int) -> None:
        self.card = embedder.card
        self._embedder = embedder
        self._batch = batch

    def embed(self, chips: Image) -> Floats:
        """See `Embedder.embed`."""
        filling = np.zeros((-len(chips) % self._batch, *chips.shape[1:]), np.uint8)
        return self._embedder.embed(np.concatenate([chips, filling]))[: len(chips)]
