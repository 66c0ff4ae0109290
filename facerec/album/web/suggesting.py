"""Suggestions for the page: "is this Anna?", one person after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from facerec.album.asking import suggest
from facerec.album.certainty import probabilities
from facerec.album.faces import read_columns, read_face
from facerec.album.known import NOBODY
from facerec.album.records import FaceColumns, lasting_id
from facerec.album.store import Album
from facerec.album.suggesting import Suggestion
from facerec.album.web.library import Library, Shown

_SECONDS = 1.0
"""After which an answer goes out, whoever is still to be looked at."""
_SHOWN = 6
"""Faces of a person, or of a group in question."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What to ask the user.

    Attributes:
        items: questions as JSON, about one person, the surest first.
        last: the last person who was looked at.
        complete: whether nobody is left to look at.
    """

    items: list[dict[str, Any]]
    last: int | None
    complete: bool


class Asker:
    """Finds what to ask; keeps the album's vectors in memory from the first question on."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._looking = threading.Lock()
        self._key: tuple[Any, ...] | None = None
        self._columns: FaceColumns | None = None

    def about(self, person: int, limit: int) -> Asked:
        """Questions about one person."""
        shown = self._library.person(person)
        return self._ask([] if shown is None else [shown], limit)

    def after(self, person: int | None, limit: int) -> Asked:
        """Questions about the first who has any, of people with names, those with most faces first.

        Args:
            person: whom to begin after; None: with the first.
        """
        named = [one for one in self._library.people() if one.person.name is not None]
        places = [place for place, one in enumerate(named, 1) if one.person.id == person]
        return self._ask(named[places[0] if places else 0 :], limit)

    def _ask(self, people: Sequence[Shown], limit: int) -> Asked:
        if not people:
            return Asked([], None, True)
        with self._library.reading() as album:
            return self._look(album, people, limit)

    def _look(self, album: Album, people: Sequence[Shown], limit: int) -> Asked:
        with self._looking:
            columns = self._read(album)
        end = time.monotonic() + _SECONDS
        for place, shown in enumerate(people, 1):
            found = suggest(album, shown.person.id, columns=columns, limit=limit)
            if found or time.monotonic() > end:
                chances = probabilities(
                    album, columns, shown.person.id, [one.faces for one in found]
                )
                items = self._describe(album, shown, found, chances)
                return Asked(items, shown.person.id, place == len(people))
        return Asked([], people[-1].person.id, True)

    def _read(self, album: Album) -> FaceColumns:
        """All faces as they are now; vectors are read again only after a scan."""
        key = album.row("SELECT count(*), max(id) FROM faces")
        assert key is not None, "a count is a row"
        key = (*key, album.meta("model"))
        if self._columns is None or key != self._key:
            self._columns, self._key = read_columns(album), key
        who: dict[int, int | None] = dict(album.rows("SELECT id, person FROM faces"))
        person = [who.get(face) for face in self._columns.ids.tolist()]
        return replace(
            self._columns,
            person=np.array([NOBODY if one is None else one for one in person], np.int64),
        )

    def _describe(
        self, album: Album, shown: Shown, found: Sequence[Suggestion],
        chances: Sequence[float | None],
    ) -> list[dict[str, Any]]:  # fmt: skip
        whom = shown.person
        told = {"id": whom.id, "person": lasting_id(whom.id), "name": whom.name}
        examples = self._library.examples(whom.id, _SHOWN)
        items = []
        for one, chance in zip(found, chances, strict=True):
            first = read_face(album, one.faces[0])
            if first is None:
                # Forgotten meanwhile.
                continue
            items.append(
                {
                    "person": told,
                    "examples": [face for face in examples if face not in one.faces],
                    "faces": one.faces[:_SHOWN],
                    "group": None if one.group in (NOBODY, whom.id) else one.group,
                    "count": len(one.faces),
                    "photo": first.photo,
                    "taken": first.taken,
                    "similarity": round(one.similarity, 4),
                    "probability": None if chance is None else round(chance, 6),
                }
            )
        return items
