"""Temporary files beside outputs: their names tell whose they are, so that leftovers can go."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

_NAMED = re.compile(
    r"\..*\.facerec-([0-9a-f]{8})-(\d{1,9})-(\d{1,19})-[0-9a-f]{8}(\.[^/]*)?", re.DOTALL
)
_OLD = 24 * 3600
"""Seconds without a change after which also another machine's is left over: a network folder does
not tell whether its process lives."""
_UNKNOWN = "0" * 8
"""The machine where processes cannot be looked up."""

_swept: set[tuple[int, int, int]] = set()


def name_beside(place: Path, *, partial: bool = False) -> Path:
    """A new name in the folder of another, hidden unless `partial`, with the same suffix."""
    suffix = place.suffix if len(os.fsencode(place.suffix)) < 32 else ""
    stem = os.fsencode(place.name)[:150].decode(errors="ignore")
    mark = os.urandom(4).hex()
    if partial:
        return place.with_name(f"{stem}.partial-{mark}{suffix}")
    return place.with_name(f".{stem}.facerec-{_owner()}-{mark}{suffix}")


def _owner() -> str:
    """This process: its machine, number and start."""
    machine = _machine()
    started = 0 if machine == _UNKNOWN else _started(os.getpid())
    return f"{machine}-{os.getpid()}-{started}"


def remove_leftovers(folder: Path) -> None:
    """Remove the hidden temporary files of killed processes; once in each folder and process.

    A file goes if its process on this machine has ended, or if it is another machine's and has
    not changed for a day.
    """
    with suppress(OSError):
        facts = folder.stat()
        key = (os.getpid(), facts.st_dev, facts.st_ino)
        if key in _swept:
            return
        _swept.add(key)
        with os.scandir(folder) as listing:
            found = [(entry, _NAMED.fullmatch(entry.name)) for entry in listing]
        for entry, named in found:
            if named is None:
                continue
            with suppress(OSError):
                changed = entry.stat(follow_symlinks=False).st_mtime
                if not _is_left_over(named, changed):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    Path(entry.path).unlink()


def _is_left_over(named: re.Match[str], changed: float) -> bool:
    machine, process, started = named[1], int(named[2]), int(named[3])
    if machine == _UNKNOWN or machine != _machine():
        return time.time() - changed > _OLD
    return not _runs(process, started)


@cache
def _machine() -> str:
    """This machine since it started, and this container on it, whose processes can be looked up."""
    if not sys.platform.startswith("linux"):
        return _UNKNOWN
    try:
        Path("/proc/self/stat").read_bytes()
        boot = Path("/proc/sys/kernel/random/boot_id").read_bytes()
        container = os.fsencode(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return _UNKNOWN
    return hashlib.sha256(boot + container).hexdigest()[:8]


def _runs(process: int, started: int) -> bool:
    """Whether the process that began at a time still runs, and its number is no other's now."""
    try:
        return _started(process) == started
    except OSError:
        with suppress(OSError):
            # Other users' processes may not be listed.
            return not _is_free(process)
        return True


def _is_free(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def _started(process: int) -> int | None:
    """When a process started, in clock ticks since boot; None for a dead one.

    Raises:
        OSError: there is none, or it cannot be looked at.
    """
    facts = Path(f"/proc/{process}/stat").read_bytes()
    # Its name comes second, in parentheses, and may hold anything.
    state, *numbers = facts.rpartition(b")")[2].split()
    return None if state in (b"Z", b"X") else int(numbers[18])
