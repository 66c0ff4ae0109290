"""Files of a data set, read in place from a folder, a tar or a zip."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, cast

from facerec.errors import InputError, MissingError, UsageError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_MAX_FILE = 1 << 30
_OPENERS: dict[str, Callable[[Path], IO[bytes]]] = {
    ".gz": cast("Callable[[Path], IO[bytes]]", gzip.open),
    ".tgz": cast("Callable[[Path], IO[bytes]]", gzip.open),
    ".bz2": cast("Callable[[Path], IO[bytes]]", bz2.open),
    ".xz": cast("Callable[[Path], IO[bytes]]", lzma.open),
}


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


def open_source(path: Path) -> Source:
    """Open a folder, a tar (plain, or compressed by gzip, bzip2 or xz) or a zip.

    Raises:
        MissingError: there is nothing at `path`.
        UsageError: it is none of these.
    """
    if path.is_dir():
        return FolderSource(path)
    if not path.exists():
        raise MissingError(f"{path}: no such folder or archive")
    if zipfile.is_zipfile(path):
        return ZipSource(path)
    try:
        return TarSource(path)
    except (tarfile.TarError, OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise UsageError(f"{path}: neither a folder nor a readable tar or zip") from error


class FolderSource:
    """Files below a folder."""

    def __init__(self, root: Path) -> None:
        self.name = str(root)
        self._root = root.resolve()

    def names(self) -> Iterable[str]:
        return (
            path.relative_to(self._root).as_posix()
            for path in self._root.rglob("*")
            if path.is_file()
        )

    def read(self, key: str) -> bytes:
        path = (self._root / key).resolve()
        if not path.is_relative_to(self._root):
            raise InputError(f"{key}: lies outside of {self.name}")
        try:
            return path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from error


class TarSource:
    """Regular files of a tar.

    A compressed tar has no random access, so it is decompressed once into an unnamed temporary
    file that vanishes with the process.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._file = _decompressed(path)
        self._lock = threading.Lock()
        self._places: dict[str, tuple[int, int]] = {}
        with tarfile.open(fileobj=self._file, mode="r:") as archive:
            for member in archive:
                if member.isreg() and not member.issparse():
                    self._places[_plain(member.name)] = (member.offset_data, member.size)

    def names(self) -> Iterable[str]:
        return self._places

    def read(self, key: str) -> bytes:
        if key not in self._places:
            raise InputError(f"{self.name}: holds no {key}")
        offset, size = self._places[key]
        if size > _MAX_FILE:
            raise InputError(f"{self.name}: {key} has {size} bytes, more than an image can have")
        with self._lock:
            self._file.seek(offset)
            data = self._file.read(size)
        if len(data) != size:
            raise InputError(f"{self.name}: ends within {key}")
        return data


def _decompressed(path: Path) -> IO[bytes]:
    opener = _OPENERS.get(path.suffix.lower())
    if opener is None:
        return path.open("rb")
    plain = tempfile.TemporaryFile()  # noqa: SIM115  (it is the source's, for its life)
    with opener(path) as packed:
        shutil.copyfileobj(packed, plain, 1 << 20)
    plain.seek(0)
    return plain


class ZipSource:
    """Files of a zip."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._archive = zipfile.ZipFile(path)
        self._lock = threading.Lock()
        self._members = {
            _plain(member.filename): member
            for member in self._archive.infolist()
            if not member.is_dir()
        }

    def names(self) -> Iterable[str]:
        return self._members

    def read(self, key: str) -> bytes:
        if key not in self._members:
            raise InputError(f"{self.name}: holds no {key}")
        member = self._members[key]
        if member.file_size > _MAX_FILE:
            raise InputError(f"{self.name}: {key} has {member.file_size} bytes, too many")
        try:
            with self._lock:
                return self._archive.read(member)
        except (zipfile.BadZipFile, RuntimeError, zlib.error, OSError) as error:
            raise InputError(f"{self.name}: {key} cannot be read: {error}") from error


def _plain(name: str) -> str:
    return PurePosixPath(name).as_posix()


class MemorySource:
    """Files that a container such as a `.bin` set already holds in memory."""

    def __init__(self, name: str, files: dict[str, bytes]) -> None:
        self.name = name
        self._files = files

    def names(self) -> Iterable[str]:
        return self._files

    def read(self, key: str) -> bytes:
        if key not in self._files:
            raise InputError(f"{self.name}: holds no {key}")
        return self._files[key]


def locate(source: Source, keys: Iterable[str]) -> dict[str, str]:
    """Where a protocol's images are in a source.

    A data set may lie in folders of its own (`lfw/Name/Name_0001.jpg`), and aligned copies may
    be of another image format; both are found. Of several files that end like a key, the one
    in the folder where the last one was found is taken, or else the one nearest to the root.

    Returns:
        the file of each key that was found.

    Raises:
        UsageError: none is found, so this is not the data of that protocol.
    """
    wanted = list(keys)
    files = {
        name[: -len(suffix)]: name
        for name in source.names()
        if (suffix := PurePosixPath(name).suffix).lower() in IMAGE_SUFFIXES
    }
    by_last_part: dict[str, list[str]] = {}
    for name in files:
        by_last_part.setdefault(name.rpartition("/")[2], []).append(name)
    found: dict[str, str] = {}
    prefix = ""
    for key in wanted:
        stem = key[: -len(suffix)] if (suffix := PurePosixPath(key).suffix) else key
        if prefix + stem not in files:
            similar = by_last_part.get(stem.rpartition("/")[2], ())
            ending = [name for name in similar if name.endswith(f"/{stem}") or name == stem]
            if not ending:
                continue
            prefix = min(ending, key=lambda name: (name.count("/"), name))[: -len(stem)]
        found[key] = files[prefix + stem]
    if not found:
        first = f" (such as {wanted[0]})" if wanted else ""
        raise UsageError(f"{source.name}: holds none of the {len(wanted)} images{first}")
    return found
