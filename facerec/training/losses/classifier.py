"""Partial FC: a softmax classifier sharded over ranks, with sampled negatives.

An et al. 2021, 2022: each rank holds the centres of some classes and computes their logits for the
global batch; ranks exchange sums only. With a share of 1 the result equals an unsharded classifier.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from facerec.parallel.ranks import (
    gather_rows,
    max_over_ranks,
    rank,
    sum_over_ranks,
    world_size,
)
from facerec.training.losses.margins import Margin
from facerec.training.losses.sampling import SampledRows

_INITIAL_STD = 0.01
_SEED_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Objective:
    """Cross-entropy and its variants.

    Attributes:
        smoothing: label smoothing (Szegedy et al. 2016).
        gamma: exponent of the focal loss, -(1 - p)^gamma log p (Lin et al. 2017, eq. 4); 0 is
            cross-entropy.
    """

    smoothing: float = 0.0
    gamma: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """A batch's loss.

    Attributes:
        loss: `() float32`, mean over all ranks' batches; call backward on it.
        accuracy: `() float32`, share of faces nearest to their own class, without the margin.
    """

    loss: Tensor
    accuracy: Tensor


def shard_of(classes: int, rank: int, world: int) -> range:
    """The classes on a rank: contiguous ranges of equal length, the last shorter or empty."""
    size = -(-classes // world)
    return range(min(rank * size, classes), min((rank + 1) * size, classes))


class Classifier(nn.Module):
    """Class centres, a margin and softmax.

    Args:
        classes: identities, over all ranks.
        embedding_size: D.
        margin: applied to cosines; None: plain softmax on inner products, with a bias.
        scale: factor on the cosines, s.
        sub_centres: centres per class, of which the nearest counts (Deng et al. 2020).
        share: of this rank's classes in each step; the batch's positives are always included.
            Below 1 needs a margin: a bias cannot be sampled.
        objective: cross-entropy variant.
        seed: of the initial centres, which do not depend on the number of ranks.
    """

    weight: nn.Parameter

    def __init__(
        self, classes: int, embedding_size: int, margin: Margin | None, *, scale: float = 64.0,
        sub_centres: int = 1, share: float = 1.0, objective: Objective = Objective(), seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.classes = classes
        self.shard = shard_of(classes, rank(), world_size())
        self.margin = margin
        self.scale = scale
        self.objective = objective
        centres = _initial_centres(self.shard, (sub_centres, embedding_size), seed)
        self.weight = nn.Parameter(centres)
        self.bias = nn.Parameter(torch.zeros(len(self.shard))) if margin is None else None
        self.sampled = SampledRows(self.weight, share) if share < 1 else None

    def trainable(self) -> list[nn.Parameter]:
        """Parameters for the optimiser: sampled centres or all, and the bias."""
        centres = self.weight if self.sampled is None else self.sampled.active
        return [centres, *([] if self.bias is None else [self.bias])]

    def sample(self, labels: Tensor, optimizer: Optimizer) -> None:
        """Sample the step's classes; call before each training step.

        Args:
            labels: `(N,) int64` of this rank's batch.
        """
        if self.sampled is not None:
            gathered = gather_rows(labels)
            mine = (gathered >= self.shard.start) & (gathered < self.shard.stop)
            self.sampled.sample(torch.unique(gathered[mine]) - self.shard.start, optimizer)

    def write_back(self, optimizer: Optimizer) -> None:
        """Write sampled centres back and advance the margin; call after each optimiser step."""
        if self.margin is not None:
            self.margin.advance()
        if self.sampled is not None:
            self.sampled.write_back(optimizer)

    def forward(self, features: Tensor, labels: Tensor) -> Outcome:
        """Loss and accuracy of the global batch.

        Args:
            features: `(N, D)`, not normalised; N is equal on all ranks.
            labels: `(N,) int64`.
        """
        own_norms = _as_float32(features).norm(dim=1)
        features, labels = gather_rows(features), gather_rows(labels)
        rows = self._rows(labels)
        here = rows >= 0
        raw = self._similarities(features)
        target = sum_over_ranks(_pick(raw, rows))
        norms = _as_float32(features).norm(dim=1)
        if self.margin is None:
            logits, positives, scale = raw, target, 1.0
        else:
            positives = self.margin.target(target, norms)
            logits, scale = self.margin.negatives(raw, target, positives), self.scale
        # Only the rank that holds the true class backpropagates its logit.
        positives = torch.where(here, positives, 0.0)
        logits = scale * _put(logits, rows, torch.where(here, positives, _first(logits, rows)))
        loss = _cross_entropy(logits, scale * positives, self._count(logits), self.objective)
        if self.margin is not None:
            # The mean over this rank's rows: DistributedDataParallel averages over ranks.
            loss = loss + self.margin.penalty(own_norms)
        with torch.no_grad():
            best = max_over_ranks(_row_max(raw))
            accuracy = (target >= best).float().mean()
        return Outcome(loss, accuracy)

    def _rows(self, labels: Tensor) -> Tensor:
        """Each label's row among this rank's (sampled) centres, -1 if another rank holds it."""
        rows = labels - self.shard.start
        rows = torch.where((rows >= 0) & (rows < len(self.shard)), rows, -1)
        return rows if self.sampled is None or not self.training else self.sampled.positions(rows)

    def _similarities(self, features: Tensor) -> Tensor:
        centres = self.weight if self.sampled is None or not self.training else self.sampled.active
        count, sub_centres, _ = centres.shape
        if self.bias is not None:
            bias = self.bias.repeat_interleave(sub_centres)
            similarities = _as_float32(F.linear(features, centres.flatten(0, 1), bias))
        else:
            products = F.linear(F.normalize(features), F.normalize(centres, dim=2).flatten(0, 1))
            # Rounding may take a cosine beyond 1.
            similarities = _as_float32(products).clamp(-1, 1)
        return similarities.view(len(features), count, sub_centres).amax(dim=2)

    def _count(self, logits: Tensor) -> Tensor:
        """Classes in the softmax, over all ranks."""
        return sum_over_ranks(logits.new_tensor(float(logits.shape[1])))


def _as_float32(values: Tensor) -> Tensor:
    """Undo autocast: float32, or float64 as it is."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _initial_centres(shard: range, shape: tuple[int, ...], seed: int) -> Tensor:
    parts = []
    for start in range(shard.start - shard.start % _SEED_BLOCK, shard.stop, _SEED_BLOCK):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + start)
        block = torch.randn((_SEED_BLOCK, *shape), generator=generator) * _INITIAL_STD
        parts.append(block[max(shard.start - start, 0) : shard.stop - start])
    return torch.cat(parts) if parts else torch.empty((0, *shape))


