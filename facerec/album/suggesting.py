"""Suggestions: faces and groups that may be somebody, for the user to say yes or no."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facerec.album.known import NOBODY, Known, Numbers
from facerec.faces import Floats
from facerec.parallel.products import products

_NEAREST = 3
"""Faces of the person that a candidate is compared with: who changes looks like some of theirs."""
_OWN = 500
"""Faces of the person that are looked at, at most: evenly drawn from those there are."""
_STEP = 4096


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Faces that may be a person's.

    Attributes:
        faces: their rows, the most similar first.
        group: whom they are taken for: `NOBODY`, somebody without a name, or the person itself
            if only the user's word is missing.
        similarity: mean cosine of the faces, each with the person's nearest.
    """

    faces: tuple[int, ...]
    group: int
    similarity: float


def suggestions(
    vectors: Floats,
    known: Known,
    person: Numbers,
    whom: int,
    *,
    named: frozenset[int],
    least: float,
    limit: int = 50,
) -> list[Suggestion]:
    """Faces that may be somebody's, the most similar first: single faces that are nobody's yet or
    theirs unconfirmed, and whole groups without a name.

    Nothing is suggested that a decision or another confirmed face in the same photo rules out.

    Args:
        vectors: `(N, D) float32` unit vectors.
        known: what else is known of the faces.
        person: `(N,) int64` whom each face is taken for.
        whom: the person asked about.
        named: people who are known by name; their faces are suggested to nobody else.
        least: similarity, at least.
        limit: suggestions, at most.
    """
    own = np.flatnonzero(known.fixed == whom)
    if not len(own):
        own = np.flatnonzero(person == whom)
    rows = _candidates(known, person, whom, named)
    if not len(own) or not len(rows):
        return []
    own = own[:: -(-len(own) // _OWN)]
    near = _nearness(vectors[rows], vectors[own])
    groups = person[rows]
    single = (groups == NOBODY) | (groups == whom)
    found = [
        Suggestion((int(rows[n]),), int(groups[n]), float(near[n]))
        for n in np.flatnonzero(single & (near >= least))
    ]
    unnamed, place = np.unique(groups[~single], return_inverse=True)
    means = np.bincount(place, near[~single]) / np.bincount(place)
    for n in np.flatnonzero(means >= least):
        members = np.flatnonzero(groups == unnamed[n])
        ranked = members[np.argsort(-near[members], kind="stable")]
        found.append(Suggestion(tuple(rows[ranked].tolist()), int(unnamed[n]), float(means[n])))
    found.sort(key=lambda one: (-one.similarity, one.faces))
    return found[:limit]


def _candidates(
    known: Known, person: Numbers, whom: int, named: frozenset[int]
) -> NDArray[np.intp]:
    """Rows that no decision keeps from being that person's.

    Who is in a photo is there once; so of a group the faces beside confirmed ones are left out.
    """
    confirmed = known.photos[known.fixed == whom]
    others = list(named - {whom})
    open_ = (known.fixed == NOBODY) & ~np.isin(person, others) & ~np.isin(known.photos, confirmed)
    ruled_out = [face for face, one in known.forbidden if one == whom]
    open_[ruled_out] = False
    apart = [one if other == whom else other for one, other in known.different
             if whom in (one, other)]  # fmt: skip
    spoilt = [person[face] for face in ruled_out if person[face] not in (NOBODY, whom)]
    return np.flatnonzero(open_ & ~np.isin(person, apart + spoilt))


def _nearness(candidates: Floats, own: Floats) -> Floats:
    """`(N,) float32` mean cosine of each candidate with the nearest of the person's own faces."""
    count = min(_NEAREST, len(own))
    parts = []
    for start in range(0, len(candidates), _STEP):
        cosines = products(candidates[start : start + _STEP], own)
        nearest = np.partition(cosines, -count, axis=1)[:, -count:]
        # Sorted, so that sums do not depend on the order of the faces.
        parts.append(np.sort(nearest, axis=1).mean(1))
    return np.concatenate(parts).astype(np.float32)
