"""How probable it is that faces are a person's, where the card of an album's model tells it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from facerec.album.people import named_people
from facerec.album.records import FaceColumns
from facerec.album.store import Album
from facerec.card import ModelCard

if TYPE_CHECKING:
    from facerec.gallery.certainty import Certainty


def probabilities(
    album: Album, columns: FaceColumns, person: int, asked: Sequence[Sequence[int]]
) -> list[float | None]:
    """Probability that faces are a person's, each as `facerec recognize` tells it in a gallery of
    the album's named people; None where the card knows no cohort.

    Args:
        columns: what `read_columns` says of the album.
        person: with a name.
        asked: ids of faces of one person each; of several, the mean of their cosines counts.
    """
    certainty = _certainty(album, columns)
    if certainty is None:
        return [None] * len(asked)
    from facerec.gallery.entries import mean_vector

    told: list[float | None] = []
    for ids in asked:
        chosen = np.isin(columns.ids, list(ids))
        own = columns.vectors[(columns.person == person) & ~chosen]
        if not len(own) or not chosen.any():
            told.append(None)
            continue
        cosine = float((columns.vectors[chosen] @ mean_vector(own)).mean())
        told.append(float(certainty.probability([cosine])[0]))
    return told


def own_probabilities(
    album: Album, columns: FaceColumns, people: Iterable[int] | None = None
) -> dict[int, float]:
    """Probability, by face, that it is the person's whom it is taken for, as `probabilities` tells
    it of one face. Of people with a name and another face; empty where the card knows no cohort.

    Args:
        columns: what `read_columns` says of the album.
        people: whose faces; None: everybody's.
    """
    certainty = _certainty(album, columns)
    if certainty is None:
        return {}
    named = named_people(album)
    told: dict[int, float] = {}
    for person in sorted(named if people is None else named.intersection(people)):
        rows = np.flatnonzero(columns.person == person)
        if len(rows) < 2:
            continue
        own = columns.vectors[rows].astype(np.float64)
        # Each is compared with the mean of the others.
        others = own.sum(axis=0) - own
        norms = np.maximum(np.linalg.norm(others, axis=1), np.finfo(np.float32).tiny)
        chances = certainty.probability((own * others).sum(axis=1) / norms)
        told |= dict(zip(columns.ids[rows].tolist(), chances.tolist(), strict=True))
    return told


def _certainty(album: Album, columns: FaceColumns) -> Certainty | None:
    """Of a gallery of the album's named people; None where the card knows no cohort."""
    stored = album.meta("card")
    card = None if stored is None else ModelCard.from_json(stored, album.path)
    if card is None or card.calibration is None or card.calibration.cohort is None:
        return None
    # HDF5, which this brings, is not waited for by who only looks.
    from facerec.gallery.certainty import Certainty

    faces = Counter(columns.person.tolist())
    enrolled = Counter(faces[one] for one in named_people(album) if faces[one])
    return Certainty(card.calibration.cohort, enrolled)
