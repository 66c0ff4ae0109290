"""Faces of a gallery that give an album's people their names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facerec.album.people import usable_name
from facerec.album.store import Album
from facerec.card import ModelCard
from facerec.faces import Floats
from facerec.gallery.addresses import local_path
from facerec.gallery.base import GalleryStore


@dataclass(frozen=True, slots=True, eq=False)
class Seeds:
    """Faces of a gallery's people.

    Attributes:
        names: of each face.
        vectors: `(M, D) float32` unit vectors.
    """

    names: tuple[str, ...]
    vectors: Floats

    @classmethod
    def of(cls, gallery: GalleryStore, card: ModelCard, where: str) -> Seeds:
        """All faces of a gallery.

        Args:
            card: of the album's model.
            where: the gallery's address.

        Raises:
            IncompatibleError: another model made the gallery.
            UsageError: a name cannot be given to a person of an album.
        """
        card.require_same_model(gallery.card, where)
        names: list[str] = []
        vectors = [np.empty((0, card.embedding_size), np.float32)]
        for batch in gallery.batches():
            names += batch.person
            vectors.append(batch.embeddings)
        usable = {name: usable_name(name) for name in dict.fromkeys(names)}
        return cls(tuple(usable[name] for name in names), np.concatenate(vectors))


def remember_gallery(album: Album, address: str) -> None:
    """Later groupings take the names of this gallery too."""
    path = local_path(address)
    album.set_meta("gallery", address if path is None else str(Path(path).absolute()))


def remembered_gallery(album: Album) -> str | None:
    """Address of the gallery that was last asked for; None: none was."""
    return album.meta("gallery")
