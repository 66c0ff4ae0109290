"""Which images of a data set say something of their own: of the copies in a folder, one.

A copy is no second witness: an image beside its own copies is as alike to its folder as can be,
whoever is in it, and is counted once for each of them in centroids and clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from facerec.cleanup.copies import NearCopy, find_near_copies, least_counted_once
from facerec.cleanup.graph_linkage import NEIGHBOURS
from facerec.cleanup.groups import Groups, Rows, Scale, rows_by_group
from facerec.cleanup.neighbours import neighbour_pairs, similar_pairs
from facerec.cleanup.photos import Photos
from facerec.faces import Floats
from facerec.parallel.ranks import map_sharded, shard
from facerec.profile.schema import CleanupSection

_EQUAL = 1 - 1e-3
"""Cosine from which faces of one file are the same face: a gallery may hold several of a photo."""


@dataclass(frozen=True, slots=True, eq=False)
class Distinct:
    """The images of a data set without copies.

    Attributes:
        rows: `(M,)` rows of the photos, ascending.
        place: `(N,)` of each photo with a vector (`Photos.embedded`) the place in `rows` of itself
            or of the image that it is a copy of.
        near: the near-duplicates among exact copies' first, also those too unlike to be told.
    """

    rows: Rows
    place: Rows
    near: Sequence[NearCopy]

    def photos(self, photos: Photos) -> Photos:
        """The photos without copies."""
        if len(self.rows) == len(photos):
            return photos
        return photos.taken(self.rows, photos.person[self.rows], photos.people)


def find_distinct(
    photos: Photos, section: CleanupSection, advance: Callable[[int], None] = lambda _: None
) -> Distinct:
    """Find the copies in each person's folder, exact ones and near-duplicates.

    Args:
        advance: progress callback, with the number of images compared, divided among the ranks.
    """
    embedded = photos.embedded()
    first = first_of_copies(photos, embedded, photos.person[embedded])
    own = np.flatnonzero(first == np.arange(len(first)))
    rows = embedded[own]
    advance(len(shard(range(len(first) - len(own)))))
    vectors = photos.vectors(rows)
    person, count = photos.owners(rows)
    least = least_counted_once(Scale.of(Groups.of(vectors, person, count)).gap)

    def look(members: Rows) -> list[NearCopy]:
        advance(len(members))
        return find_near_copies_of(photos, rows[members], vectors[members], section, least)

    found = map_sharded(rows_by_group(person, count), look)
    near = [copy for copies in found for copy in copies]
    source = np.arange(len(photos))
    source[embedded] = embedded[first]
    for copy in near:
        source[copy.row] = copy.of
    # A copy of a near-duplicate: no near-duplicate is the best of others.
    source = source[source]
    kept = np.unique(source[embedded])
    return Distinct(kept, np.searchsorted(kept, source[embedded]), near)


def first_of_copies(photos: Photos, rows: Rows, group: Rows) -> Rows:
    """`(n,)`: for each of some rows the place of the first with the same bytes and face there.

    Args:
        rows: `(n,)` of the photos, with vectors.
        group: `(n,)`; files of different groups are not compared.
    """
    first = np.arange(len(rows))
    seen: dict[tuple[int, str], int] = {}
    for place, row in enumerate(rows.tolist()):
        if digest := photos.sha256[row]:
            of = seen.setdefault((int(group[place]), digest), place)
            if of < place and photos.vector[rows[of]] @ photos.vector[row] >= _EQUAL:
                first[place] = of
    return first


def find_near_copies_of(
    photos: Photos, own: Rows, vectors: Floats, section: CleanupSection, least: float
) -> list[NearCopy]:
    """Near-duplicates among one person's images; in a large folder among neighbours only."""
    if len(own) <= section.exact_limit:
        pairs = similar_pairs(vectors, least)
    else:
        pairs = neighbour_pairs(vectors, NEIGHBOURS)
    return list(find_near_copies(photos, own, vectors, pairs, least))
