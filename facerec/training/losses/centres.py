"""Center loss (Wen et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facerec.parallel.ranks import gather_rows, rank, sum_over_ranks, world_size
from facerec.training.losses.classifier import shard_of


class CentreLoss(nn.Module):
    """Half the mean squared distance of features from their class's centre (eq. 2, over the batch).

    The centres have no gradient: `move` applies eq. 4, whatever the weight of the loss. They are
    sharded over ranks like the classifier.

    Args:
        classes: identities, over all ranks.
        embedding_size: D.
    """

    weight: Tensor
    _counts: Tensor
    _sums: Tensor

    def __init__(self, classes: int, embedding_size: int) -> None:
        super().__init__()
        self.shard = shard_of(classes, rank(), world_size())
        self.register_buffer("weight", torch.zeros(len(self.shard), embedding_size))
        self.register_buffer("_counts", torch.zeros(len(self.shard)), persistent=False)
        self.register_buffer("_sums", torch.zeros_like(self.weight), persistent=False)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """The loss, `() float32`, over all ranks' batches.

        In training the features are also kept for `move`.

        Args:
            features: `(N, D)`; N is equal on all ranks.
            labels: `(N,) int64`.
        """
        features, labels = gather_rows(features.float()), gather_rows(labels)
        here = (labels >= self.shard.start) & (labels < self.shard.stop)
        rows, own = labels[here] - self.shard.start, features[here]
        if self.training:
            self._counts.index_add_(0, rows, torch.ones_like(rows, dtype=torch.float32))
            self._sums.index_add_(0, rows, own.detach())
        squares = (own - self.weight[rows]).square().sum()
        return sum_over_ranks(squares) / (2 * len(labels))

    def forget(self) -> None:
        """Drop the features kept since the last step; call before each."""
        self._counts.zero_()
        self._sums.zero_()

    @torch.no_grad()
    def move(self, rate: float) -> None:
        """Move each centre by -α Σ (c_j - x_i) / (1 + n_j) (eq. 4) over the features kept.

        A rank holds the features of all ranks for its centres, so n_j counts the global batch.

        Args:
            rate: α, of the centres alone.
        """
        counts = self._counts[:, None]
        self.weight.sub_(rate * (counts * self.weight - self._sums) / (1 + counts))
