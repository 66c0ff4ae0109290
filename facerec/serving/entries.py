"""Faces that were enrolled, by an id that lasts.

What is enrolled over HTTP has a UUID and its time of enrolment in its metadata. What came another
way has an id made of its person, its photo's name and content: another one after a renaming.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from facerec.card import similarity_to_distance
from facerec.errors import UsageError
from facerec.faces import Floats
from facerec.gallery.base import Batch, GalleryStore, Where
from facerec.gallery.entries import mean_vector
from facerec.gallery.records import entry_record
from facerec.serving.failures import RequestError

ID, ENROLLED = "id", "enrolled"
"""Keys of the metadata."""
SCHEME = "api://"
"""With an id: the source of what is enrolled over HTTP."""
_DERIVED = 5
"""The version of the UUIDs that are made of what an entry is (RFC 9562, 5.5)."""
_PART = 1000
"""Photos looked at in turn, for some milliseconds."""
_NAMESPACE = uuid.UUID("5a1fb4e2-6c0e-4f0a-9f6e-3b6c5f1f1c3e")


@dataclass(frozen=True, slots=True)
class Entry:
    """A photo that was enrolled for a person.

    Attributes:
        id: a UUID.
        person: whose.
        source: the photo, as the gallery names it.
        sha256: hex hash of its bytes, empty when unknown.
        score: the detector's, in [0, 1].
        quality: in [0, 1]; NaN when unknown.
        distance: from the person's mean vector, in the card's metric.
        meta: the metadata, without the id and the time.
        enrolled: when, in ISO 8601; None if it was not enrolled over HTTP.
    """

    id: str
    person: str
    source: str
    sha256: str
    score: float
    quality: float
    distance: float
    meta: Where
    enrolled: str | None

    def to_record(self) -> dict[str, Any]:
        """JSON values: those of `facerec gallery show`, and what only the server knows."""
        return {
            "id": self.id,
            **entry_record(
                self.person, self.source, self.distance, self.score, self.quality, self.meta
            ),
            "enrolled": self.enrolled,
        }


def new_meta(meta: Where | None) -> dict[str, str]:
    """Metadata of what is enrolled now: the given one, an id and the time.

    Raises:
        RequestError: the given one has these keys itself.
    """
    for key in (ID, ENROLLED):
        if key in (meta or {}):
            raise RequestError(422, "reserved_meta", f"meta: {key} is given by the server")
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {**(meta or {}), ID: str(uuid.uuid4()), ENROLLED: now}


def rows_of(store: GalleryStore, person: str, where: Where | None = None) -> Batch:
    """A person's entries.

    Raises:
        RequestError: the person is unknown.
    """
    try:
        return store.person(person, where)
    except UsageError as error:
        raise RequestError(404, "unknown_person", str(error)) from error


def entries_of(store: GalleryStore, person: str) -> list[Entry]:
    """A person's entries, in order.

    Raises:
        RequestError: the person is unknown.
    """
    rows = rows_of(store, person)
    cosines = rows.embeddings @ mean_vector(rows.embeddings)
    return [
        Entry(
            _id_of(rows.person[row], rows.source[row], rows.sha256[row], rows.meta[row]),
            rows.person[row],
            rows.source[row],
            rows.sha256[row],
            float(rows.score[row]),
            float(rows.quality[row]),
            similarity_to_distance(float(cosines[row]), store.card.metric),
            *_told_meta(rows.source[row], rows.meta[row]),
        )
        for row in range(len(rows))
    ]


class Search:
    """Looks for the entry with an id, a part of the gallery at a time: where nothing has it, as
    many hashes are made as there are photos.

    Args:
        store: not changed meanwhile.
        wanted: the id.
        person: whose it is, if that is known.
    """

    def __init__(self, store: GalleryStore, wanted: str, person: str | None = None) -> None:
        self._store = store
        self._wanted = wanted
        self._owners = _owners(store, wanted) if person is None else iter([person])

    def step(self) -> Entry | None:
        """The entry; None: look on.

        Raises:
            RequestError: there is none.
        """
        try:
            owner = next(self._owners)
        except StopIteration:
            told = f"no enrolled face has the id {self._wanted[:64]}"
            raise RequestError(404, "unknown_face", told) from None
        entries = [] if owner is None else entries_of(self._store, owner)
        return next((entry for entry in entries if entry.id == self._wanted), None)


def find_entry(store: GalleryStore, wanted: str, person: str | None = None) -> Entry:
    """The entry with an id; for the arguments see `Search`.

    Raises:
        RequestError: there is none.
    """
    search = Search(store, wanted, person)
    while (found := search.step()) is None:
        pass
    return found


def vector_of(store: GalleryStore, entry: Entry) -> Floats:
    """An entry's vector `(D,) float32`.

    Args:
        store: the gallery that gave the entry.
    """
    rows = rows_of(store, entry.person)
    place = [other.id for other in entries_of(store, entry.person)].index(entry.id)
    vector: Floats = rows.embeddings[place]
    return vector


def expired(store: GalleryStore, before: datetime) -> list[Entry]:
    """Entries that were enrolled over HTTP before a time."""
    owners: dict[str, None] = {}
    for batch in store.batches():
        for person, source, meta in zip(batch.person, batch.source, batch.meta, strict=True):
            if _is_ours(source, meta) and _is_before(meta.get(ENROLLED), before):
                owners[person] = None
    return [
        entry
        for person in owners
        for entry in entries_of(store, person)
        if _is_before(entry.enrolled, before)
    ]


def _is_before(enrolled: str | None, moment: datetime) -> bool:
    if enrolled is None:
        return False
    try:
        return datetime.fromisoformat(enrolled) < moment
    except (ValueError, TypeError):
        return False


def _owners(store: GalleryStore, wanted: str) -> Iterator[str | None]:
    """Who may have an entry with that id; None after each part of the gallery."""
    for batch in store.batches(where={ID: wanted}):
        for person, source, meta in zip(batch.person, batch.source, batch.meta, strict=True):
            if _is_ours(source, meta):
                yield person
    if not _may_be_derived(wanted):
        return
    for number, (person, source, sha256) in enumerate(store.photos(), start=1):
        if _derived_id(person, source, sha256) == wanted:
            yield person
        if number % _PART == 0:
            yield None


def _may_be_derived(wanted: str) -> bool:
    try:
        return uuid.UUID(wanted).version == _DERIVED
    except ValueError:
        return False


def _is_ours(source: str, meta: Where) -> bool:
    """Whether an entry was enrolled over HTTP: others may have metadata of these names, too."""
    return ID in meta and source == f"{SCHEME}{meta[ID]}"


def _id_of(person: str, source: str, sha256: str, meta: Where) -> str:
    return meta[ID] if _is_ours(source, meta) else _derived_id(person, source, sha256)


def _told_meta(source: str, meta: Where) -> tuple[Where, str | None]:
    """An entry's metadata as it was given, and when it was enrolled over HTTP."""
    if not _is_ours(source, meta):
        return meta, None
    return {key: value for key, value in meta.items() if key not in (ID, ENROLLED)}, meta.get(
        ENROLLED
    )


def _derived_id(person: str, source: str, sha256: str) -> str:
    told = "\0".join((person, source, sha256)).encode("utf-8", "surrogateescape")
    return str(uuid.uuid5(_NAMESPACE, told.hex()))
