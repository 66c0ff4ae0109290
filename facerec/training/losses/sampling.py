"""Training some rows of a matrix in each step, together with the optimiser's state for them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class SampledRows:
    """A parameter that stands for a changing choice of a weight's rows (Partial FC).

    Rows that are not chosen are neither moved nor decayed, and their momentum waits.

    Args:
        weight: `(R, …)`; it stops requiring a gradient, `active` gets it.
        share: of the rows in each step, at least one.
    """

    def __init__(self, weight: nn.Parameter, share: float) -> None:
        weight.requires_grad_(False)
        self._weight = weight
        self._count = max(1, round(share * len(weight)))
        self.chosen = torch.arange(min(self._count, len(weight)), device=weight.device)
        self.active = nn.Parameter(weight[self.chosen].clone())
        self.states: dict[str, Tensor] = {}

    def draw(self, required: Tensor, optimizer: Optimizer) -> None:
        """Choose rows anew and fetch the optimiser's state for them.

        Args:
            required: `(P,) int64` rows that must be among them; the rest is uniformly random.
        """
        priority = torch.rand(len(self._weight), device=self._weight.device)
        priority[required] = 2.0
        count = min(max(self._count, len(required)), len(self._weight))
        self.chosen = torch.topk(priority, count).indices.sort().values
        self.active.data = self._weight[self.chosen].clone()
        self.active.grad = None
        if self.states:
            for name, values in self.states.items():
                optimizer.state[self.active][name] = values[self.chosen].clone()

    def put_back(self, optimizer: Optimizer) -> None:
        """Write the chosen rows and the optimiser's state for them where they belong."""
        self._weight.data[self.chosen] = self.active.data
        for name, values in optimizer.state[self.active].items():
            if isinstance(values, Tensor) and values.shape == self.active.shape:
                whole = self.states.setdefault(name, torch.zeros_like(self._weight))
                whole[self.chosen] = values

    def place(self, rows: Tensor) -> Tensor:
        """Where rows of the weight are among the chosen; -1 stays -1."""
        places = torch.searchsorted(self.chosen, rows.clamp(min=0))
        return torch.where(rows >= 0, places, -1)
