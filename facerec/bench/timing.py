"""Timing one thing over and over."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS = 2.0


def seconds_of(work: Callable[[], object]) -> float:
    """Seconds that one call takes: the least of those that fit into two seconds, after one to
    warm up. What disturbs a measurement only ever makes it longer."""
    work()
    least, until = float("inf"), time.perf_counter() + SECONDS
    while True:
        started = time.perf_counter()
        work()
        ended = time.perf_counter()
        least = min(least, ended - started)
        if ended >= until:
            return least
