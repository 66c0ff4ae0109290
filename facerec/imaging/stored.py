"""Images that are no files of their own: in an archive, or behind a URL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path, PurePosixPath

from facerec.errors import InputError, UsageError
from facerec.imaging.archives import (
    Source,
    archive_stem,
    is_archive,
    open_archive,
    open_source,
    read_labels,
)
from facerec.imaging.remote import Remote, file_name

IMAGE_SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".apng",
        ".webp",
        ".gif",
        ".tif",
        ".tiff",
        ".bmp",
        ".pnm",
        ".pbm",
        ".pgm",
        ".ppm",
    }
)
"""Lower-case endings of the files that are taken from a folder."""


def is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


@dataclass(frozen=True, slots=True)
class Stored:
    """An image that is no file of its own.

    Attributes:
        name: where it is: `people.tar/ann/1.jpg`, `s3://bucket/people/ann/1.jpg`.
        read: gives its bytes; raises `InputError`.
        key: its name within its collection.
        stamp: changes when it may have changed; empty where that is not known.
    """

    name: str
    read: Callable[[], bytes]
    key: str = ""
    stamp: str = ""

    def __str__(self) -> str:
        return self.name


Photo = Path | Stored
"""An image, wherever it is."""


class Collection:
    """The images of an archive, or of a folder that a URL names, sorted, without hidden ones.

    Args:
        source: where they are.
        stamp: changes when they may have changed.
    """

    def __init__(self, source: Source, stamp: str = "") -> None:
        self._source = source
        self._stamp = stamp
        names = [name for name in source.names() if is_image(name) and not _hides(name)]
        # As folders are walked, so that a tree and its tar are in the same order.
        self._names = sorted(names, key=lambda name: name.split("/"))

    def __iter__(self) -> Iterator[Stored]:
        where = self._source.name.rstrip("/")
        for name in self._names:
            yield Stored(f"{where}/{name}", partial(self._source.read, name), name, self._stamp)

    def owner(self, photo: Stored) -> str:
        """Whose image it is: its WebDataset's label, or else the folder it is in.

        Of the folders that all images share the last is the root. What is in a folder of it,
        however deep, is of the person that folder is called after; what is directly in it, of the
        person the root is called after; without a root, the archive.

        Raises:
            InputError: a label cannot be read.
        """
        if photo.key in self._labels:
            return self._labels[photo.key]
        below = photo.key.split("/")[len(self._shared) :]
        if len(below) > 1:
            return below[0]
        if self._shared:
            return self._shared[-1]
        return archive_stem(PurePosixPath(self._source.name).name)

    @cached_property
    def _labels(self) -> dict[str, str]:
        return read_labels(self._source)

    @cached_property
    def _shared(self) -> list[str]:
        shared = []
        for level in zip(*(name.split("/")[:-1] for name in self._names), strict=False):
            if len(set(level)) > 1:
                break
            shared.append(level[0])
        return shared


def open_local(path: Path) -> Collection:
    """The images of a tar or zip.

    Raises:
        InputError: it is neither, or cannot be read.
    """
    try:
        return Collection(open_source(path), stamp_of(path))
    except UsageError as error:
        raise InputError(str(error)) from error


def stamp_of(path: Path) -> str:
    """What changes when a file does, without reading it; empty where it cannot be looked at."""
    try:
        facts = path.stat()
    except (OSError, ValueError):
        return ""
    return f"{facts.st_size} {facts.st_mtime_ns}"


def open_url(url: str) -> Stored | Collection:
    """The image, archive or folder that a URL names, by its ending.

    Raises:
        MissingError: fsspec, or the package that it needs for this URL, is not installed.
        UsageError: fsspec does not know such URLs.
        InputError: it cannot be read.
    """
    place = Remote(url)
    name = file_name(url)
    if is_image(name):
        return Stored(place.name, place.read_file)
    if is_archive(name):
        try:
            return Collection(open_archive(place.name, place.open()))
        except UsageError as error:
            raise InputError(str(error)) from error
    return Collection(place)


def unreadable(name: str, error: InputError) -> Stored:
    """What could not be opened, to be reported in its place."""

    def fail() -> bytes:
        raise error

    return Stored(name, fail)


def _hides(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))
