"""The processor's cores."""

from __future__ import annotations

import os


def takes_all_cores(threads: int) -> bool:
    """Whether so many threads are as many as the cores that this process may use.

    Then OpenVINO may tie each to a core, which saves a fiftieth. Where they are fewer, it ties
    those of all processes to the same cores.
    """
    allowed = getattr(os, "sched_getaffinity", None)
    cores = len(allowed(0)) if allowed is not None else os.cpu_count() or 1
    return threads >= cores
