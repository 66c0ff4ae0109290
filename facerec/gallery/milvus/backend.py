"""The Milvus backend: `milvus+lite://path.db` and `milvus://host:19530/collection`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np

from facerec.card import ModelCard
from facerec.errors import IncompatibleError, MissingError
from facerec.files import locking
from facerec.gallery.memory import MemoryGallery
from facerec.gallery.milvus.client import connect, explained, parse_address
from facerec.gallery.milvus.gallery import MilvusGallery
from facerec.gallery.milvus.schema import VERSION, read_state
from facerec.registry import GALLERIES


@GALLERIES.register("milvus+lite", help="milvus+lite://PATH.db, Milvus Lite in this process.")
@GALLERIES.register("milvus", help="milvus://HOST:19530/COLLECTION, a Milvus server.")
class MilvusBackend:
    """`Backend` of Milvus, embedded or on a server."""

    def local_path(self, address: str) -> Path | None:
        """Milvus Lite's folder; None on a server."""
        return parse_address(address).path

    def open(self, address: str, assume: ModelCard | None) -> MilvusGallery:
        """See `Backend.open`; `assume` is ignored."""
        place = parse_address(address)
        if place.path is not None and not place.path.exists():
            raise _missing(address)
        client = connect(address)
        with explained(address):
            state = read_state(client, place.collection)
            if state is None:
                raise _missing(address)
            for collection in (place.collection, f"{place.collection}_people"):
                client.load_collection(collection)
        if state["facerec_gallery"] != VERSION:
            raise IncompatibleError(
                f"{address}: gallery version {state['facerec_gallery']}, but this facerec reads "
                f"version {VERSION}; upgrade facerec"
            )
        return MilvusGallery(address, client, ModelCard.from_json(state["card"], address), state)

    def create(self, address: str, card: ModelCard) -> MilvusGallery:
        """An empty gallery; its first commit creates the collections."""
        client = connect(address)
        with explained(address):
            replaced = read_state(client, parse_address(address).collection)
        return MilvusGallery(address, client, card, None, replaced)

    def exists(self, address: str) -> bool:
        """See `Backend.exists`."""
        return self.version(address) is not None

    def version(self, address: str) -> object:
        """The number of commits; None where there is no gallery."""
        place = parse_address(address)
        if place.path is not None and not place.path.exists():
            return None
        client = connect(address)
        with explained(address):
            state = read_state(client, place.collection)
        client.close()
        return None if state is None else state["commits"]

    def tidy(self, store: MilvusGallery) -> None:
        """Does nothing: rows are entries, however committed."""

    def verify(
        self, address: str, advance: Callable[[int], None] = lambda _: None
    ) -> MilvusGallery:
        """See `Backend.verify`: the stored mean vectors must be those of the entries."""
        opened = self.open(address, None)
        entries = MemoryGallery(opened.card)
        for batch in opened.batches():
            entries.append(batch)
            advance(len(batch))
        if not np.allclose(np.linalg.norm(entries.entries.embeddings, axis=1), 1, atol=1e-3):
            raise MissingError(f"{address}: damaged gallery: an embedding is not of unit length")
        if entries.counts() != opened.counts() or not np.allclose(
            entries.templates(), opened.means(), atol=1e-5
        ):
            raise MissingError(
                f"{address}: its mean vectors are not those of its entries, as a killed change "
                "leaves them; any further change brings them in line"
            )
        return opened

    def locked(self, address: str) -> AbstractContextManager[None]:
        """See `facerec.files.locking.locked`; a server has no lock, see `MilvusGallery`."""
        path = parse_address(address).path
        return nullcontext() if path is None else locking.locked(path)


def _missing(address: str) -> MissingError:
    return MissingError(
        f"{address}: no such gallery; make one with: facerec embed PEOPLE/ -o {address}"
    )
