"""Threads that each run PyTorch operations single-threaded."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol, TypeVar

import torch

from facerec.parallel.cores import thread_limit
from facerec.parallel.forking import renew_in_children

T = TypeVar("T")
R = TypeVar("R")


class Map(Protocol):
    """Applies a function to items; results in the items' order."""

    def __call__(self, function: Callable[[T], R], items: Sequence[T], /) -> list[R]: ...


def use_threads(count: int) -> None:
    """Have PyTorch use that many threads; 0: its own number, or as many as a quota lets run."""
    limit = thread_limit()
    if count or 0 < limit < torch.get_num_threads():
        torch.set_num_threads(count or limit)


def map_serially(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """A `Map` on the calling thread."""
    return [function(item) for item in items]


class TorchThreads:
    """A thread pool in which every PyTorch operation runs on one thread.

    Two pieces of work side by side keep two cores busier than one whose every operation is split
    in two, above all when other programs use the cores. And as an operation never sees more than
    one thread, its result does not depend on the pool's load.

    Args:
        count: threads.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._local = threading.local()
        self.renew()
        self._threads()
        renew_in_children(self)

    def renew(self) -> None:
        """See `facerec.parallel.forking`."""
        self._busy: set[int] = set()
        self._starting = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def _threads(self) -> ThreadPoolExecutor:
        with self._starting:
            if self._pool is None:
                self._pool = self._started()
            return self._pool

    def _started(self) -> ThreadPoolExecutor:
        started = threading.Barrier(self._count + 1)
        # A method would keep the pool alive in its own threads.
        pool = ThreadPoolExecutor(self._count, "torch", _start, (self._local, started))
        outside = torch.get_num_threads()
        try:
            for _ in range(self._count):
                pool.submit(int)
            started.wait()
        except BaseException:
            # Ctrl-C; the interpreter ends only after its threads.
            started.abort()
            raise
        # A thread's own setting also becomes the default of threads started later.
        torch.set_num_threads(outside)
        return pool

    def free(self) -> int:
        """Threads that `map`, called now, would share its items among."""
        nested = getattr(self._local, "in_pool", False)
        return max(1, self._count - len(self._busy) + nested)

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Results in the items' order.

        A thread of the pool may call this: it works on the items itself, beside the idle threads.
        """
        queue = deque(enumerate(items))
        results: dict[int, R] = {}

        def work() -> None:
            with torch.inference_mode():
                while queue:
                    try:
                        index, item = queue.popleft()
                    except IndexError:
                        return
                    results[index] = function(item)

        def work_in_pool() -> None:
            thread = threading.get_ident()
            self._busy.add(thread)
            try:
                work()
            finally:
                self._busy.discard(thread)

        nested = getattr(self._local, "in_pool", False)
        count = len(queue)
        wanted = min(count - 1, self._count - len(self._busy)) if nested else count
        threads = self._threads()
        futures = [threads.submit(work_in_pool) for _ in range(min(wanted, self._count))]
        try:
            if nested:
                work()
        finally:
            for future in futures:
                # One that has not started would find the queue empty.
                if not (nested and future.cancel()):
                    future.result()
        return [results[index] for index in range(count)]


def _start(local: threading.local, started: threading.Barrier) -> None:
    """Begin a thread of a pool."""
    local.in_pool = True
    torch.get_num_threads()  # or the first operation would adopt the process's number
    torch.set_num_threads(1)
    with suppress(threading.BrokenBarrierError):
        started.wait()
