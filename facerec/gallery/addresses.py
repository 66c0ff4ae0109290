"""Galleries by address: a path, or a URL whose scheme names the backend."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from facerec.card import ModelCard
from facerec.errors import UsageError
from facerec.files.writing import check_output
from facerec.gallery.base import Backend, Batch, GalleryStore
from facerec.gallery.people import stored_name
from facerec.gallery.points import points_recorded, record_points
from facerec.registry import GALLERIES

_SHARE = 0.05


def backend_of(address: str | Path) -> Backend:
    """The backend registered for an address's URL scheme; a bare path is a file.

    Raises:
        UsageError: no backend has that scheme.
    """
    scheme = scheme_of(str(address))
    if scheme not in GALLERIES:
        known = ", ".join(f"{name} ({help_})" for name, help_ in GALLERIES.summaries().items())
        raise UsageError(f"{address}: no gallery can lie in {scheme}://; there are {known}")
    backend: Backend = GALLERIES.get(scheme).target()
    return backend


def scheme_of(address: str) -> str:
    """The URL scheme of an address; `file` for a bare path."""
    scheme, separator, _ = address.partition("://")
    return scheme if separator else "file"


def open_gallery(address: str | Path, *, assume: ModelCard | None = None) -> GalleryStore:
    """Open a gallery for reading.

    Args:
        address: a path or a URL.
        assume: the card for an older file, which carries none.

    Raises:
        MissingError: it is absent, damaged or no gallery.
        UsageError: the address names no backend.
    """
    return backend_of(address).open(str(address), assume)


@contextmanager
def changing(address: str | Path, create: ModelCard | None = None) -> Iterator[GalleryStore]:
    """Lock a gallery, and commit the block's changes unless it raises.

    Args:
        create: the model's card, for a new gallery, made if there is none.

    Raises:
        MissingError: it is absent and `create` is None, or damaged.
        IncompatibleError: it was built with another model than `create`'s.
        UsageError: another process is writing it, or it cannot be written.
    """
    address = str(address)
    backend = backend_of(address)
    with backend.locked(address):
        if create is not None and not backend.exists(address):
            store = backend.create(address, create.for_gallery())
        else:
            store = backend.open(address, create)
            if create is not None:
                create.require_same_model(store.card, address)
        yield store
        store.commit()


def extend(store: GalleryStore, other: GalleryStore, where: str = "the other gallery") -> None:
    """Add another gallery's entries, except what the person has already: photos of that content,
    and where their content is unknown, as in galleries of others, vectors of that source.

    Args:
        where: the other's name in an error.

    Raises:
        IncompatibleError: it was built with another model.
    """
    store.card.require_same_model(other.card, where)
    if len(other):
        record_points(store, points_recorded(other.card))
    people, before = store.counts(), _Before(store)
    for batch in other.batches():
        names = {name: stored_name(name, people) for name in dict.fromkeys(batch.person)}
        named = replace(batch, person=[names[name] for name in batch.person])
        if new := [row for row in range(len(named)) if not before.held(named, row)]:
            store.append(named.take(new))


class _Before:
    """What a gallery held before entries are added to it.

    Args:
        store: the gallery; entries that this says it did not hold are added to it meanwhile.
    """

    def __init__(self, store: GalleryStore) -> None:
        self._store = store
        self._new: set[tuple[str, str]] = set()
        self._vectors: dict[str, frozenset[tuple[str, bytes]]] = {}

    def held(self, batch: Batch, row: int) -> bool:
        """Whether it held an entry of the batch."""
        person, sha256 = batch.person[row], batch.sha256[row]
        if not sha256:
            if person not in self._vectors:
                self._vectors[person] = frozenset(self._without_content(person))
            return (batch.source[row], batch.embeddings[row].tobytes()) in self._vectors[person]
        if (person, sha256) not in self._new and self._store.holds(person, sha256):
            return True
        # A photo of several faces is several entries.
        self._new.add((person, sha256))
        return False

    def _without_content(self, person: str) -> Iterator[tuple[str, bytes]]:
        """Source and vector of a person's entries whose photo's content is unknown."""
        try:
            known = self._store.person(person)
        except UsageError:
            return  # nobody, or not committed yet
        for source, sha256, vector in zip(
            known.source, known.sha256, known.embeddings, strict=True
        ):
            if not sha256:
                yield source, vector.tobytes()


def local_path(address: str | Path) -> Path | None:
    """The file or folder of a gallery; None for one on a server."""
    return backend_of(address).local_path(str(address))


def check_place(address: str | Path, *sources: str | Path) -> None:
    """Find out before the work whether a gallery can be written; one on a server shows it later.

    Args:
        sources: addresses that the command reads.

    Raises:
        UsageError: it is one of the sources, or its place cannot be written.
    """
    place = local_path(address)
    if place is not None and not place.is_dir():
        check_output(place, inputs=filter(None, map(local_path, sources)))


class Saver:
    """Commits a growing gallery periodically.

    Args:
        gallery: committed.
        changed: the gallery is new or changed: commit at once, so that a place that cannot be
            written is found before the work.
        share: of the run time that commits may take; 0: commit only in `save`.
    """

    def __init__(self, gallery: GalleryStore, *, changed: bool, share: float | None = None) -> None:
        self._gallery = gallery
        self._share = _SHARE if share is None else share
        self._changed = changed
        self._seconds = 0.0
        self.save()

    def note_change(self) -> None:
        """Tell of a change; commits if that stays within `share` of the time."""
        self._changed = True
        if (time.monotonic() - self._ended) * self._share > self._seconds:
            self.save()

    def save(self) -> None:
        """Commit outstanding changes."""
        if self._changed:
            start = time.monotonic()
            self._gallery.commit()
            self._seconds = time.monotonic() - start
            self._changed = False
        self._ended = time.monotonic()
