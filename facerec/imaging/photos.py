"""A photo: name, key, person, and how to read its bytes."""

from __future__ import annotations

import os
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from facerec.errors import InputError, UsageError
from facerec.files.text import readable
from facerec.imaging.belonging import Rule, rule_of_paths
from facerec.imaging.names import is_archive, is_icloud_photo, is_packed, is_url

MAX_PIXELS = 150_000_000
"""Images with more pixels are refused before they are decoded, unless a profile says otherwise."""
MAX_FILE = 1 << 30
"""No image in an archive or behind a URL has more bytes."""

PACKED = "is an archive in a folder or a list; give it by itself to read its photos"
UNREAD_ARCHIVE = "is an archive of a kind that is not read; unpack it, or pack it as tar or zip"

# 16-bit RGBA, uncompressed, with room for metadata.
_BYTES_PER_PIXEL = 8
_BYTES_OF_METADATA = 1 << 26


class Photo(Protocol):
    """A photo in a file, an archive or behind a URL. If unreadable, it fails on `read`.

    `str(photo)` is its name.
    """

    @property
    def name(self) -> str:
        """Display name: `people/ann/1.jpg`, `people.tar/ann/1.jpg`, `s3://a/ann/1.jpg`."""
        ...

    @property
    def key(self) -> str:
        """Path below the folder, archive or URL it was found in, `/` between folders."""
        ...

    @property
    def tree(self) -> str:
        """The folder, archive or URL that it was found in; empty if it was named itself."""
        ...

    @property
    def path(self) -> Path | None:
        """Its file; None in an archive or behind a URL."""
        ...

    @property
    def person(self) -> str:
        """Whose photo it is by its folder or label, see `sources.find_photos`.

        Raises:
            UsageError: its folder is the root folder, which has no name.
            InputError: its label cannot be read.
        """
        ...

    @property
    def version(self) -> str:
        """Changes with the bytes, without reading them (size and time); empty if unknown."""
        ...

    def read(self, max_pixels: int = MAX_PIXELS) -> bytes:
        """The bytes of the file.

        Raises:
            InputError: it cannot be read, or is too long for an image of `max_pixels`.
        """
        ...


AnyPhoto = Photo | str | Path
"""A photo, or the path of its file."""


@dataclass(frozen=True, slots=True)
class FilePhoto:
    """A photo in a file, which may be missing; see `Photo`.

    Attributes:
        root: the folder it was found in; None if the file itself was named.
        rule: whose photo it is; None: of a path that was named.
    """

    path: Path
    root: Path | None = None
    rule: Rule | None = None

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def tree(self) -> str:
        return "" if self.root in (None, self.path) else str(self.root)

    @property
    def key(self) -> str:
        if self.root is None:
            return self.path.name
        return self.path.relative_to(self.root).as_posix()

    @property
    def person(self) -> str:
        given = self.root or self.path.parent
        # A folder that cannot be listed is found in itself.
        found = self.path.parent if self.path != self.root else self.path
        folders = found.relative_to(self.root or self.path.anchor).parts
        rule = self.rule or rule_of_paths("auto", folders)
        name = rule.name(folders, self.path.name)
        return normalise_person(folder_name(given) if name in (None, "..") else name)

    @property
    def version(self) -> str:
        return file_version(self.path)

    def read(self, max_pixels: int = MAX_PIXELS) -> bytes:
        return read_file(self.path, max_pixels)


@dataclass(frozen=True, slots=True)
class FailedPhoto:
    """An archive, URL or member that could not be opened: raises its error on `read`."""

    name: str
    error: InputError
    key: str = ""
    version: str = ""
    tree: str = ""

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> None:
        return None

    @property
    def person(self) -> str:
        return normalise_person(PurePosixPath(self.name).parent.name)

    def read(self, max_pixels: int = MAX_PIXELS) -> bytes:
        raise self.error


def read_bytes(photo: AnyPhoto, max_pixels: int = MAX_PIXELS) -> bytes:
    """The encoded bytes of a photo; see `Photo.read`.

    Raises:
        InputError: it cannot be read, or is too long for an image of `max_pixels`.
        UsageError: it is neither a photo nor a path.
    """
    if isinstance(photo, str) and is_url(photo):
        raise unreadable(photo, "is a URL; only files are read here, so download it first")
    if isinstance(photo, str | os.PathLike):
        return read_file(Path(os.fsdecode(photo)), max_pixels)
    if not hasattr(photo, "read"):
        kind = type(photo).__name__
        raise UsageError(
            f"a photo is the path of its file, not a {kind}; bytes are read by "
            "facerec.imaging.decode.decode_image, and an (H, W, 3) uint8 array is an image already"
        )
    return photo.read(max_pixels)


def read_file(path: Path, max_pixels: int = MAX_PIXELS) -> bytes:
    """The bytes of an image file, bounded by what an image of `max_pixels` can take.

    Raises:
        InputError: it is missing, unreadable, no regular file, or too long.
    """
    try:
        facts = path.stat()
        if stat.S_ISDIR(facts.st_mode):
            reason = "is a folder that gives no image (empty, unreadable, or listed on stdin)"
            raise unreadable(path, reason)
        if not stat.S_ISREG(facts.st_mode):
            raise unreadable(path, "is not a regular file")
        if is_icloud_photo(path.name):
            raise unreadable(path, "is in iCloud alone; download it in the Finder")
        if is_packed(path.name):
            raise unreadable(path, PACKED if is_archive(path.name) else UNREAD_ARCHIVE)
        if facts.st_size > _BYTES_PER_PIXEL * max_pixels + _BYTES_OF_METADATA:
            raise unreadable(path, f"{facts.st_size:,} bytes, too many for {max_pixels:,} pixels")
        return path.read_bytes()
    except FileNotFoundError:
        raise unreadable(path, "no such file") from None
    except OSError as error:
        raise unreadable(path, f"cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise unreadable(path, f"is not a path: {error}") from error


def file_version(path: Path) -> str:
    """Size and time of a file; empty if it cannot be looked at."""
    try:
        facts = path.stat()
    except (OSError, ValueError):
        return ""
    return f"{facts.st_size} {facts.st_mtime_ns}"


def unreadable(name: Path | str, reason: str) -> InputError:
    """An error in one line, with unprintable characters escaped."""
    return InputError("".join(map(_visible, readable(f"{name}: {reason}"))))


# Soft hyphens, zero-width spaces and marks of direction. The joiners stay: Persian and Indic names
# are spelt with them.
_INVISIBLE = dict.fromkeys([0xAD, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), 0x2060, 0xFEFF])


def normalise_person(person: str) -> str:
    """A person's name as it is stored and compared: NFC, in valid Unicode, all of it visible.

    macOS returns decomposed names (`e` and an accent), other systems mostly composed ones; the same
    person enrolled from both must be one. The path itself keeps its bytes.
    """
    return unicodedata.normalize("NFC", readable(person).translate(_INVISIBLE))


def is_folder(path: Path) -> bool:
    """As `Path.is_dir`; false for an invalid path, such as one with NUL."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """As `Path.is_file`; false for an invalid path, such as one with NUL."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def folder_name(folder: Path) -> str:
    """The name of a folder as it was given.

    Raises:
        UsageError: it is the root folder, which has none.
    """
    # Not `resolve`: a linked folder keeps the name that the user gave.
    name = folder.absolute().name
    if name in ("", ".."):
        name = folder.resolve().name
    if not name:
        raise UsageError(f"{folder}: this folder's name names nobody; give --name")
    return name


def _visible(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]
