"""Sums and gathers over processes that gradients flow through; without processes, nothing."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def gather_rows(rows: Tensor) -> Tensor:
    """`(N, …)` of each process to `(W N, …)` of all; every process must give equally many.

    Backward, each process gets the sum of all processes' gradients for its rows, times W, which
    the mean that DistributedDataParallel takes over W processes undoes.
    """
    if world_size() == 1:
        return rows
    gathered: Tensor = _GatherRows.apply(rows)
    return gathered


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum over processes, where every process goes on to compute the same loss from it."""
    if world_size() == 1:
        return values
    summed: Tensor = _Sum.apply(values)
    return summed


def max_over_processes(values: Tensor) -> Tensor:
    """The maximum over processes; no gradient."""
    values = values.detach().clone()
    if world_size() > 1:
        dist.all_reduce(values, dist.ReduceOp.MAX)
    return values


class _GatherRows(Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        # Gloo has no reduce-scatter; summing everything costs W times its traffic there only.
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return gradient.chunk(world_size())[rank()] * world_size()


class _Sum(Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        values = values.clone()
        dist.all_reduce(values)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]
