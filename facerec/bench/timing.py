"""Time a call repeatedly, and report progress while a benchmark runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SECONDS = 2.0

Advance = Callable[[int], object]
"""Called with the percentage of a benchmark done since the last call; they sum to 100."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One line of a benchmark.

    Attributes:
        part: what was timed.
        milliseconds: per unit.
        unit: such as `face`, `image`, `query`.
        share: of the whole's time or of the machine's peak, 0 to 1; None: unknown.
        of: what it is a share of.
    """

    part: str
    milliseconds: float
    unit: str
    share: float | None = None
    of: str = ""

    @property
    def per_second(self) -> float:
        """Units per second."""
        return 1000 / self.milliseconds

    def to_record(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "part": self.part,
            "milliseconds": round(self.milliseconds, 4),
            "per_second": round(self.per_second, 2),
            "unit": self.unit,
            "share": None if self.share is None else round(self.share, 4),
            "of": self.of,
        }


def ignore(percent: int) -> None:
    """An `Advance` that does nothing."""


class Timer:
    """Times the steps of one benchmark and reports their progress.

    Args:
        steps: calls of `seconds_of` and `step` to come.
        advance: called as they go on.
    """

    def __init__(self, steps: int, advance: Advance) -> None:
        self._steps, self._advance = steps, advance
        self._finished = 0
        self._percent = 0

    def step(self) -> None:
        """Count a step that is not timed, such as preparing data."""
        self._finished += 1
        self._report(0)

    def seconds_of(self, work: Callable[[], object]) -> float:
        """`seconds_of(work)` as one step."""
        seconds = seconds_of(work, self._report)
        self.step()
        return seconds

    def _report(self, share: float) -> None:
        """Report the finished steps and a share of the current one."""
        percent = int(100 * (self._finished + share) / self._steps)
        if percent > self._percent:
            self._advance(percent - self._percent)
            self._percent = percent


def seconds_of(work: Callable[[], object], report: Callable[[float], None] | None = None) -> float:
    """Seconds per call: the minimum over two seconds of calls, after one to warm up.

    Disturbances only ever add time, so the minimum is the least disturbed.

    Args:
        report: called after each call with the share done, 0 to 1; the warm-up is half.
    """
    work()
    if report is not None:
        report(0.5)
    least, began = float("inf"), time.perf_counter()
    while True:
        started = time.perf_counter()
        work()
        ended = time.perf_counter()
        least = min(least, ended - started)
        done = ended - began >= SECONDS
        if report is not None:
            report(1.0 if done else 0.5 + 0.5 * (ended - began) / SECONDS)
        if done:
            return least
