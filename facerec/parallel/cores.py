"""The processor cores that this process may use."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Cores that the system lets this process run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def takes_all_cores(threads: int) -> bool:
    """Whether the threads are at least as many as the cores this process may use.

    Then OpenVINO may pin each to a core, which saves a fiftieth. With fewer it would pin those of
    all processes to the same cores.
    """
    return threads >= usable_cores()
