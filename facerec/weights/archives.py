"""Safe extraction of untrusted zip and tar archives (no path traversal, links or bombs)."""

from __future__ import annotations

import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import IO

from facerec.errors import FacerecError, MissingError, UsageError
from facerec.files.parsing import brief
from facerec.files.temporary import name_beside, remove_leftovers

MOST_BYTES = 200 << 30
MOST_MEMBERS = 10_000_000
_BLOCK = 1 << 20
_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError,
    RuntimeError, ValueError, OverflowError,
)  # fmt: skip


class DamagedArchiveError(MissingError):
    """An archive cannot be read."""


_Open = Callable[[], AbstractContextManager[IO[bytes]]]
_Member = tuple[str, _Open | None, int]
"""Name, opener of a file, and where in the archive it begins, in bytes."""


def _tell_nobody(read: int, total: int) -> None:
    """Progress that is not shown."""


def extract(
    archive: Path, folder: Path, *, report: Callable[[int, int], None] = _tell_nobody,
    most_bytes: int = MOST_BYTES, most_members: int = MOST_MEMBERS,
) -> None:  # fmt: skip
    """Extract a zip or tar into `folder`, which appears whole or not at all.

    Only plain files are written: an absolute path, one with `..`, a link or a device is refused,
    as are more bytes (counted as they come, whatever the headers say) or members than allowed.

    Args:
        report: told before each member how many of the archive's bytes are done, and of how many.

    Raises:
        DamagedArchiveError: it cannot be read.
        MissingError: the archive holds one of these.
        UsageError: the place cannot be written.
    """
    remove_leftovers(folder.parent)
    temporary = name_beside(folder)
    temporary.mkdir(mode=0o700)
    try:
        _extract_into(archive, temporary, report, most_bytes, most_members)
        temporary.chmod(0o755)
        temporary.replace(folder)
    except _DAMAGED as error:
        raise DamagedArchiveError(f"{archive}: damaged archive: {brief(error)}") from error
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _extract_into(
    archive: Path, folder: Path, report: Callable[[int, int], None], most_bytes: int,
    most_members: int,
) -> None:  # fmt: skip
    size = archive.stat().st_size
    members = _zip_members if zipfile.is_zipfile(archive) else _tar_members
    written = 0
    for count, (name, open_member, begins) in enumerate(members(archive), start=1):
        report(begins, size)
        if count > most_members:
            raise MissingError(f"{archive}: more than {most_members} members")
        target = folder / _checked(archive, name)
        if open_member is None:
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with open_member() as source, target.open("xb") as out:
            while block := source.read(_BLOCK):
                written += len(block)
                if written > most_bytes:
                    raise MissingError(f"{archive}: more than {most_bytes} bytes extracted")
                out.write(block)


def _checked(archive: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name or "\0" in name:
        raise MissingError(f"{archive}: {name!r} would be written outside its folder")
    return path


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _no_plain_file(archive, member.filename)
            opener = None if member.is_dir() else lambda member=member: file.open(member)
            yield member.filename, opener, member.header_offset


def _tar_members(archive: Path) -> Iterator[_Member]:
    with archive.open("rb") as packed, tarfile.open(fileobj=packed) as file:
        for member in file:
            if not (member.isreg() or member.isdir()):
                raise _no_plain_file(archive, member.name)
            opener = None if member.isdir() else _tar_opener(file, member)
            yield member.name, opener, packed.tell()


def _tar_opener(file: tarfile.TarFile, member: tarfile.TarInfo) -> _Open:
    def open_member() -> IO[bytes]:
        source = file.extractfile(member)
        assert source is not None  # a regular file has content
        return source

    return open_member


def _no_plain_file(archive: Path, name: str) -> FacerecError:
    return MissingError(
        f"{archive}: {name!r} is a link or a device; only plain files are extracted"
    )
