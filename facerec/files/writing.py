"""Atomic writes, and checks of outputs before the work."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from facerec.errors import UsageError
from facerec.files.temporary import name_beside, remove_leftovers


@contextmanager
def replacing(
    target: str | Path, *, partial: bool = False, like: str | Path | None = None
) -> Iterator[Path]:
    """Write `target` atomically: yield a temporary path beside it, renamed when the block ends.

    The new file is flushed to disk before it is renamed. If the block raises, the temporary file
    is removed and `target` is unchanged; what a killed process left in the folder is removed by the
    next one that writes there. Missing parent folders are created. A link is followed,
    and stays one. A file that is replaced keeps its mode, owner and, on Linux, extended attributes;
    a new one gets the umask's. A device or a named pipe gets the bytes once they are complete.

    Args:
        partial: let the temporary file be seen, by a name that tells what it is: of long work
            somebody may want what a kill left behind.
        like: a file that a new one gets its mode and owner from.

    Raises:
        UsageError: the place cannot be written, or the file there is read-only.
    """
    target = Path(target)
    temporary = None
    try:
        if is_stream(target):
            with tempfile.TemporaryDirectory() as folder:
                complete = Path(folder, f"output{target.suffix}")
                complete.touch()
                yield complete
                with complete.open("rb") as source, target.open("wb") as stream:
                    shutil.copyfileobj(source, stream)
            return
        place = behind_links(target)
        _require_replaceable(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(place.parent)
        # Nobody else may read on the way what only its owner may read in the end.
        model = place if like is None or place.exists() else behind_links(like)
        temporary = _create_beside(place, 0o600 if model.exists() else 0o666, partial)
        yield temporary
        _flush(temporary)
        if place.exists():
            _copy_attributes(place, temporary)
        if model.exists():
            _copy_owner_and_mode(model.stat(), temporary)
        temporary.replace(place)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def behind_links(path: str | Path) -> Path:
    """The absolute path of what a link names, which need not exist; any other path, absolute.

    Raises:
        OSError: the links form a circle.
    """
    place = Path(os.path.realpath(path))
    if place.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return place


def check_output(
    target: str | Path, *, force: bool = True, inputs: Iterable[str | Path] = ()
) -> None:
    """Find out before the work whether a file can be written; leaves nothing behind.

    Args:
        force: whether a file there may be replaced.
        inputs: files that the command reads; missing ones are ignored.

    Raises:
        UsageError: it is one of the inputs, exists and may not be replaced, or cannot be written.
    """
    target = Path(target)
    refuse_inputs(target, inputs)
    if is_stream(target):
        return
    refuse_to_replace(target, force=force)
    try:
        place = behind_links(target)
        _require_replaceable(place)
        _try_to_create_below(place.parent)
    except OSError as error:
        raise _unwritable(target, error) from error


def check_output_folder(folder: str | Path) -> None:
    """Find out before the work whether files can be written below a folder; leaves nothing behind.

    Raises:
        UsageError: it is no folder, or cannot be made or written.
    """
    try:
        _try_to_create_below(behind_links(folder))
    except OSError as error:
        raise _unwritable(folder, error) from error


def refuse_to_replace(path: str | Path, *, force: bool) -> None:
    """Stop before a file is replaced unasked.

    Raises:
        UsageError: the file exists, and `force` is not set.
    """
    if not force and exists(Path(path)):
        raise UsageError(f"{path} exists; --force replaces it")


def refuse_inputs(target: str | Path, inputs: Iterable[str | Path]) -> None:
    """Stop before an output destroys what it is made from, by whatever name or link.

    Raises:
        UsageError: the output is one of the inputs.
    """
    target = Path(target)
    if not exists(target) or is_stream(target):
        return
    for given in inputs:
        with suppress(OSError, ValueError):
            if target.samefile(given):
                raise UsageError(f"{target}: is read by this command; write somewhere else")


def exists(path: Path) -> bool:
    """As `Path.exists`; false for an invalid path, and where it may not be looked at."""
    with suppress(OSError, ValueError):
        return path.exists()
    return False


def is_stream(path: Path) -> bool:
    """Whether a device, a named pipe or a socket is there, which a rename would remove."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _require_replaceable(place: Path) -> None:
    """Check that a file can be put at a place, as far as what is there decides it."""
    if place.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(place))
    # A rename would replace a file that its owner has protected from writing.
    if place.exists() and not os.access(place, os.W_OK):
        raise PermissionError(errno.EACCES, "it is read-only", str(place))


def _try_to_create_below(folder: Path) -> None:
    """Create and remove a file in a folder, or in the first parent that exists."""
    while not exists(folder) and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder", str(folder))
    _create_beside(folder / "facerec", 0o600).unlink()


def _create_beside(place: Path, mode: int, partial: bool = False) -> Path:
    """An empty file beside another.

    Not by `tempfile`: its files are readable by their owner alone, and the umask that a new output
    should get cannot be asked for without changing it for all threads.
    """
    while True:
        temporary = name_beside(place, partial=partial)
        with suppress(FileExistsError):
            os.close(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode))
            return temporary


def _copy_attributes(old: Path, new: Path) -> None:
    """Extended attributes, such as file managers' tags and ratings, as far as the file system and
    the user's rights allow; Python knows them on Linux alone."""
    if not hasattr(os, "listxattr"):
        return
    with _without_attributes():
        for name in os.listxattr(old):
            with _without_attributes():
                os.setxattr(new, name, os.getxattr(old, name))


_NO_ATTRIBUTE = {
    getattr(errno, name)
    for name in (
        "ENOTSUP", "EPERM", "EACCES", "ENODATA", "ENOSPC", "EDQUOT", "E2BIG", "ERANGE", "EINVAL",
    )
    if hasattr(errno, name)
}  # fmt: skip


@contextmanager
def _without_attributes() -> Iterator[None]:
    """Go on where there are no extended attributes, or one is not the user's to read or set, or
    does not fit: file systems bound their size and number, each with another error."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ATTRIBUTE:
            raise


def _copy_owner_and_mode(old: os.stat_result, new: Path) -> None:
    mode = stat.S_IMODE(old.st_mode)
    made = new.stat()
    if (old.st_uid, old.st_gid) != (made.st_uid, made.st_gid):
        try:
            os.chown(new, old.st_uid, old.st_gid)
        except OSError:
            # What the old group might do, another group may not: it counts as the others.
            mode = mode & ~0o070 | (mode & 0o007) << 3
    new.chmod(mode)


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            # Some network file systems do not offer it.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise


def _unwritable(target: str | Path, error: OSError) -> UsageError:
    cause = error.strerror or str(error)
    # What is copied there may be what cannot be read.
    other = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else None
    place = Path(os.path.realpath(target))
    if other is not None and not place.is_relative_to(other) and other.parent != place.parent:
        cause = f"{other}: {cause}"
    return UsageError(f"{target}: cannot be written: {cause}")
