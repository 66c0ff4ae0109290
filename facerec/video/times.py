"""Time stamps of a film to seconds since its beginning, also where they are wrong or begin anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_TURNED_BACK = 1.0
"""Seconds from which time stamps that go back are a new count and no disorder."""
_LONG_LEAP = 10.0
"""Seconds from which one forward is a new count too, in a container whose count may change
(`dts_delta_threshold` of FFmpeg's program)."""
_DISCONTINUOUS = ("mpegts", "mpeg")
"""Containers whose count may change within a file (FFmpeg's AVFMT_TS_DISCONT)."""

Item = TypeVar("Item")


class Timeline:
    """Seconds since a container's first time stamp, which never decrease.

    A count that begins anew, as where films were joined, is continued. A stamp far off is wrong
    where the next ones go on as before.

    Args:
        start: seconds; the container's first time stamp.
        container: name of FFmpeg's demuxer.
    """

    def __init__(self, start: float, container: str) -> None:
        self._shift = self._earlier_shift = -start
        self._discontinuous = container in _DISCONTINUOUS
        self._seconds: float | None = None

    def timed(
        self, items: Iterable[Item], stamp: Callable[[Item], float | None], step: float
    ) -> Iterator[tuple[float, Item]]:
        """Items, each with its seconds.

        Args:
            stamp: seconds by the container; None where it has none.
            step: seconds to an item whose stamp does not tell.
        """
        waiting = iter(items)
        item = next(waiting, None)
        while item is not None:
            # Only after a leap: in a pipe the next one may be long in coming.
            leaps = self._leaps(stamp(item), step)
            following = next(waiting, None) if leaps else None
            after = stamp(following) if following is not None else None
            yield self._place(stamp(item), after, step), item
            item = following if leaps else next(waiting, None)

    def _leaps(self, stamp: float | None, step: float) -> bool:
        if stamp is None or self._seconds is None:
            return False
        return stamp + self._shift > self._seconds + step + _TURNED_BACK

    def _place(self, stamp: float | None, following: float | None, step: float) -> float:
        if self._seconds is None:
            self._seconds = 0.0 if stamp is None else stamp + self._shift
        else:
            now = self._now(stamp, following, self._seconds, self._seconds + step)
            self._seconds = max(now, self._seconds)
        return self._seconds

    def _now(
        self, stamp: float | None, following: float | None, before: float, expected: float
    ) -> float:
        if stamp is None:
            return expected
        now = stamp + self._shift
        if before - _TURNED_BACK <= now <= expected + _TURNED_BACK:
            return now
        if abs(stamp + self._earlier_shift - expected) <= _TURNED_BACK:
            # What looked like a new count were wrong stamps.
            self._shift, self._earlier_shift = self._earlier_shift, self._shift
            return stamp + self._shift
        if now > before and following is not None:
            after = following + self._shift
            if before - _TURNED_BACK <= after < now - _TURNED_BACK:
                return expected
        if now < before or (self._discontinuous and now > before + _LONG_LEAP):
            self._shift, self._earlier_shift = expected - stamp, self._shift
            return expected
        return now
