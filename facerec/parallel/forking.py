"""Forked children: gunicorn's `--preload`, Celery, `multiprocessing` on Linux.

A child has none of its parent's threads, and whatever waits for one of them waits for ever. So
those that are kept are started anew there.
"""

from __future__ import annotations

import os
import sys
from typing import Protocol
from weakref import WeakSet


class Renewable(Protocol):
    """What keeps threads."""

    def renew(self) -> None:
        """Forget the threads; start others when they are needed."""
        ...


_RENEWABLE: WeakSet[Renewable] = WeakSet()
_TORCH_USERS: WeakSet[object] = WeakSet()


def renew_in_children(one: Renewable) -> None:
    """Have `renew` called in each child that this process forks while the object lives."""
    _RENEWABLE.add(one)
    single_torch_thread_in_children(one)


def single_torch_thread_in_children(user: object) -> None:
    """Have PyTorch use one thread in each child that this process forks while the object lives: its
    OpenMP threads are not there either."""
    _TORCH_USERS.add(user)


def _after_fork() -> None:
    for one in list(_RENEWABLE):
        one.renew()
    if _TORCH_USERS and "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
