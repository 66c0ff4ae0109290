"""People of a gallery in memory: their numbers, names and rows by photo."""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from facerec.errors import UsageError, did_you_mean
from facerec.gallery.entries import Base, Lookup, Rows, as_texts
from facerec.imaging.photos import normalise_person


class Names:
    """Names by number: the file's in its order, then added ones.

    Args:
        base: `(P,)` UTF-8 bytes, padded.
    """

    def __init__(self, base: NDArray[np.bytes_]) -> None:
        self._base = base
        self._lookup: Lookup | None = None
        self._changed: dict[int, str] = {}
        self._numbers: dict[str, int | None] = {}
        self._count = len(base)

    def __len__(self) -> int:
        """Numbers assigned so far."""
        return self._count

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.find(name) is not None

    def find(self, name: str) -> int | None:
        """The number of exactly that name, or None."""
        if name in self._numbers:
            return self._numbers[name]
        if self._lookup is None:
            self._lookup = Lookup(self._base)
        return self._lookup.find(name)

    def number(self, name: str) -> int:
        """The number of whoever a name calls (see `stored_name`).

        Raises:
            UsageError: there is no such person; suggests the nearest name.
        """
        number = self.find(stored_name(name, self))
        if number is None:
            raise unknown_person(name, self.all())
        return number

    def name(self, number: int) -> str:
        if number in self._changed:
            return self._changed[number]
        return bytes(self._base[number]).decode("utf-8", "surrogateescape")

    def all(self) -> list[str]:
        """Every number's name, in order, including dropped ones."""
        names: list[str] = as_texts(self._base).tolist() + [""] * (self._count - len(self._base))
        for number, name in self._changed.items():
            names[number] = name
        return names

    def append(self, name: str) -> int:
        number, self._count = self._count, self._count + 1
        self._changed[number] = name
        self._numbers[name] = number
        return number

    def rename(self, number: int, name: str) -> None:
        self._numbers[self.name(number)] = None
        self._changed[number] = name
        self._numbers[name] = number

    def drop(self, number: int) -> None:
        """Forget a name; its number is not reused."""
        self._numbers[self.name(number)] = None


def unknown_person(name: str, people: Iterable[str]) -> UsageError:
    """The error for an unknown person, with the nearest name."""
    return UsageError(f"the gallery holds nobody called {name}{did_you_mean(name, people)}")


def spellings(name: str) -> tuple[str, ...]:
    """How a gallery may store a name that somebody writes: as it is written, composed (NFC) as
    here, or decomposed (NFD) as galleries that others made on macOS."""
    composed = normalise_person(name)
    return name, composed, unicodedata.normalize("NFD", composed)


def stored_name(name: str, people: Container[str]) -> str:
    """A name that somebody writes as a gallery with these people stores it; see `spellings`."""
    return next((one for one in spellings(name) if one in people), normalise_person(name))


def renamed(old: str, new: str, people: Container[str]) -> str:
    """The name that renaming a person gives, as `stored_name`: of another spelling of the person's
    own name the composed one."""
    stored = stored_name(new, people)
    return normalise_person(new) if stored == stored_name(old, people) else stored


LONGEST_NAME = 255
"""Bytes in UTF-8: folders are named after people, and most file systems end here."""

# Zero-width joiners, which Persian and Indic names are spelt with, are not printable to Python.
_JOINERS = dict.fromkeys((0x200C, 0x200D))


def check_name(name: str) -> None:
    """Refuse names that cannot be a folder, a line of a list or a label.

    Raises:
        UsageError: the name is empty, `.` or `..`, or holds a slash or a control character.
    """
    visible = name.translate(_JOINERS)
    if name.strip(" .") == "" or set(name) & {"/", "\\"} or not visible.isprintable():
        raise UsageError(f"{name!r} is no usable name: give printable characters without a slash")


def check_new_name(name: str) -> None:
    """As `check_name`, for names that a gallery does not hold yet.

    Raises:
        UsageError: also if it is longer than a folder's name can be.
    """
    check_name(name)
    size = len(name.encode("utf-8", "surrogateescape"))
    if size > LONGEST_NAME:
        raise UsageError(
            f"{name[:32]}…: a name of {size} bytes; give at most {LONGEST_NAME}, as folders have"
        )


@dataclass(slots=True)
class Album:
    """A person's rows.

    Attributes:
        by_source: rows by photo.
        hashes: the photo's SHA-256 by row.
    """

    by_source: dict[str, list[int]] = field(default_factory=dict)
    hashes: dict[int, str] = field(default_factory=dict)

    def put(self, row: int, source: str, sha256: str) -> None:
        """Add a photo's row."""
        self.by_source.setdefault(source, []).append(row)
        self.hashes[row] = sha256

    def pop(self, source: str) -> list[int]:
        """Remove and return a photo's rows."""
        rows = self.by_source.pop(source, [])
        for row in rows:
            del self.hashes[row]
        return rows

    @property
    def rows(self) -> list[int]:
        """All rows, ascending."""
        return sorted(self.hashes)


class Albums:
    """Albums by person's number, each built from the file's columns on first access.

    Args:
        base: the file's columns.
    """

    def __init__(self, base: Base) -> None:
        self._base = base
        self._order: tuple[Rows, Rows] | None = None
        self._albums: dict[int, Album] = {}

    def add(self, number: int) -> None:
        """Start an empty album."""
        self._albums[number] = Album()

    def of(self, number: int) -> Album:
        """A person's album."""
        if number not in self._albums:
            if self._order is None:
                order = np.argsort(self._base.person, kind="stable")
                people = np.arange(len(self._base.people) + 1)
                self._order = order, np.searchsorted(self._base.person, people, sorter=order)
            order, starts = self._order
            rows = order[starts[number] : starts[number + 1]]
            taken, album = self._base.take(rows), Album()
            for row, source, sha256 in zip(rows.tolist(), taken.source, taken.sha256, strict=True):
                album.put(row, source, sha256)
            self._albums[number] = album
        return self._albums[number]
