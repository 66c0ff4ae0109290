"""Streams in parts, and prefetching: an ordered, bounded map of one in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Consecutive items, `size` at a time."""
    waiting = iter(items)
    while chunk := list(islice(waiting, size)):
        yield chunk


def map_ahead(
    items: Iterable[Item],
    function: Callable[[Item], Result],
    *,
    workers: int,
    ahead: int | None = None,
) -> Iterator[Result]:
    """Apply a function to each item in threads; results in the items' order.

    Stages can be chained: while the consumer waits for one result, the threads of every stage work
    on later ones. An error of `items` or of the function is raised in its place, after the results
    before it, and ends the stream. If the consumer stops early, the threads finish their item.

    Args:
        items: read in the consumer's thread; may be infinite.
        workers: threads.
        ahead: items taken beyond the one consumed, at most; None: two per thread.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ahead")
    limit = 2 * workers if ahead is None else ahead
    pending: deque[Future[Result]] = deque()
    failure: Exception | None = None
    source = iter(items)
    try:
        while failure is None:
            try:
                item = next(source)
            except StopIteration:
                break
            except Exception as error:  # noqa: BLE001  (raised below, in its place)
                failure = error
            else:
                pending.append(pool.submit(function, item))
                if len(pending) > limit:
                    yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
        if failure is not None:
            raise failure
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def read_ahead(items: Generator[Item], count: int) -> Iterator[Item]:
    """The items, of which a thread reads up to `count` while the consumer has an earlier one.

    An error of the items is raised in its place. If the consumer stops early, the thread finishes
    its item, and the generator is closed.
    """
    end = object()
    pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
    try:
        pending = deque(pool.submit(next, items, end) for _ in range(count))
        while (item := pending.popleft().result()) is not end:
            pending.append(pool.submit(next, items, end))
            yield item  # type: ignore[misc]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        items.close()
