"""What CompreFace's API asks of a gallery beyond `Service`: vectors, nearest people, pages."""

from __future__ import annotations

import numpy as np

from facerec.errors import UsageError
from facerec.faces import Floats
from facerec.gallery.base import GalleryStore, Hit
from facerec.gallery.people import stored_name
from facerec.imaging.photos import normalise_person
from facerec.profile.schema import RecognizeSection
from facerec.serving.compreface.shapes import page_of
from facerec.serving.entries import entries_of


def nearest_people(
    store: GalleryStore, vectors: Floats, top: int, section: RecognizeSection
) -> list[list[Hit]]:
    """The most similar people of each vector `(Q, D) float32`, nearest first: `top`, and two if
    there are as many, since the second says how certain the first is."""
    if not len(vectors):
        return []
    return store.search(vectors, max(top, 2), match=section.match, where=section.where)


def page_of_entries(
    store: GalleryStore, page: int, size: int, subject: str | None
) -> tuple[list[tuple[str, str]], int]:
    """A page of `(id, person)`, and how many entries there are in all."""
    counts = store.counts()
    if subject is not None:
        known = known_name(counts, subject)
        counts = {known: counts[known]} if known is not None else {}
    shown = []
    for person, start, stop in page_of(counts, page, size):
        shown += [(entry.id, person) for entry in entries_of(store, person)[start:stop]]
    return shown, sum(counts.values())


def known_name(people: dict[str, int], name: str) -> str | None:
    """A person's name as it is written in the gallery, whatever its case; None if unknown."""
    stored = stored_name(name, people)
    if stored in people:
        return stored
    folded = normalise_person(name).casefold()
    alike = [known for known in people if normalise_person(known).casefold() == folded]
    return alike[0] if len(alike) == 1 else None


def unit_vectors(rows: list[list[float]], size: int) -> Floats:
    """Vectors of a request, `(Q, D) float32`, of unit length.

    Raises:
        UsageError: they are not of the model's size, or not finite.
    """
    if any(len(row) != size for row in rows):
        raise UsageError(f"an embedding of this model has {size} values")
    vectors = np.asarray(rows, np.float64).reshape(-1, size)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths == 0).any():
        raise UsageError("an embedding has no direction: it is zero, or not finite")
    units: Floats = (vectors / lengths).astype(np.float32)
    return units
