"""How probable it is that faces are a person's, where the card of an album's model tells it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from facerec.album.people import named_people
from facerec.album.records import FaceColumns
from facerec.album.store import Album
from facerec.card import ModelCard


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
    stored = album.meta("card")
    card = None if stored is None else ModelCard.from_json(stored, album.path)
    if card is None or card.calibration is None or card.calibration.cohort is None:
        return [None] * len(asked)
    # HDF5, which these bring, is not waited for by who only looks.
    from facerec.gallery.certainty import Certainty
    from facerec.gallery.entries import mean_vector

    faces = Counter(columns.person.tolist())
    enrolled = Counter(faces[one] for one in named_people(album) if faces[one])
    certainty = Certainty(card.calibration.cohort, enrolled)
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
