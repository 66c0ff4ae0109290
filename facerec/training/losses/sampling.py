"""Train a sample of a matrix's rows in each step, with the optimiser state of those rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class SampledRows:
    """A parameter that holds a sample of a weight's rows (Partial FC).

    Rows outside the sample are neither updated nor decayed; their momentum is kept.

    Args:
        weight: `(R, …)`; `active` gets the gradient in its stead.
        share: of the rows in each step, at least one.
    """

    def __init__(self, weight: nn.Parameter, share: float) -> None:
        weight.requires_grad_(False)
        self._weight = weight
        self._count = max(1, round(share * len(weight)))
        self.rows = torch.arange(min(self._count, len(weight)), device=weight.device)
        self.active = nn.Parameter(weight[self.rows].clone())
        self.states: dict[str, Tensor] = {}

    def sample(self, required: Tensor, optimizer: Optimizer) -> None:
        """Draw a new sample and load the optimiser state of its rows.

        Args:
            required: `(P,) int64` rows to include; the rest is drawn uniformly.
        """
        priority = torch.rand(len(self._weight), device=self._weight.device)
        priority[required] = 2.0
        count = min(max(self._count, len(required)), len(self._weight))
        self.rows = torch.topk(priority, count).indices.sort().values
        self.active.data = self._weight[self.rows].clone()
        self.active.grad = None
        if self.states:
            for name, values in self.states.items():
                optimizer.state[self.active][name] = values[self.rows].clone()

    def write_back(self, optimizer: Optimizer) -> None:
        """Copy the sampled rows and their optimiser state back into the whole."""
        self._weight.data[self.rows] = self.active.data
        for name, values in optimizer.state[self.active].items():
            if isinstance(values, Tensor) and values.shape == self.active.shape:
                whole = self.states.setdefault(name, torch.zeros_like(self._weight))
                whole[self.rows] = values

    def positions(self, rows: Tensor) -> Tensor:
        """Positions in the sample of rows of the weight; -1 stays -1."""
        positions = torch.searchsorted(self.rows, rows.clamp(min=0))
        return torch.where(rows >= 0, positions, -1)
