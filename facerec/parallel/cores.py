"""The processor cores that this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

_GROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Cores whose time the system lets this process use: those that it may run on, or fewer where a
    quota leaves it less."""
    return thread_limit() or _cores()


def thread_limit() -> int:
    """Threads for libraries that count cores themselves and know no quota, which would stop more of
    them for a part of each period; 0: no quota leaves less than the cores.

    A quota is a control group's: `docker --cpus`, Kubernetes' limits, systemd's `CPUQuota`. OpenCV
    knows it.
    """
    cores, quota = _cores(), _quota()
    return int(quota) if quota < cores else 0


def takes_all_cores(threads: int) -> bool:
    """Whether the threads are at least as many as the cores this process may run on.

    Then OpenVINO may pin each to a core, which saves a fiftieth. With fewer it would pin those of
    all processes to the same cores.
    """
    return threads >= _cores()


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


@cache
def _quota() -> float:
    """The least of the quotas, as a number of cores, rounded up; infinite where there is none.

    joblib's `cpu_count` knows a container's too, but takes tenths of a second to import.
    """
    return min((max(1, math.ceil(quota)) for quota in _quotas()), default=math.inf)


def _quotas() -> Iterator[float]:
    """Those of each group around this process, of both versions."""
    for controllers, group in _own_groups():
        if not controllers:
            yield from _ratio(_GROUPS / group / "cpu.max")
        elif "cpu" in controllers.split(","):
            # `cpu` is a link to the others, where there is one.
            for mount in dict.fromkeys((controllers, "cpu")):
                folder = _GROUPS / mount / group
                yield from _ratio(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us")


def _own_groups() -> Iterator[tuple[str, PurePosixPath]]:
    """Controllers, none for version 2, and each group with them around this process, down from its
    own: in a container without a namespace of groups only the outermost is there."""
    try:
        lines = _MEMBERSHIP.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        controllers, _, path = line.partition(":")[2].partition(":")
        own = PurePosixPath(path.removeprefix("/"))
        yield from ((controllers, group) for group in (own, *own.parents))


def _ratio(*files: Path) -> Iterator[float]:
    """Quota by period, both in microseconds; nothing where there is no quota."""
    try:
        quota, period = (int(word) for file in files for word in file.read_text().split())
    except (OSError, ValueError):
        return  # No such file, or `max`.
    if quota > 0 and period > 0:
        yield quota / period
