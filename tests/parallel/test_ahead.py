from __future__ import annotations

import itertools
import threading
from collections.abc import Generator, Iterator

import pytest

from facerec.parallel.ahead import map_ahead, read_ahead


def test_results_come_in_the_items_order_whichever_is_done_first() -> None:
    second_done = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_done.wait(10)
        if item == 1:
            second_done.set()
        return item * item

    assert list(map_ahead(range(20), work, workers=2, ahead=4)) == [n * n for n in range(20)]


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_no_more_is_taken_than_may_be_in_work(ahead: int) -> None:
    items = itertools.count()
    stream = map_ahead(items, str, workers=2, ahead=ahead)
    assert [next(stream) for _ in range(5)] == list("01234")
    assert next(items) == 5 + ahead


def test_chained_streams_work_side_by_side() -> None:
    both = threading.Barrier(2)

    def locate(item: int) -> int:
        if item == 1:
            both.wait(10)
        return item

    def embed(item: int) -> int:
        # Ends only while the stage before is at a later item.
        if item == 0:
            both.wait(10)
        return item

    located = map_ahead(range(3), locate, workers=1, ahead=1)
    assert list(map_ahead(located, embed, workers=1, ahead=1)) == [0, 1, 2]


def test_an_error_comes_out_in_its_place_and_ends_the_threads() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        return item

    seen = []
    with pytest.raises(ValueError, match="three"):
        for result in map_ahead(itertools.count(), work, workers=2, ahead=2):
            seen.append(result)
    assert seen == [0, 1, 2]


def test_what_the_source_raises_comes_after_the_results_before_it() -> None:
    def broken() -> Iterator[int]:
        yield from range(3)
        raise ValueError("source")

    seen = []
    with pytest.raises(ValueError, match="source"):
        for result in map_ahead(broken(), int, workers=1, ahead=2):
            seen.append(result)
    assert seen == [0, 1, 2]


def test_whoever_stops_early_stops_the_threads() -> None:
    before = threading.active_count()
    stream = map_ahead(itertools.count(), str, workers=3, ahead=6)
    next(stream)
    workers = [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
    assert workers
    stream.close()
    for thread in workers:
        thread.join(10)
    assert threading.active_count() <= before


def test_items_are_read_while_the_consumer_has_an_earlier_one() -> None:
    third_read = threading.Event()

    def read() -> Generator[int]:
        for number in range(5):
            if number == 2:
                third_read.set()
            yield number

    seen = []
    for number in read_ahead(read(), 2):
        assert third_read.wait(10)
        seen.append(number)
    assert seen == list(range(5))


def test_an_error_of_what_is_read_ahead_comes_in_its_place() -> None:
    def read() -> Generator[int]:
        yield 0
        yield 1
        raise ValueError("two")

    seen = []
    with pytest.raises(ValueError, match="two"):
        seen += read_ahead(read(), 3)
    ahead = read_ahead(read(), 3)
    assert [next(ahead), next(ahead)] == [0, 1]


def test_what_is_read_ahead_is_closed_where_the_consumer_stops() -> None:
    closed = threading.Event()

    def read() -> Generator[int]:
        try:
            yield from itertools.count()
        finally:
            closed.set()

    for number in read_ahead(read(), 3):
        if number == 4:
            break
    assert closed.wait(10)
