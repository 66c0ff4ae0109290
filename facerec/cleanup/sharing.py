"""Blocks of work shared out over the processes that torchrun started.

How a library divides a matrix product among threads decides how its sums are rounded, and a
process of several has fewer threads. So products are divided here, into parts of one size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from facerec.faces import Floats

_ROWS = 64
"""Of a product, that one thread computes at a time."""
_inside = False
"""Whether a block is in work: what it shares out in turn is its process's alone."""

Block = TypeVar("Block")
Result = TypeVar("Result")


def share(blocks: Sequence[Block], work: Callable[[Block], Result]) -> list[Result]:
    """`work` of every block, in their order.

    In a process group each process does its share, and all of them get all results; so every
    process must call this with the same blocks. What `work` itself shares out, its process does
    by itself.
    """
    global _inside
    if _inside:
        return [work(block) for block in blocks]
    _inside = True
    try:
        own = [work(block) for block in my_share(blocks)]
    finally:
        _inside = False
    return gather(own, len(blocks))


@contextmanager
def same_on_any_threads() -> Iterator[None]:
    """While products of NumPy are the same to the bit however many threads there are."""
    with threadpool_limits(1, "blas"):
        yield


def products(one: Floats, other: Floats) -> Floats:
    """Inner products `(N, M)` of rows, by all threads."""
    out = np.empty((len(one), len(other)), np.float32)

    def multiply(start: int) -> None:
        rows = slice(start, start + _ROWS)
        np.matmul(one[rows], other.T, out=out[rows])

    if len(one) <= _ROWS:
        multiply(0)
    else:
        list(_threads().map(multiply, range(0, len(one), _ROWS)))
    return out


@cache
def _threads() -> ThreadPoolExecutor:
    import torch

    return ThreadPoolExecutor(torch.get_num_threads(), "product")


def my_share(items: Sequence[Block]) -> Sequence[Block]:
    """The items that are this process's to work on."""
    world, rank = processes()
    return items[rank::world]


def gather(own: list[Result], count: int) -> list[Result]:
    """The results for `count` items, from what each process made of `my_share` of them."""
    world, _ = processes()
    if world == 1:
        return own
    import torch.distributed as dist

    parts: list[list[Result]] = [[] for _ in range(world)]
    dist.all_gather_object(parts, own)
    return [parts[n % world][n // world] for n in range(count)]


def processes() -> tuple[int, int]:
    """How many processes there are, and which this is; 1 and 0 outside a process group."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return 1, 0
    return dist.get_world_size(), dist.get_rank()
