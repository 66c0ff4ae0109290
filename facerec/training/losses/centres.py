"""Center loss (Wen et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facerec.parallel.ranks import gather_rows, rank, sum_over_ranks, world_size
from facerec.training.losses.classifier import shard_of


class CentreLoss(nn.Module):
    """Half the mean squared distance of features from their class's centre (eq. 2, over the batch).

    The centres have a learning rate of their own, the paper's alpha. They are sharded over
    processes as the classifier is.

    Args:
        classes: identities, over all processes.
        embedding_size: D.
    """

    def __init__(self, classes: int, embedding_size: int) -> None:
        super().__init__()
        self.held = shard_of(classes, rank(), world_size())
        self.weight = nn.Parameter(torch.zeros(len(self.held), embedding_size))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """`() float32` over all processes' batches.

        Args:
            features: `(N, D)`; N is the same for every process.
            labels: `(N,) int64`.
        """
        features, labels = gather_rows(features.float()), gather_rows(labels)
        here = (labels >= self.held.start) & (labels < self.held.stop)
        centres = self.weight[labels[here] - self.held.start]
        squares = (features[here] - centres).square().sum()
        return sum_over_ranks(squares) / (2 * len(labels))
