"""Atomic writes, writer locks and content hashes."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from facerec.errors import UsageError


@contextmanager
def replacing(target: str | Path) -> Iterator[Path]:
    """Write `target` atomically: yield a temporary path beside it, renamed when the block ends.

    The new file is flushed to disk before it is renamed. If the block raises, the temporary file
    is removed and `target` is unchanged. Missing parent folders are created.

    Raises:
        UsageError: the place cannot be written.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{target.name[:100]}.", suffix=target.suffix, dir=target.parent
        )
        os.close(handle)
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror}") from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(_default_mode())
        temporary.replace(target)
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _default_mode() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Hold the writer's lock of a path; readers are never blocked.

    Raises:
        UsageError: another process is writing it, or its folder cannot be written.
    """
    path = Path(path)
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


def sha256_of(path: str | Path) -> str:
    """Hex SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
