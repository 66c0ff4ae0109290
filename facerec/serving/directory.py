"""People of the gallery: who there is, and every change but enrolment's own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from facerec.errors import UsageError
from facerec.faces import Floats
from facerec.gallery.base import GalleryStore, Where
from facerec.gallery.match import Matcher
from facerec.gallery.people import check_new_name
from facerec.imaging.photos import normalise_person
from facerec.serving.audit import Audit
from facerec.serving.entries import (
    Entry,
    Search,
    entries_of,
    expired,
    find_entry,
    rows_of,
    vector_of,
)
from facerec.serving.failures import RequestError
from facerec.serving.people import People

Result = TypeVar("Result")


class Directory:
    """The gallery's people, and what can be done with them.

    Args:
        people: the gallery.
        audit: told of each change.
    """

    def __init__(self, people: People, audit: Audit) -> None:
        self._people = people
        self._audit = audit

    async def read(self, function: Callable[[GalleryStore], Result]) -> Result:
        """What a function reads from the newest gallery.

        Raises:
            RequestError: there is no gallery.
        """
        return await self._people.read(function)

    async def matcher(self) -> Matcher:
        """The newest gallery's matcher, for its threshold and metric.

        Raises:
            RequestError: there is no gallery.
        """
        return (await self._people.deciding())[1]

    async def people(self, where: Where | None = None) -> dict[str, int]:
        """Faces per person.

        Args:
            where: metadata of the faces that count.
        """
        return await self._people.read(lambda store: store.counts(where))

    async def faces_of(self, person: str) -> list[Entry]:
        """A person's entries.

        Raises:
            RequestError: the person is unknown.
        """
        return await self._people.read(lambda store: entries_of(store, person))

    async def face(self, face: str, person: str | None = None) -> Entry:
        """The entry with an id.

        Raises:
            RequestError: there is none, or that person has none.
        """
        return (await self._found(face, person))[1]

    async def vector(self, face: str) -> tuple[Entry, Floats]:
        """The entry with an id, and its vector `(D,) float32`.

        Raises:
            RequestError: there is none.
        """
        store, entry = await self._found(face, None)
        return entry, await self._people.read(lambda _: vector_of(store, entry))

    async def _found(self, face: str, person: str | None) -> tuple[GalleryStore, Entry]:
        """An entry and the gallery that holds it. Other requests are answered while it is looked
        for."""
        store, search = await self._people.read(lambda store: (store, Search(store, face, person)))
        while (entry := await self._people.read(lambda _: search.step())) is None:
            pass
        return store, entry

    async def rename(self, person: str, name: str) -> str:
        """Give a person another name; returns it as it is stored.

        Raises:
            RequestError: the person is unknown, or the name is taken or unusable.
        """
        name = usable_name(name)

        def rename(store: GalleryStore) -> int:
            faces = len(rows_of(store, person))
            try:
                store.rename(person, name)
            except UsageError as error:
                raise RequestError(409, "name_taken", str(error)) from error
            return faces

        def note(faces: int) -> None:
            self._audit.note("rename", person, ids=[], faces=faces, to=name)

        await self._people.change(rename, note)
        return name

    async def merge(self, person: str, into: str) -> None:
        """Make all faces of a person another's.

        Raises:
            RequestError: one of them is unknown, or they are the same.
        """

        def merge(store: GalleryStore) -> int:
            faces, _ = (len(rows_of(store, one)) for one in (person, into))
            if person == into:
                raise RequestError(409, "same_person", f"{person} cannot be merged into itself")
            store.merge(person, into)
            return faces

        def note(faces: int) -> None:
            self._audit.note("merge", person, ids=[], faces=faces, to=into)

        await self._people.change(merge, note)

    async def delete_person(self, person: str) -> int:
        """Remove a person and all their faces; returns how many.

        Raises:
            RequestError: the person is unknown.
        """

        def remove(store: GalleryStore) -> int:
            rows_of(store, person)
            return store.remove(person)

        def note(faces: int) -> None:
            self._audit.note("delete", person, ids=[], faces=faces)

        return await self._people.change(remove, note)

    async def delete_everybody(self) -> dict[str, int]:
        """Remove all people in one change; returns how many faces each had."""

        def remove(store: GalleryStore) -> dict[str, int]:
            counts = store.counts()
            for person in counts:
                store.remove(person)
            return counts

        def note(counts: dict[str, int]) -> None:
            for person, faces in counts.items():
                self._audit.note("delete", person, ids=[], faces=faces)

        return await self._people.change(remove, note)

    async def delete_face(self, face: str, person: str | None = None) -> tuple[Entry, int]:
        """Remove what one photo gave; returns the entry that had the id, and how many faces went.

        Args:
            face: the id.
            person: whose it must be.

        Raises:
            RequestError: there is none.
        """

        def remove(store: GalleryStore) -> tuple[Entry, int]:
            entry = find_entry(store, face, person)
            return entry, store.remove_source(entry.person, entry.source)

        def note(removed: tuple[Entry, int]) -> None:
            entry, faces = removed
            self._audit.note("delete", entry.person, ids=[entry.id], faces=faces)

        return await self._people.change(remove, note)

    async def expire(self, before: datetime) -> int:
        """Remove the faces that were enrolled over HTTP before a time; returns how many.

        Raises:
            UsageError: the gallery cannot be written.
        """

        def remove(store: GalleryStore) -> list[Entry]:
            entries = expired(store, before)
            for person, source in dict.fromkeys((one.person, one.source) for one in entries):
                store.remove_source(person, source)
            return entries

        def note(entries: list[Entry]) -> None:
            of: dict[str, list[str]] = {}
            for entry in entries:
                of.setdefault(entry.person, []).append(entry.id)
            for person, ids in of.items():
                self._audit.note("expire", person, ids=ids, faces=len(ids))

        if not await self._people.read(lambda store: expired(store, before)):
            return 0
        removed: list[Entry] = await self._people.change(remove, note, rewrite=True)
        return len(removed)


def usable_name(name: str) -> str:
    """A person's name as it is stored.

    Raises:
        RequestError: it is none.
    """
    name = normalise_person(name)
    try:
        check_new_name(name)
    except UsageError as error:
        raise RequestError(422, "unusable_name", str(error)) from error
    return name
