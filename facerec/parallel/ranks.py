"""torch.distributed: the process group, sharding work over ranks, collectives with gradients.

Everything here works without a process group too: then there is one rank, 0.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function

from facerec.errors import MissingError
from facerec.files.parsing import brief
from facerec.parallel.devices import choose_device

Item = TypeVar("Item")
Result = TypeVar("Result")

# In-training evaluation keeps the other ranks waiting.
_TIMEOUT = timedelta(hours=6)
_nested = ContextVar("nested", default=False)
"""Whether this rank is inside `map_sharded`."""


@contextmanager
def process_group(device: str) -> Iterator[torch.device]:
    """Join the process group that torchrun's environment describes, if there is one.

    Args:
        device: `auto`, `cpu`, `mps`, `cuda` or `cuda:1`; `cuda` becomes the local rank's GPU, and
            `auto` a GPU of CUDA or the processor: ranks do not speak with each other over `mps`
            (`facerec.training.apple` takes it where there is one process).

    Yields:
        This rank's device.

    Raises:
        MissingError: the device is not there.
    """
    if device == "auto" and not torch.cuda.is_available():
        device = "cpu"
    chosen = torch.device(choose_device(device))
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield chosen
        return
    if chosen.type == "cuda" and chosen.index is None:
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=_TIMEOUT)
    try:
        yield chosen
    finally:
        dist.destroy_process_group()


def device_setting(given: str, device: torch.device) -> str:
    """`runtime.device` of what this rank runs: its own device in a process group, else as given.

    `auto` stays `auto` without one, so that each runtime takes the device that it runs on.

    Args:
        given: the profile's.
        device: of `process_group`.
    """
    return str(device) if dist.is_available() and dist.is_initialized() else given


def world_size() -> int:
    """Number of ranks."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's rank."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


@contextmanager
def _with_others() -> Iterator[None]:
    try:
        yield
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise MissingError(
            f"another process of this run has ended or is not reached ({brief(error)}); "
            "start the same command again"
        ) from error


def barrier() -> None:
    """Wait until every rank is here.

    Raises:
        MissingError: another rank has ended.
    """
    if world_size() > 1:
        with _with_others():
            dist.barrier()


def broadcast(value: Result) -> Result:
    """Rank 0's value, on every rank.

    Raises:
        MissingError: rank 0 has ended.
    """
    if world_size() == 1:
        return value
    values = [value]
    with _with_others():
        dist.broadcast_object_list(values, src=0)
    return values[0]


def shard(items: Sequence[Item]) -> Sequence[Item]:
    """This rank's share of the items: every `world_size()`-th."""
    return items[rank() :: world_size()]


def gather_shards(own: list[Result], count: int) -> list[Result]:
    """The results of all `count` items in order, given those of this rank's `shard`.

    A collective: every rank must call it.

    Raises:
        MissingError: another rank has ended.
    """
    world = world_size()
    if world == 1:
        return own
    parts: list[list[Result]] = [[] for _ in range(world)]
    with _with_others():
        dist.all_gather_object(parts, own)
    return [parts[n % world][n // world] for n in range(count)]


def map_sharded(items: Sequence[Item], work: Callable[[Item], Result]) -> list[Result]:
    """`work` of every item, in order; each rank computes its shard and all get all results.

    A collective: every rank must call it with the same items. Nested calls run on their rank alone.
    """
    if _nested.get():
        return [work(item) for item in items]
    token = _nested.set(True)
    try:
        own = [work(item) for item in shard(items)]
    finally:
        _nested.reset(token)
    return gather_shards(own, len(items))


def gather_rows(rows: Tensor) -> Tensor:
    """All-gather with gradient: `(N, …)` on each rank to `(W N, …)`; N must be equal on all ranks.

    Backward, each rank gets the sum of all ranks' gradients for its rows, times W, which cancels
    the mean that DistributedDataParallel takes over W ranks.
    """
    if world_size() == 1:
        return rows
    gathered: Tensor = _GatherRows.apply(rows)
    return gathered


def sum_over_ranks(values: Tensor) -> Tensor:
    """All-reduce sum that passes the gradient through: every rank computes the same loss."""
    if world_size() == 1:
        return values
    summed: Tensor = _Sum.apply(values)
    return summed


def max_over_ranks(values: Tensor) -> Tensor:
    """All-reduce maximum; no gradient."""
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
        # Gloo has no reduce-scatter; all-reduce costs W times its traffic there only.
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
