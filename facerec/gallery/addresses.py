"""A gallery's address decides its backend: opening, changing and extending galleries by address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from facerec.card import ModelCard
from facerec.errors import UsageError
from facerec.gallery.base import GalleryStore


class Backend(Protocol):
    """A kind of place that galleries lie in."""

    def open(self, address: str, assume: ModelCard | None) -> GalleryStore: ...

    def create(self, address: str, card: ModelCard) -> GalleryStore:
        """An empty gallery, which exists from its first commit on."""

    def exists(self, address: str) -> bool: ...

    def locked(self, address: str) -> AbstractContextManager[None]:
        """Hold the gallery for writing; readers are never blocked."""

    def version(self, address: str) -> object:
        """What changes with each commit; None where there is no gallery."""

    def tidy(self, store: Any) -> None:
        """Bring a new gallery, committed, to the form that depends on its entries alone."""

    def verify(self, address: str) -> GalleryStore:
        """Open a gallery and look at all that is in it.

        Raises:
            MissingError: it is absent or damaged.
        """


def backend_of(address: str | Path) -> Any:
    """The `Backend` that an address names: a path is an HDF5 file, `milvus+lite://path.db` and
    `milvus://host:19530/collection` are Milvus's.

    Raises:
        UsageError: the address names no backend.
    """
    scheme, separator, _ = str(address).partition("://")
    if not separator:
        from facerec.gallery.files import backend as files

        return files
    if scheme in ("milvus", "milvus+lite"):
        from facerec.gallery.milvus import backend as milvus

        return milvus
    raise UsageError(
        f"{address}: no gallery can lie in {scheme}://; give a path, milvus+lite://PATH.db or "
        "milvus://HOST:19530/COLLECTION"
    )


def open_gallery(address: str | Path, *, assume: ModelCard | None = None) -> GalleryStore:
    """Open a gallery for reading.

    Args:
        address: where it lies.
        assume: the card for an older file, which carries none.

    Raises:
        MissingError: it is absent, damaged or no gallery.
        UsageError: the address names no backend.
    """
    store: GalleryStore = backend_of(address).open(str(address), assume)
    return store


@contextmanager
def changing(address: str | Path, create: ModelCard | None = None) -> Iterator[GalleryStore]:
    """Hold a gallery for writing, and commit what the block changed if it ends well.

    Args:
        create: the card of the gallery to make where there is none.

    Raises:
        MissingError: it is absent and not to be made, or damaged.
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


def extend(store: GalleryStore, other: GalleryStore) -> None:
    """Add another gallery's entries, but for photos that their person has, by content.

    Raises:
        IncompatibleError: it was built with another model.
    """
    store.card.require_same_model(other.card, "the other gallery")
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
    """The file or folder that an address names; None for a gallery on a server."""
    scheme, separator, rest = str(address).rpartition("://")
    if not separator:
        return Path(address)
    return Path(rest) if scheme == "milvus+lite" else None
