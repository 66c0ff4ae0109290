"""An album as the page reads it: people by number of faces, pages of their faces, photos."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facerec.album.people import find_person, read_people
from facerec.album.records import Person
from facerec.album.store import Album, open_album
from facerec.errors import UsageError

# Of a photo that lies nowhere any more, nothing is listed anywhere.
_LISTED = "EXISTS (SELECT 1 FROM places WHERE places.photo = faces.photo)"


@dataclass(frozen=True, slots=True)
class Shown:
    """A person in the grid.

    Attributes:
        confirmed: how many of the faces the user confirmed.
        cover: the face that stands for the person.
        folded: the name as it is searched.
    """

    person: Person
    confirmed: int
    cover: int
    folded: str


class Library:
    """One album, read and changed from the threads of a server.

    Attributes:
        path: of its file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._writer = open_album(path)
        # Versions of the data are told to one connection alone.
        self._lister = open_album(path, write=False)
        self._readers: list[Album] = []
        self._idle: list[Album] = []
        self._changing = threading.Lock()
        self._listing = threading.Lock()
        self._version = -1
        self._people: list[Shown] = []

    def close(self) -> None:
        """Close the album."""
        for one in (*self._readers, self._lister, self._writer):
            one.close()

    @contextmanager
    def reading(self) -> Iterator[Album]:
        """The album for queries, each change seen as soon as it is committed.

        By a connection that no other thread has meanwhile: of those that share one, Python 3.12 and
        later give one the rows that another has asked for.
        """
        try:
            reader = self._idle.pop()
        except IndexError:
            reader = open_album(self.path, write=False)
            self._readers.append(reader)
        try:
            yield reader
        finally:
            self._idle.append(reader)

    @contextmanager
    def changing(self) -> Iterator[Album]:
        """The album to change, for one thread at a time."""
        with self._changing:
            yield self._writer

    def people(self) -> Sequence[Shown]:
        """People with faces, those with most first; read again only after a change."""
        with self._listing:
            # Another connection's commits count, which the writer's are too.
            found = self._lister.row("PRAGMA data_version")
            assert found is not None, "a pragma that is read has a value"
            if found[0] != self._version:
                self._people = _read_known(self._lister)
                self._version = found[0]
            return self._people

    def person(self, number: int) -> Shown | None:
        """A person with faces, by number."""
        return next((one for one in self.people() if one.person.id == number), None)

    def find(self, text: str, kind: str = "all") -> Sequence[Shown]:
        """People whose name or lasting id holds a text, in any case and with or without accents.

        Args:
            kind: `named`, `unnamed` or `all`.
        """
        people = self.people()
        if kind != "all":
            people = [one for one in people if (one.person.name is None) == (kind == "unnamed")]
        wanted = fold(text)
        return [one for one in people if wanted in one.folded] if wanted else people

    def find_one(self, text: str) -> Shown | None:
        """Whom a name or lasting id means on the command line; None: nobody with faces."""
        try:
            with self.reading() as album:
                number = find_person(album, text)
        except UsageError:
            return None
        return self.person(number)

    def faces(
        self, person: int | None, offset: int, limit: int
    ) -> tuple[int, list[dict[str, Any]]]:
        """How many faces a person has, and some of them by time; None: faces that are nobody's."""
        where = f"person IS ? AND {_LISTED}"
        with self.reading() as album:
            counted = album.row(f"SELECT count(*) FROM faces WHERE {where}", (person,))
            rows = list(
                album.rows(
                    "SELECT faces.id, photo, taken, quality, state FROM faces JOIN photos ON"
                    f" photos.id = photo WHERE {where} ORDER BY taken IS NULL, taken, faces.id"
                    " LIMIT ? OFFSET ?",
                    (person, limit, offset),
                )
            )
        assert counted is not None, "a count is a row"
        return counted[0], [
            {"face": face, "photo": photo, "taken": taken, "quality": quality,
             "confirmed": state == "confirmed"}
            for face, photo, taken, quality, state in rows
        ]  # fmt: skip

    def examples(self, person: int, limit: int) -> list[int]:
        """Faces to know a person by: confirmed ones first, then the best and the largest."""
        with self.reading() as album:
            rows = album.rows(
                f"SELECT faces.id FROM faces WHERE person = ? AND {_LISTED}"
                f" ORDER BY {_WORTH} DESC LIMIT ?",
                (person, limit),
            )
            return [face for (face,) in rows]

    def counts(self) -> dict[str, int]:
        """How many people, named people, and faces that are nobody's."""
        people = self.people()
        loose = self.faces(None, 0, 0)[0]
        named = sum(one.person.name is not None for one in people)
        return {"people": len(people), "named": named, "loose": loose}


# Without a measured quality the size of the face says how much there is to see.
_WORTH = "2 * (state = 'confirmed') + ifnull(quality, min(faces.x2 - faces.x1, 999) / 1000)"


def fold(text: str) -> str:
    """Text as names are searched: without case and accents."""
    apart = unicodedata.normalize("NFKD", text.strip().casefold())
    return "".join(one for one in apart if not unicodedata.combining(one))


def _read_known(album: Album) -> list[Shown]:
    covers = {
        person: (cover, confirmed)
        for person, cover, confirmed, _ in album.rows(
            # SQLite gives the other columns of the row that has the maximum.
            f"SELECT person, id, sum(state = 'confirmed'), max({_WORTH}) FROM faces"
            f" WHERE person IS NOT NULL AND {_LISTED} GROUP BY person"
        )
    }
    known = []
    for person in read_people(album):
        if person.id in covers:
            cover, confirmed = covers[person.id]
            known.append(Shown(person, confirmed, cover, fold(person.label)))
    known.sort(key=lambda one: (-one.person.faces, one.person.id))
    return known
