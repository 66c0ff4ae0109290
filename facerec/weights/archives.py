"""Zip and tar archives of strangers, extracted so that nothing outside their folder is touched."""

from __future__ import annotations

import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import IO

from facerec.errors import FacerecError, MissingError, UsageError

MOST_BYTES = 200 << 30
MOST_MEMBERS = 10_000_000
_BLOCK = 1 << 20

_Open = Callable[[], AbstractContextManager[IO[bytes]]]


def extract(
    archive: Path, folder: Path, *, most_bytes: int = MOST_BYTES, most_members: int = MOST_MEMBERS
) -> None:
    """Extract a zip or tar into `folder`, which appears whole or not at all.

    Only plain files are written: an absolute path, one with `..`, a link or a device is refused,
    as are more bytes (counted as they come, whatever the headers say) or members than allowed.

    Raises:
        MissingError: the archive is damaged or holds one of these.
        UsageError: the place cannot be written.
    """
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _extract_into(archive, temporary, most_bytes, most_members)
        temporary.chmod(0o755)
        temporary.replace(folder)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, RuntimeError, ValueError) as error:
        raise MissingError(f"{archive}: damaged archive: {error}") from error
    except NotImplementedError as error:
        raise MissingError(f"{archive}: cannot be extracted: {error}") from error
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _extract_into(archive: Path, folder: Path, most_bytes: int, most_members: int) -> None:
    members = _zip_members if zipfile.is_zipfile(archive) else _tar_members
    written = 0
    for count, (name, open_member) in enumerate(members(archive), start=1):
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


def _zip_members(archive: Path) -> Iterator[tuple[str, _Open | None]]:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _no_plain_file(archive, member.filename)
            opener = None if member.is_dir() else lambda member=member: file.open(member)
            yield member.filename, opener


def _tar_members(archive: Path) -> Iterator[tuple[str, _Open | None]]:
    with tarfile.open(archive) as file:
        for member in file:
            if not (member.isreg() or member.isdir()):
                raise _no_plain_file(archive, member.name)
            yield member.name, None if member.isdir() else _tar_opener(file, member)


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
