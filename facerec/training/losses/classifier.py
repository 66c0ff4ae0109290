"""The classifier over all identities: sharded over processes, with a sampled share of negatives.

Partial FC (An et al. 2021, 2022): each process holds the centres of some classes and computes the
logits of the whole batch with them; only sums over processes are exchanged. With a share of 1 the
result is that of an ordinary classifier on one process.
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

_INITIAL_DEVIATION = 0.01
_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Objective:
    """What is minimised once the logits are there.

    Attributes:
        smoothing: share of the target that goes to all classes alike (Szegedy et al. 2016).
        gamma: exponent of the focal loss, -(1 - p)^gamma log p (Lin et al. 2017, eq. 4); 0 is
            cross-entropy.
    """

    smoothing: float = 0.0
    gamma: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """A batch's loss.

    Attributes:
        loss: `() float32` to go backward from, the mean over the batches of all processes.
        accuracy: `() float32`, share of faces nearest to their own class, margin left out.
    """

    loss: Tensor
    accuracy: Tensor


def shard_of(classes: int, rank: int, world: int) -> range:
    """The classes that a process holds: equal runs, the last ones shorter or empty."""
    size = -(-classes // world)
    return range(min(rank * size, classes), min((rank + 1) * size, classes))


class Classifier(nn.Module):
    """Class centres, a margin and softmax.

    Args:
        classes: identities, over all processes.
        embedding_size: D.
        margin: applied to cosines; None: plain softmax on inner products, with a bias.
        scale: factor on the cosines, s.
        sub_centres: centres per class, of which the nearest counts (Deng et al. 2020).
        share: of this process's classes in each step; the batch's own are always among them.
            Less than 1 needs a margin: a bias cannot be sampled.
        objective: what is minimised.
        seed: of the initial centres, which do not depend on how many processes there are.
    """

    weight: nn.Parameter

    def __init__(
        self, classes: int, embedding_size: int, margin: Margin | None, *, scale: float = 64.0,
        sub_centres: int = 1, share: float = 1.0, objective: Objective = Objective(), seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.classes = classes
        self.held = shard_of(classes, rank(), world_size())
        self.margin = margin
        self.scale = scale
        self.objective = objective
        centres = _initial_centres(self.held, (sub_centres, embedding_size), seed)
        self.weight = nn.Parameter(centres)
        self.bias = nn.Parameter(torch.zeros(len(self.held))) if margin is None else None
        self.sampled = SampledRows(self.weight, share) if share < 1 else None

    def trainable(self) -> list[nn.Parameter]:
        """What an optimiser of this classifier steps."""
        centres = self.weight if self.sampled is None else self.sampled.active
        return [centres, *([] if self.bias is None else [self.bias])]

    def draw(self, labels: Tensor, optimizer: Optimizer) -> None:
        """Before a training step: choose the classes that take part.

        Args:
            labels: `(N,) int64` of this process.
        """
        if self.sampled is not None:
            gathered = gather_rows(labels)
            mine = (gathered >= self.held.start) & (gathered < self.held.stop)
            self.sampled.draw(torch.unique(gathered[mine]) - self.held.start, optimizer)

    def put_back(self, optimizer: Optimizer) -> None:
        """After a training step: keep what it changed."""
        if self.sampled is not None:
            self.sampled.put_back(optimizer)

    def forward(self, features: Tensor, labels: Tensor) -> Outcome:
        """The loss of a batch over all processes.

        Args:
            features: `(N, D)`, not normalised; N is the same for every process.
            labels: `(N,) int64`.
        """
        own_norms = _precise(features).norm(dim=1)
        features, labels = gather_rows(features), gather_rows(labels)
        rows = self._rows(labels)
        here = rows >= 0
        raw = self._similarities(features)
        target = sum_over_ranks(_pick(raw, rows))
        norms = _precise(features).norm(dim=1)
        if self.margin is None:
            logits, hardened, scale = raw, target, 1.0
        else:
            hardened = self.margin.target(target, norms)
            logits, scale = self.margin.others(raw, target, hardened), self.scale
        # Only the process that holds a class sends its target's gradient back.
        hardened = torch.where(here, hardened, 0.0)
        logits = scale * _put(logits, rows, torch.where(here, hardened, _first(logits, rows)))
        loss = _objective(logits, scale * hardened, self._count(logits), self.objective)
        if self.margin is not None:
            # Its mean over this process's rows: DistributedDataParallel averages over processes.
            loss = loss + self.margin.penalty(own_norms)
        with torch.no_grad():
            best = max_over_ranks(_highest(raw))
            accuracy = (target >= best).float().mean()
        return Outcome(loss, accuracy)

    def _rows(self, labels: Tensor) -> Tensor:
        """Each label's row among the centres in use here, -1 where another process has it."""
        rows = labels - self.held.start
        rows = torch.where((rows >= 0) & (rows < len(self.held)), rows, -1)
        return rows if self.sampled is None or not self.training else self.sampled.place(rows)

    def _similarities(self, features: Tensor) -> Tensor:
        centres = self.weight if self.sampled is None or not self.training else self.sampled.active
        count, sub_centres, size = centres.shape
        if self.margin is None:
            return _precise(F.linear(features, centres.view(count, size), self.bias))
        products = F.linear(F.normalize(features), F.normalize(centres, dim=2).flatten(0, 1))
        # One product of two units, rounded, may lie beyond 1.
        return _precise(products).clamp(-1, 1).view(-1, count, sub_centres).amax(dim=2)

    def _count(self, logits: Tensor) -> Tensor:
        """How many classes take part, over all processes."""
        return sum_over_ranks(logits.new_tensor(float(logits.shape[1])))


