"""Sources: the files of a folder, tar or zip by key, read in place."""

from __future__ import annotations

import bz2
import gzip
import lzma
import posixpath
import re
import shutil
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, cast

from facerec.errors import InputError, MissingError, UsageError
from facerec.imaging.contents import START
from facerec.imaging.folders import FolderSource
from facerec.imaging.names import has_image_suffix, is_photo
from facerec.imaging.photos import MAX_FILE

_Opener = Callable[[IO[bytes]], IO[bytes]]
_OPENERS: dict[str, _Opener] = {
    ".gz": cast("_Opener", gzip.open),
    ".tgz": cast("_Opener", gzip.open),
    ".bz2": cast("_Opener", bz2.open),
    ".tbz": cast("_Opener", bz2.open),
    ".tbz2": cast("_Opener", bz2.open),
    ".xz": cast("_Opener", lzma.open),
    ".txz": cast("_Opener", lzma.open),
}
_TAR = re.compile(r"\.(tar|tar\..*|t[gbx]z2?)$", re.IGNORECASE)
# As many links to links as Linux follows.
_MOST_LINKS = 40

# What `zipfile` raises on damaged, encrypted and unknown members.
_DAMAGED = (
    zipfile.BadZipFile, RuntimeError, NotImplementedError, zlib.error, lzma.LZMAError, OSError,
    EOFError, ValueError,
)  # fmt: skip


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
        UsageError: it is none of these.
    """
    path = Path(path)
    if path.is_dir():
        return FolderSource(path)
    if not path.exists():
        raise MissingError(f"{path}: no such folder or archive")
    try:
        return open_archive(str(path), path.open("rb"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error


def open_archive(name: str, file: IO[bytes]) -> Source:
    """Open a tar or zip from a seekable file.

    Args:
        name: its name; the suffix tells a tar's compression.

    Raises:
        UsageError: it is neither.
    """
    try:
        # `is_zipfile` looks at the end, where a tar may hold a zip.
        if not _TAR.search(name) and zipfile.is_zipfile(file):
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


class TarSource:
    """Regular files of a tar, and hard and symbolic links to them.

    A compressed tar has no random access, so it is decompressed once into an unnamed temporary
    file that vanishes with the process. A link that leads nowhere in the tar fails on `read`.

    Attributes:
        lost: those links, and where they lead.
    """

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self.name = name
        self._file = _decompressed(name, file)
        self._lock = threading.Lock()
        self._places: dict[str, tuple[int, int]] = {}
        self.lost: dict[str, str] = {}
        links: dict[str, str] = {}
        with tarfile.open(fileobj=self._file, mode="r:") as archive:
            for member in archive:
                key = _plain(member.name)
                if member.isreg() and not member.issparse():
                    self._places[key] = (member.offset_data, member.size)
                    links.pop(key, None)
                elif member.islnk():
                    # `tar` stores a file that is named twice as a link to itself.
                    if (target := posixpath.normpath(member.linkname)) != key:
                        links[key] = target
                elif member.issym():
                    # `join` keeps an absolute target, which no member is.
                    links[key] = posixpath.normpath(
                        posixpath.join(posixpath.dirname(key), member.linkname)
                    )
        self._add_links(links)

    def _add_links(self, links: Mapping[str, str]) -> None:
        folders = {str(parent) for key in self._places for parent in PurePosixPath(key).parents}
        for key in links:
            target = _follow(key, links)
            if target in self._places:
                self._places[key] = self._places[target]
            elif target not in folders:
                self.lost[key] = links[key]

    def names(self) -> Iterable[str]:
        return [*self._places, *self.lost]

    def start(self, key: str) -> bytes:
        offset, size = self._places.get(key, (0, 0))
        with self._lock:
            self._file.seek(offset)
            return self._file.read(min(size, START))

    def read(self, key: str) -> bytes:
        if key in self.lost:
            raise InputError(f"{self.name}: {key} is a link to {self.lost[key]}, not in there")
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


def _follow(key: str, links: Mapping[str, str]) -> str:
    """The member that a link resolves to, through links to files and to folders."""
    for _ in range(_MOST_LINKS):
        if key in links:
            key = links[key]
            continue
        parents = (str(parent) for parent in PurePosixPath(key).parents)
        folder = next((parent for parent in parents if parent in links), None)
        if folder is None:
            break
        key = posixpath.normpath(f"{links[folder]}/{key.removeprefix(folder)}")
    return key


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
    """Files of a zip; some Windows tools write backslashes between folders."""

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self.name = name
        self._archive = zipfile.ZipFile(file)
        self._lock = threading.Lock()
        self._members = {
            _plain(member.filename.replace("\\", "/")): member
            for member in self._archive.infolist()
            if not member.filename.endswith(("/", "\\"))
        }

    def names(self) -> Iterable[str]:
        return self._members

    def start(self, key: str) -> bytes:
        with self._lock, suppress(*_DAMAGED), self._archive.open(self._members[key]) as file:
            return file.read(START)
        return b""

    def read(self, key: str) -> bytes:
        if key not in self._members:
            raise InputError(f"{self.name}: holds no {key}")
        member = self._members[key]
        if member.file_size > MAX_FILE:
            raise InputError(f"{self.name}: {key} has {member.file_size} bytes, too many")
        try:
            with self._lock:
                return self._archive.read(member)
        except _DAMAGED as error:
            raise InputError(f"{self.name}: {key} cannot be read: {error}") from error


def _without_suffix(name: str) -> str:
    """A name without an image's suffix: Yale's `subject01.happy` keeps what tells it apart."""
    return name.removesuffix(PurePosixPath(name).suffix) if has_image_suffix(name) else name


def _plain(name: str) -> str:
    return PurePosixPath(name).as_posix()


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
    if isinstance(source, TarSource):
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
        raise UsageError(f"{source.name}: holds none of the {len(wanted)} images{first}")
    return found
