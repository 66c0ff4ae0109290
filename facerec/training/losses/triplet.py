"""Triplet loss on the hardest triplets of a batch (Schroff et al. 2015; Hermans et al. 2017)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from facerec.parallel.ranks import gather_rows, rank, sum_over_ranks
from facerec.profile.schema import TrainSection
from facerec.registry import LOSSES
from facerec.training.losses.classifier import Outcome


class TripletLoss(nn.Module):
    """Batch-hard triplet loss (Hermans et al. 2017, eq. 5) of unit vectors' Euclidean distances.

    max(0, m + farthest positive - nearest negative), the mean over anchors that have a positive in
    the global batch. It has no classifier, so it knows no centres and takes any number of people.

    Args:
        classes: identities, over all ranks.
        margin: m; the unit sphere and 0.2 are Schroff et al. 2015's.
    """

    weight: Tensor
    sampled = None

    def __init__(self, classes: int, margin: float = 0.2) -> None:
        super().__init__()
        self.classes = classes
        self.margin = margin
        self.register_buffer("weight", torch.zeros(0), persistent=False)

    def trainable(self) -> list[nn.Parameter]:
        """None: the backbone alone is trained."""
        return []

    def sample(self, labels: Tensor, optimizer: Optimizer) -> None:
        """Nothing to sample."""

    def write_back(self, optimizer: Optimizer) -> None:
        """Nothing was sampled."""

    def forward(self, features: Tensor, labels: Tensor) -> Outcome:
        """Loss of the global batch, and the share of anchors whose farthest positive is nearer than
        their nearest negative.

        Args:
            features: `(N, D)`, not normalised; N is equal on all ranks.
            labels: `(N,) int64`.
        """
        own = slice(rank() * len(labels), (rank() + 1) * len(labels))
        vectors, people = F.normalize(gather_rows(features.float())), gather_rows(labels)
        # Of this rank's anchors with everybody.
        distances = torch.sqrt((2 - 2 * vectors[own] @ vectors.T).clamp(min=1e-12))
        same = people[own, None] == people[None]
        itself = torch.zeros_like(same)
        itself[:, own].fill_diagonal_(True)
        positive, negative = same & ~itself, ~same
        farthest = distances.masked_fill(~positive, -torch.inf).amax(dim=1)
        nearest = distances.masked_fill(~negative, torch.inf).amin(dim=1)
        usable = positive.any(dim=1) & negative.any(dim=1)
        gaps = (farthest - nearest)[usable]
        count = sum_over_ranks(usable.sum().float()).clamp(min=1)
        loss = sum_over_ranks(F.relu(self.margin + gaps).sum()) / count
        accuracy = sum_over_ranks((gaps.detach() < 0).sum().float()) / count
        return Outcome(loss, accuracy)


@LOSSES.register(
    "triplet", help="Triplet loss, batch-hard, 0.2 (Hermans 2017).", keys=("margin",), builds="head"
)
def triplet(section: TrainSection, classes: int) -> TripletLoss:
    return TripletLoss(classes, 0.2 if section.margin is None else section.margin)
