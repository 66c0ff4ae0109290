"""Which of a gallery's rows are whose, by photo."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from facerec.gallery.entries import Base, Rows


@dataclass(slots=True)
class Album:
    """A person's rows.

    Attributes:
        by_source: those of each photo.
        hashes: of the photo that each row is from.
    """

    by_source: dict[str, list[int]] = field(default_factory=dict)
    hashes: dict[int, str] = field(default_factory=dict)

    def put(self, row: int, source: str, sha256: str) -> None:
        """Add a photo's row."""
        self.by_source.setdefault(source, []).append(row)
        self.hashes[row] = sha256

    def pop(self, source: str) -> list[int]:
        """Take out a photo's rows."""
        rows = self.by_source.pop(source, [])
        for row in rows:
            del self.hashes[row]
        return rows

    @property
    def rows(self) -> list[int]:
        """All of them, ascending."""
        return sorted(self.hashes)


class Albums:
    """The albums of people by number, each read from a gallery's columns when it is first asked
    for.

    Args:
        base: what the gallery was opened with.
    """

    def __init__(self, base: Base) -> None:
        self._base = base
        self._order: tuple[Rows, Rows] | None = None
        self._albums: dict[int, Album] = {}

    def add(self, number: int) -> None:
        """Begin an empty album, or empty one."""
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
