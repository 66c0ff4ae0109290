"""Files of a data set, read in place from a folder, a tar or a zip."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re
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
MAX_FILE = 1 << 30
"""No image has more bytes."""
_Opener = Callable[[IO[bytes]], IO[bytes]]
_OPENERS: dict[str, _Opener] = {
    ".gz": cast("_Opener", gzip.open),
    ".tgz": cast("_Opener", gzip.open),
    ".bz2": cast("_Opener", bz2.open),
    ".xz": cast("_Opener", lzma.open),
}
_ARCHIVE = re.compile(r"\.(tar(\.(gz|bz2|xz))?|tgz|zip)$", re.IGNORECASE)
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_LABEL_ENDINGS = (".cls", ".json")
_LABEL_KEYS = ("cls", "label", "class", "person", "identity")


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
    try:
        return open_archive(str(path), path.open("rb"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error


def open_archive(name: str, file: IO[bytes]) -> Source:
    """Open a tar or a zip that is at hand as a seekable file.

    Args:
        name: what it is called; its ending says how a tar is compressed.

    Raises:
        UsageError: it is neither.
    """
    try:
        if zipfile.is_zipfile(file):
            return ZipSource(name, file)
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


def is_archive(name: str) -> bool:
    """Whether a name ends as a tar's or a zip's."""
    return _ARCHIVE.search(name) is not None


def archive_stem(name: str) -> str:
    """A file's name without an archive's ending: `photos.tar.gz` is `photos`."""
    return _ARCHIVE.sub("", name)


def expand_braces(pattern: str) -> list[str]:
    """`faces-{0000..0127}.tar` as 128 names; what has no braces as it is."""
    found = _BRACES.search(pattern)
    if not found:
        return [pattern]
    first, last = found.groups()
    before, after = pattern[: found.start()], pattern[found.end() :]
    return [
        f"{before}{number:0{len(first)}d}{after}" for number in range(int(first), int(last) + 1)
    ]


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

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self.name = name
        self._file = _decompressed(name, file)
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
        if size > MAX_FILE:
            raise InputError(f"{self.name}: {key} has {size} bytes, more than an image can have")
        with self._lock:
            self._file.seek(offset)
            data = self._file.read(size)
        if len(data) != size:
            raise InputError(f"{self.name}: ends within {key}")
        return data


def _decompressed(name: str, file: IO[bytes]) -> IO[bytes]:
    opener = _OPENERS.get(PurePosixPath(name).suffix.lower())
    if opener is None:
        return file
    plain = tempfile.TemporaryFile()  # noqa: SIM115  (it is the source's, for its life)
    with file, opener(file) as packed:
        shutil.copyfileobj(packed, plain, 1 << 20)
    plain.seek(0)
    return plain


class ZipSource:
    """Files of a zip."""

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self.name = name
        self._archive = zipfile.ZipFile(file)
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
        if member.file_size > MAX_FILE:
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


def holds_labels(source: Source) -> bool:
    """Whether the labels of a WebDataset's images are there."""
    return any(name.endswith(_LABEL_ENDINGS) for name in source.names())


def read_labels(source: Source) -> dict[str, str]:
    """The label of each image that has one beside it, in a `.cls` (text) or `.json`.

    Files of one sample share a key, as `000017.jpg` and `000017.cls` do.

    Raises:
        InputError: a label cannot be read.
    """
    names = list(source.names())
    label_files = {_key(name): name for name in names if name.endswith(_LABEL_ENDINGS)}
    return {
        name: _read_label(source, label_files[_key(name)])
        for name in names
        if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES and _key(name) in label_files
    }


def _key(name: str) -> str:
    """A sample's key: its path up to the first dot of the last part."""
    folder, _, last = name.rpartition("/")
    return f"{folder}/{last.partition('.')[0]}"


def _read_label(source: Source, name: str) -> str:
    text = source.read(name).decode("utf-8", "replace").strip()
    if not name.endswith(".json"):
        return text
    try:
        fields = json.loads(text)
        return str(next(fields[key] for key in _LABEL_KEYS if key in fields))
    except (ValueError, TypeError, StopIteration) as error:
        known = ", ".join(_LABEL_KEYS)
        raise InputError(f"{source.name}/{name}: has none of {known}") from error


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
