"""Time stamps that are wrong, or begin anew, and the seconds that are made of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from facerec.video.times import Timeline

STEP = 0.04


def seconds(stamps: Sequence[float | None], container: str = "matroska,webm") -> list[float]:
    timeline = Timeline(stamps[0] or 0.0, container)
    items = [(stamp,) for stamp in stamps]
    return [at for at, _ in timeline.timed(items, lambda item: item[0], STEP)]


def test_gaps_and_a_little_disorder_are_kept() -> None:
    assert seconds([5, 5.04, 9, 9.04, 9.02, 400]) == pytest.approx([0, 0.04, 4, 4.04, 4.04, 395])


@pytest.mark.parametrize("container", ["matroska,webm", "mpegts"])
@pytest.mark.parametrize("wrong", [[9000.0], [-9000.0], [20.0]], ids=str)
def test_a_wrong_stamp_leaves_the_others_where_they_are(wrong, container) -> None:
    stamps = [10 + STEP * n for n in range(10)]
    times = seconds([*stamps[:4], *wrong, *stamps[5:]], container)
    assert times == pytest.approx([STEP * n for n in range(10)])


def test_several_wrong_stamps_in_a_transport_stream_do_too() -> None:
    stamps = [10 + STEP * n for n in range(10)]
    times = seconds([*stamps[:4], 9000.0, 9000.0 + STEP, *stamps[6:]], "mpegts")
    assert times == pytest.approx([STEP * n for n in range(10)])


@pytest.mark.parametrize("begin", [0.0, 3.0, 9000.0])
def test_a_count_that_begins_anew_goes_on(begin: float) -> None:
    first = [5 + STEP * n for n in range(100)]
    second = [begin + STEP * n for n in range(100)]
    times = seconds([*first, *second, *second], "mpegts")
    assert times == pytest.approx([STEP * n for n in range(300)])


def test_outside_of_transport_streams_a_long_gap_is_one() -> None:
    assert seconds([0, STEP, 3600, 3600 + STEP]) == pytest.approx([0, STEP, 3600, 3600 + STEP])
    gap = [0, STEP, 9, 9 + STEP]
    assert seconds(gap, "mpegts") == pytest.approx(gap)


def test_what_has_no_stamp_is_a_step_later() -> None:
    assert seconds([None, None, 5.0, None]) == pytest.approx([0, STEP, 5, 5 + STEP])


def test_without_a_leap_nothing_is_read_ahead() -> None:
    read = []

    def stamps():
        for number in range(3):
            read.append(number)
            yield STEP * number

    timed = Timeline(0.0, "mpegts").timed(stamps(), float, STEP)
    next(timed)
    next(timed)
    assert read == [0, 1]