def _precise(values: Tensor) -> Tensor:
    """In float32 at least, whatever autocast made of them."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _initial_centres(held: range, shape: tuple[int, ...], seed: int) -> Tensor:
    parts = []
    for start in range(held.start - held.start % _BLOCK, held.stop, _BLOCK):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + start)
        block = torch.randn((_BLOCK, *shape), generator=generator) * _INITIAL_DEVIATION
        parts.append(block[max(held.start - start, 0) : held.stop - start])
    return torch.cat(parts) if parts else torch.empty((0, *shape))


def _pick(values: Tensor, rows: Tensor) -> Tensor:
    """`values[i, rows[i]]`, 0 where the row is -1."""
    return torch.where(rows >= 0, _first(values, rows), 0.0)


def _put(values: Tensor, rows: Tensor, targets: Tensor) -> Tensor:
    """The values with `values[i, rows[i]]` (column 0 for -1) replaced."""
    if values.shape[1] == 0:
        return values
    return values.scatter(1, rows.clamp(min=0)[:, None], targets[:, None])


def _first(values: Tensor, rows: Tensor) -> Tensor:
    if values.shape[1] == 0:
        return values.sum(dim=1)
    return values.gather(1, rows.clamp(min=0)[:, None])[:, 0]


def _highest(values: Tensor) -> Tensor:
    if values.shape[1] == 0:
        return values.new_full((len(values),), -torch.inf)
    return values.amax(dim=1)


def _objective(logits: Tensor, target: Tensor, classes: Tensor, objective: Objective) -> Tensor:
    """Mean loss of logits `(N, C)` spread over processes, whose targets `(N,)` are 0 elsewhere."""
    highest = max_over_ranks(_highest(logits))
    total = sum_over_ranks(torch.exp(logits - highest[:, None]).sum(dim=1))
    normaliser = torch.log(total) + highest
    losses = normaliser - sum_over_ranks(target)
    if objective.smoothing:
        everywhere = normaliser - sum_over_ranks(logits.sum(dim=1)) / classes
        losses = torch.lerp(losses, everywhere, objective.smoothing)
    if objective.gamma:
        losses = (1 - torch.exp(-losses)).clamp(min=1e-7) ** objective.gamma * losses
    return losses.mean()