def _pick(values: Tensor, rows: Tensor) -> Tensor:
    """`values[i, rows[i]]`, 0 where the row is -1."""
    return torch.where(rows >= 0, _first(values, rows), 0.0)


def _put(values: Tensor, rows: Tensor, targets: Tensor) -> Tensor:
    """The values with `values[i, rows[i]]` replaced (column 0 for -1)."""
    if values.shape[1] == 0:
        return values
    return values.scatter(1, rows.clamp(min=0)[:, None], targets[:, None])


def _first(values: Tensor, rows: Tensor) -> Tensor:
    if values.shape[1] == 0:
        return values.sum(dim=1)
    return values.gather(1, rows.clamp(min=0)[:, None])[:, 0]


def _row_max(values: Tensor) -> Tensor:
    if values.shape[1] == 0:
        return values.new_full((len(values),), -torch.inf)
    return values.amax(dim=1)


def _cross_entropy(logits: Tensor, target: Tensor, classes: Tensor, objective: Objective) -> Tensor:
    """Mean loss of logits `(N, C)` sharded over ranks; targets `(N,)` are 0 on other ranks."""
    highest = max_over_ranks(_row_max(logits))
    total = sum_over_ranks(torch.exp(logits - highest[:, None]).sum(dim=1))
    normaliser = torch.log(total) + highest
    losses = normaliser - sum_over_ranks(target)
    if objective.smoothing:
        everywhere = normaliser - sum_over_ranks(logits.sum(dim=1)) / classes
        losses = torch.lerp(losses, everywhere, objective.smoothing)
    if objective.gamma:
        losses = (1 - torch.exp(-losses)).clamp(min=1e-7) ** objective.gamma * losses
    return losses.mean()
