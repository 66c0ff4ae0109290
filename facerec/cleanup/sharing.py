"""Blocks of work shared out over the processes that torchrun started."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Block = TypeVar("Block")
Result = TypeVar("Result")


def share(blocks: Sequence[Block], work: Callable[[Block], Result]) -> list[Result]:
    """`work` of every block, in their order.

    In a process group each process does its share, and all of them get all results; so every
    process must call this with the same blocks.
    """
    return gather([work(block) for block in my_share(blocks)], len(blocks))


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
