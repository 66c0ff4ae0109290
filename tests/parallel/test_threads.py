"""Threads that each run PyTorch operations single-threaded."""

from __future__ import annotations

import gc
import threading
import weakref
from threading import Barrier

from facerec.parallel.threads import TorchThreads


def test_a_thread_of_the_pool_counts_itself_and_the_idle_ones_as_free() -> None:
    threads = TorchThreads(3)
    both = Barrier(2, timeout=60)

    def count(_: int) -> int:
        both.wait()
        free = threads.free()
        both.wait()
        return free

    assert threads.free() == 3
    assert threads.map(count, [0, 1]) == [2, 2]
    assert threads.map(lambda _: threads.free(), [0]) == [3]


def test_threads_end_with_the_last_that_uses_them() -> None:
    before = set(threading.enumerate())
    threads = TorchThreads(2)
    workers = set(threading.enumerate()) - before
    gone = weakref.ref(threads)
    del threads
    gc.collect()
    for worker in workers:
        worker.join(60)
    assert gone() is None
    assert [worker.is_alive() for worker in workers] == [False, False]
