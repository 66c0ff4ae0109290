"""Working ahead of whoever consumes a stream: in order, in threads, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    items: Iterable[Item],
    function: Callable[[Item], Result],
    *,
    workers: int,
    ahead: int | None = None,
) -> Iterator[Result]:
    """Apply a function to each item in threads; the results come in the items' order.

    Streams can be chained: while the consumer waits for one result, the threads of every stage
    work on later ones. What `items` or the function raises comes out in its place, after the
    results before it, and ends the stream. Whoever stops early stops the threads after what they
    are at.

    Args:
        items: read by the consumer's thread; may be endless.
        workers: threads.
        ahead: most items that are taken beyond the one whose result is asked for; None: two for
            each thread.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ahead")
    most = 2 * workers if ahead is None else ahead
    waiting: deque[Future[Result]] = deque()
    failure: Exception | None = None
    source = iter(items)
    try:
        while failure is None:
            try:
                item = next(source)
            except StopIteration:
                break
            except Exception as error:  # noqa: BLE001  (raised below, when its turn comes)
                failure = error
            else:
                waiting.append(pool.submit(function, item))
                if len(waiting) > most:
                    yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        if failure is not None:
            raise failure
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
