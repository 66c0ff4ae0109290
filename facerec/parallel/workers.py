"""Threads that each run PyTorch on one core."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol, TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


class Map(Protocol):
    """Applies a function to items and returns the results in their order."""

    def __call__(self, function: Callable[[T], R], items: Sequence[T], /) -> list[R]: ...


def in_turn(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """A `Map` on the thread that calls it."""
    return [function(item) for item in items]


class Workers:
    """A pool in which every PyTorch operation runs on the thread that calls it.

    Two pieces of work side by side keep two cores busier than one piece whose every operation is
    split in two, above all when other programs want the cores. And since an operation never
    sees more than one thread, its result does not depend on what else is being worked on.

    Args:
        count: threads.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._busy: set[int] = set()
        self._inside = threading.local()
        started = threading.Barrier(count + 1)
        self._pool = ThreadPoolExecutor(count, "detect", self._start, (started,))
        outside = torch.get_num_threads()
        try:
            for _ in range(count):
                self._pool.submit(int)
            started.wait()
        except BaseException:
            # Ctrl-C; the interpreter ends only after its threads.
            started.abort()
            raise
        # What a worker sets for itself is also the default of threads yet to come.
        torch.set_num_threads(outside)

    def _start(self, started: threading.Barrier) -> None:
        self._inside.worker = True
        torch.get_num_threads()  # or the first operation would adopt the process's number
        torch.set_num_threads(1)
        with suppress(threading.BrokenBarrierError):
            started.wait()

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Results in the items' order.

        A worker may call this as well: it works on the items itself, and so do the workers that
        are free meanwhile.
        """
        waiting = deque(enumerate(items))
        results: dict[int, R] = {}

        def work() -> None:
            with torch.inference_mode():
                while waiting:
                    try:
                        index, item = waiting.popleft()
                    except IndexError:
                        return
                    results[index] = function(item)

        def help_out() -> None:
            here = threading.get_ident()
            self._busy.add(here)
            try:
                work()
            finally:
                self._busy.discard(here)

        inside = getattr(self._inside, "worker", False)
        count = len(waiting)
        wanted = min(count - 1, self._count - len(self._busy)) if inside else count
        helpers = [self._pool.submit(help_out) for _ in range(min(wanted, self._count))]
        try:
            if inside:
                work()
        finally:
            for helper in helpers:
                # A helper that has not begun yet would find nothing left to do.
                if not (inside and helper.cancel()):
                    helper.result()
        return [results[index] for index in range(count)]
