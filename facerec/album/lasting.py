"""People keep their ids from one grouping to the next."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facerec.album.known import NOBODY, Known, Numbers


def lasting_people(labels: NDArray[np.intp], known: Known, first_new: int) -> Numbers:
    """Give groups the ids of people: of whom their fixed faces are, else of whom most of their
    faces were taken for, else new ones, the largest group first.

    Args:
        labels: `(N,)` group of each face, from 0.
        known: what is known of the faces.
        first_new: id of the first new person.

    Returns:
        `(N,) int64` people; `NOBODY` for a single face that is fixed to nobody.
    """
    count = int(labels.max(initial=-1)) + 1
    owner = np.full(count, NOBODY, np.int64)
    fixed = np.flatnonzero(known.fixed >= 0)
    owner[labels[fixed]] = known.fixed[fixed]
    sizes = np.bincount(labels, minlength=count)
    taken = set(known.fixed[fixed].tolist())
    first = np.full(count, len(labels), np.int64)
    np.minimum.at(first, labels, np.arange(len(labels)))
    for group, person in _claims(labels, known, first):
        if owner[group] == NOBODY and sizes[group] > 1 and person not in taken:
            owner[group] = person
            taken.add(person)
    new = np.flatnonzero((owner == NOBODY) & (sizes > 1))
    new = new[np.lexsort((first[new], -sizes[new]))]
    owner[new] = first_new + np.arange(len(new))
    return owner[labels]


def _claims(labels: NDArray[np.intp], known: Known, first: Numbers) -> list[tuple[int, int]]:
    """Groups and whom some of their faces were taken for, most faces first."""
    rows = np.flatnonzero(known.previous >= 0)
    pairs, shared = np.unique(
        np.stack([labels[rows], known.previous[rows]], 1), axis=0, return_counts=True
    )
    order = np.lexsort((first[pairs[:, 0]], pairs[:, 1], -shared))
    refused = {(int(labels[row]), person) for row, person in known.forbidden}
    claims = [(int(group), int(person)) for group, person in pairs[order]]
    return [claim for claim in claims if claim not in refused]
