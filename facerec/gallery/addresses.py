"""Galleries by address: a path, or a URL whose scheme names the backend."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facerec.card import ModelCard
from facerec.errors import UsageError
from facerec.files.writing import check_output
from facerec.gallery.base import Backend, GalleryStore
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
        create: the card of a new gallery, made if there is none.

    Raises:
        MissingError: it is absent and `create` is None, or damaged.
        IncompatibleError: it was built with another model than `create`'s.
        UsageError: another process is writing it, or it cannot be written.
    """
    address = str(address)
    backend = backend_of(address)
    with backend.locked(address):
        if create is not None and not backend.exists(address):
            store = backend.create(address, create)
        else:
            store = backend.open(address, create)
            if create is not None:
                create.require_same_model(store.card, address)
        yield store
        store.commit()


def extend(store: GalleryStore, other: GalleryStore, where: str = "the other gallery") -> None:
    """Add another gallery's entries, except photos that the person already has, by content.

    Args:
        where: the other's name in an error.

    Raises:
        IncompatibleError: it was built with another model.
    """
    store.card.require_same_model(other.card, where)
    if len(other):
        record_points(store, points_recorded(other.card))
    for batch in other.batches():
        photos = zip(batch.person, batch.sha256, strict=True)
        new = [
            row
            for row, (person, sha256) in enumerate(photos)
            if not (sha256 and store.holds(person, sha256))
        ]
        if new:
            store.append(batch.take(new))


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
