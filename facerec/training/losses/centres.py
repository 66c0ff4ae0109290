"""Center loss (Wen et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facerec.parallel.ranks import gather_rows, rank, sum_over_ranks, world_size
from facerec.training.losses.classifier import shard_of


class CentreLoss(nn.Module):
    """Half the mean squared distance of features from their class's centre (eq. 2, over the batch).

    The centres have their own learning rate, the paper's alpha, and are sharded over ranks like the
    classifier.

    Args:
        classes: identities, over all ranks.
        embedding_size: D.
    """

    def __init__(self, classes: int, embedding_size: int) -> None:
        super().__init__()
        self.shard = shard_of(classes, rank(), world_size())
        self.weight = nn.Parameter(torch.zeros(len(self.shard), embedding_size))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """The loss, `() float32`, over all ranks' batches.

        Args:
            features: `(N, D)`; N is equal on all ranks.
            labels: `(N,) int64`.
        """
        features, labels = gather_rows(features.float()), gather_rows(labels)
        here = (labels >= self.shard.start) & (labels < self.shard.stop)
        centres = self.weight[labels[here] - self.shard.start]
        squares = (features[here] - centres).square().sum()
        return sum_over_ranks(squares) / (2 * len(labels))
