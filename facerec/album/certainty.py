"""How probable it is that faces are a person's, where the card of an album's model tells it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

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
    the album's named people: the most similar of the others competes. None where the card knows
    no cohort.

    Args:
        columns: what `read_columns` says of the album.
        person: with a name.
        asked: ids of faces of one person each; of several, the mean of their cosines counts.
    """
    certainty = _certainty(album, columns)
    if certainty is None:
        return [None] * len(asked)
    from facerec.gallery.entries import mean_vector

    named = _Named(columns, named_people(album))
    told: list[float | None] = []
    for ids in asked:
        chosen = np.isin(columns.ids, list(ids))
        own = columns.vectors[(columns.person == person) & ~chosen]
        if not len(own) or not chosen.any():
            told.append(None)
            continue
        cosine = float((columns.vectors[chosen] @ mean_vector(own)).mean())
        rival = named.rival(person, np.flatnonzero(chosen))
        told.append(float(certainty.probability([cosine], [rival])[0]))
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
    everybody = _Named(columns, named)
    told: dict[int, float] = {}
    for person in sorted(named if people is None else named.intersection(people)):
        rows = np.flatnonzero(columns.person == person)
        if len(rows) < 2:
            continue
        own = columns.vectors[rows].astype(np.float64)
        # Each is compared with the mean of the others.
        others = own.sum(axis=0) - own
        norms = np.maximum(np.linalg.norm(others, axis=1), np.finfo(np.float32).tiny)
        rivals = everybody.rivals(person, rows)
        chances = certainty.probability((own * others).sum(axis=1) / norms, rivals)
        told |= dict(zip(columns.ids[rows].tolist(), chances.tolist(), strict=True))
    return told


class _Named:
    """The people of an album who have a name, as the rivals of one of them.

    Args:
        columns: what `read_columns` says of the album.
        people: who has a name.
    """

    def __init__(self, columns: FaceColumns, people: Iterable[int]) -> None:
        self._people = np.array(sorted(people), np.int64)
        self._vectors = columns.vectors
        count = len(self._people)
        place = np.minimum(np.searchsorted(self._people, columns.person), max(count - 1, 0))
        known = np.isin(columns.person, self._people)
        self._place = np.where(known, place, -1)
        self._sums = np.zeros((count, self._vectors.shape[1]))
        rows = np.flatnonzero(known)
        rows = rows[np.argsort(place[rows], kind="stable")]
        present, starts = np.unique(place[rows], return_index=True)
        if len(rows):
            # Six times as fast as np.add.at, which a page of suggestions would be seen to wait for.
            self._sums[present] = np.add.reduceat(self._vectors[rows], starts, axis=0)

    def rival(self, person: int, rows: NDArray[np.int64]) -> float:
        """Mean cosine of faces with the most similar of the others, whose means are without them;
        -1 where there are none.

        Args:
            rows: of the faces in the columns.
        """
        sums = self._sums.copy()
        held = rows[self._place[rows] >= 0]
        np.subtract.at(sums, self._place[held], self._vectors[held])
        cosines = self._vectors[rows] @ self._means(person, sums)
        return float(cosines.mean(axis=0).max(initial=-1.0))

    def rivals(self, person: int, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Cosine `(R,)` of each of a person's own faces with the most similar of the others."""
        cosines = self._vectors[rows] @ self._means(person, self._sums)
        return np.asarray(cosines.max(axis=1, initial=-1.0), np.float64)

    def _means(self, person: int, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """`(D, P)`: mean vectors of the others who have faces."""
        norms = np.linalg.norm(sums, axis=1)
        # What is left of a face that was subtracted is its rounding.
        others = (self._people != person) & (norms > 1e-3)
        return np.asarray((sums[others] / norms[others, None]).T)


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
