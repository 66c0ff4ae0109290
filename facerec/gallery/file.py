"""Galleries that are HDF5 files: the backend of addresses that are paths."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from facerec.card import ModelCard
from facerec.gallery import lock
from facerec.gallery.gallery import Gallery


def open(address: str, assume: ModelCard | None) -> Gallery:
    """See `Gallery.open`."""
    return Gallery.open(address, assume=assume)


def create(address: str, card: ModelCard) -> Gallery:
    """An empty gallery that `commit` writes to the path."""
    return Gallery(card, path=Path(address))


def exists(address: str) -> bool:
    return Path(address).exists()


def locked(address: str) -> AbstractContextManager[None]:
    """See `facerec.gallery.lock.locked`."""
    return lock.locked(Path(address))


def version(address: str) -> object:
    """Time and size of the file; None where there is none."""
    try:
        facts = Path(address).stat()
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size


def verify(address: str) -> Gallery:
    """The gallery, whose stored mean vectors are those of its entries.

    Raises:
        MissingError: it is absent or damaged.
    """
    from facerec.gallery.hdf5 import check_templates

    opened = Gallery.open(address)
    check_templates(Path(address), opened)
    return opened
