"""Writer locks: one process writes a path, readers are never blocked."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from facerec.errors import UsageError
from facerec.files.temporary import remove_leftovers
from facerec.files.writing import behind_links


@contextmanager
def locked(path: str | Path, *, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the writer's lock of a path; readers are never blocked.

    The lock is a file beside it, `.NAME.lock`, that is removed with the lock.

    Args:
        waiting: called where another process holds it, which is then waited for; None: refuse.

    Raises:
        UsageError: another process is writing it, or its folder cannot be written.
    """
    path = Path(path)
    try:
        # Whoever writes it through a link waits for whoever writes it by its own name.
        place = behind_links(path)
        lock = place.with_name(f".{place.name}.lock")
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            release = _acquire(lock, blocking=False)
        except BlockingIOError:
            if waiting is None:
                raise
            waiting()
            release = _acquire(lock, blocking=True)
    except BlockingIOError as error:
        raise UsageError(
            f"{path}: another facerec is writing it; try again when it is done"
        ) from error
    except (OSError, NotImplementedError) as error:
        raise UsageError(f"{path}: cannot be written: {error}") from error
    _here.locks.add(lock)
    try:
        remove_leftovers(place.parent)
        yield
    finally:
        _here.locks.discard(lock)
        release()


def holds_lock(path: str | Path) -> bool:
    """Whether this thread holds the writer's lock of a path."""
    place = Path(os.path.realpath(path))
    return place.with_name(f".{place.name}.lock") in _here.locks


class _Here(threading.local):
    """The locks that this thread holds."""

    def __init__(self) -> None:
        self.locks: set[Path] = set()


_here = _Here()


def _acquire(lock: Path, *, blocking: bool) -> Callable[[], None]:
    """Lock a file; returns the function that removes it and gives the lock back.

    Removing it is safe on POSIX since a lock counts only while the locked file is the one at its
    path. The holder removes the file as its last act, so whoever makes a new one does not overlap
    with it. Whoever had opened the removed file before gets a lock on a file without a name, sees
    that, and begins again. And a file that somebody else put in its place is left alone.

    Raises:
        BlockingIOError: another process holds it.
    """
    if sys.platform == "win32":
        from filelock import FileLock, Timeout

        held = FileLock(lock)
        try:
            held.acquire(timeout=-1 if blocking else 0)
        except Timeout as error:
            raise BlockingIOError from error
        # Removes the file too; Windows refuses while another process has it open.
        return held.release
    import fcntl

    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if blocking else fcntl.LOCK_NB))
            if _is_at(handle, lock):
                break
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)

    def release() -> None:
        with suppress(OSError):
            if _is_at(handle, lock):
                lock.unlink()
        os.close(handle)

    return release


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
