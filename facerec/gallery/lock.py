"""One writer at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from facerec.errors import UsageError


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a gallery for writing; readers are never blocked.

    Raises:
        UsageError: another process is writing it, or its folder cannot be written.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UsageError(
            f"{path}: another facerec is writing it; try again when it is done"
        ) from error
    except (OSError, NotImplementedError) as error:
        raise UsageError(f"{path}: cannot be written: {error}") from error
    try:
        yield
    finally:
        lock.release()
