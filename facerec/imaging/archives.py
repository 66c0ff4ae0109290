"""Sources: the files of a folder, tar or zip by key."""

from __future__ import annotations

import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from facerec.errors import InputError, MissingError, UsageError
from facerec.files.text import counted
from facerec.imaging.contents import START, describe
from facerec.imaging.folders import FolderSource
from facerec.imaging.names import has_image_suffix, is_photo
from facerec.imaging.tars import TarSource
from facerec.imaging.zips import ZipSource

_TAR = re.compile(r"\.(tar|tar\..*|t[gbx]z2?)$", re.IGNORECASE)


class Source(Protocol):
    """Named files with random access; `read` may be called from several threads."""

    name: str

    def read(self, key: str) -> bytes:
        """A file's bytes.

        Raises:
            InputError: there is no such file, or it cannot be read.
        """
        ...

    def names(self) -> Iterable[str]:
        """All files, `/` between folders, relative to the source's root."""
        ...

    def start(self, key: str) -> bytes:
        """The first `contents.START` bytes of a file; empty if they are costly or unreadable."""
        ...


def photo_names(source: Source) -> list[str]:
    """The files of a source that count as photos, see `names.is_photo`."""
    return [name for name in source.names() if is_photo(name, source.start)]


def open_source(path: str | Path) -> Source:
    """Open a folder, a tar (plain, or compressed by gzip, bzip2 or xz) or a zip.

    Raises:
        MissingError: there is nothing at `path`.
        UsageError: it is none of these, or a tar that is damaged and lacks files.
    """
    path = Path(path)
    if path.is_dir():
        return FolderSource(path)
    archive = open_archive_file(path)
    if archive.damage:
        raise UsageError(f"{path}: {archive.damage}; files may be missing")
    return archive


def open_archive_file(path: Path) -> TarSource | ZipSource:
    """As `open_archive`, from a path.

    Raises:
        MissingError: there is nothing at `path`.
        UsageError: it is neither.
    """
    if not path.exists():
        raise MissingError(f"{path}: no such folder or archive")
    try:
        return open_archive(str(path), path.open("rb"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error


def open_archive(name: str, file: IO[bytes]) -> TarSource | ZipSource:
    """Open a tar or zip from a seekable file; a damaged tar's `damage` tells of it.

    Args:
        name: its name; the suffix tells a tar's compression.

    Raises:
        UsageError: it is neither.
    """
    try:
        start = file.read(START)
        # `is_zipfile` looks at the end, where a tar may hold a zip.
        begins_as_zip = start.startswith(b"PK\x03\x04")
        if (begins_as_zip or not _TAR.search(name)) and zipfile.is_zipfile(file):
            return ZipSource(name, file)
        if begins_as_zip:
            raise UsageError(f"{name}: is a zip that is cut off: the list at its end is missing")
        if (other := describe(start)) is not None:
            raise UsageError(f"{name}: is {other}, neither a tar nor a zip; unpack it")
        file.seek(0)
        return TarSource(name, file)
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        OSError,
        EOFError,
        lzma.LZMAError,
        zlib.error,
    ) as error:
        raise UsageError(f"{name}: neither a folder nor a readable tar or zip") from error


def _without_suffix(name: str) -> str:
    """A name without an image's suffix: Yale's `subject01.happy` keeps what tells it apart."""
    return name.removesuffix(PurePosixPath(name).suffix) if has_image_suffix(name) else name


class MemorySource:
    """Files in memory, such as those of a `.bin` set."""

    def __init__(self, name: str, files: dict[str, bytes]) -> None:
        self.name = name
        self._files = files

    def names(self) -> Iterable[str]:
        return self._files

    def start(self, key: str) -> bytes:
        return self._files[key][:START]

    def read(self, key: str) -> bytes:
        if key not in self._files:
            raise InputError(f"{self.name}: holds no {key}")
        return self._files[key]


def locate(source: Source, keys: Iterable[str]) -> dict[str, str]:
    """Find a protocol's images in a source.

    The images may lie in a subfolder (`lfw/Name/Name_0001.jpg`), and aligned copies may have
    another suffix. Of several files that match a key, the one in the folder of the previous match
    is taken, or else the one nearest to the root; in one folder, the one of exactly that name.

    Returns:
        the file of each key that was found.

    Raises:
        UsageError: no key is found, so this is not the protocol's data.
    """
    wanted = list(keys)
    names = set(photo_names(source))
    if isinstance(source, TarSource | ZipSource):
        names -= source.lost.keys()
    files = {_without_suffix(name): name for name in sorted(names)}
    by_last_part: dict[str, list[str]] = {}
    for name in files:
        by_last_part.setdefault(name.rpartition("/")[2], []).append(name)
    found: dict[str, str] = {}
    prefix = ""
    for key in wanted:
        stem = _without_suffix(key)
        if prefix + stem not in files:
            similar = by_last_part.get(stem.rpartition("/")[2], ())
            ending = [name for name in similar if name.endswith(f"/{stem}") or name == stem]
            if not ending:
                continue
            prefix = min(ending, key=lambda name: (name.count("/"), name))[: -len(stem)]
        found[key] = prefix + key if prefix + key in names else files[prefix + stem]
    if not found:
        first = f" (such as {wanted[0]})" if wanted else ""
        raise UsageError(f"{source.name}: holds none of {counted(len(wanted), 'image')}{first}")
    return found
