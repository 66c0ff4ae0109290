"""Outliers of a folder, images in the wrong person's folder, merged and split identities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from facerec.cleanup.comparison import SAME, gaps_apart
from facerec.cleanup.division import DIFFERENT
from facerec.cleanup.findings import Finding, Kind, about, nearest
from facerec.cleanup.groups import Groups, Rows, rows_by_group
from facerec.cleanup.label_noise import Judgement
from facerec.cleanup.linkage import Tree, cut
from facerec.cleanup.photos import Photos
from facerec.faces import Floats
from facerec.files.output_names import safe_name


def find_wrong_people(
    photos: Photos, rows: Rows, vectors: Floats, members: Sequence[Rows], judgement: Judgement,
    strangers: NDArray[np.bool_],
) -> Iterator[Finding]:  # fmt: skip
    """Images of another person than their folder's, who has a folder too.

    Args:
        strangers: `(N,) bool`, images of nobody.
        rows: the photos' row of each vector.
        members: the vectors of each folder.
    """
    inside = rows_by_group(judgement.part, len(judgement.folder))
    for row in np.flatnonzero((judgement.other >= 0) & ~strangers).tolist():
        part = judgement.other[row]
        own = members[judgement.folder[judgement.part[row]]]
        there = rows[members[judgement.folder[part]][0]]
        yield about(
            photos, Kind.WRONG_PERSON, rows[row],
            min(1.0, 0.5 + 0.5 * float(judgement.margin[row])),
            target=None if photos.by_file else photos.folder(there),
            whose=photos.people[photos.person[there]],
            margin=round(float(judgement.margin[row]), 4),
            neighbours=nearest(photos, rows, vectors, row, inside[part]),
            own_neighbours=nearest(photos, rows, vectors, row, own[own != row]),
            second_look=bool(judgement.again[row]),
        )  # fmt: skip


def find_wrong_folders(
    photos: Photos, rows: Rows, vectors: Floats, judgement: Judgement, outliers: NDArray[np.bool_],
    copies: NDArray[np.bool_],
) -> Iterator[Finding]:  # fmt: skip
    """Merged identities: a folder's second person. Split ones: two folders of one person.

    Args:
        outliers: `(N,) bool`, strangers among them, which do not move with the folder.
        copies: `(N,) bool`, copies of others, which are not compared.
    """
    count = len(judgement.folder)
    right = np.where(judgement.other < 0, judgement.part, -1)
    everyone = rows_by_group(judgement.part, count)
    inside = rows_by_group(np.where(outliers, -1, right), count)
    groups = Groups.of(vectors, np.where(copies, -1, right), count)
    means, within = groups.means(), groups.within()
    taken = {photos.folder(row) for row in range(len(photos))}
    elsewhere = {}
    for one, two, apart in judgement.same:
        smaller, larger = sorted((one, two), key=lambda part: (len(everyone[part]), part))
        elsewhere[smaller] = (larger, apart)
    for part, folder in enumerate(judgement.folder):
        if not len(inside[part]):
            continue
        first = rows[inside[part][0]]
        whose = None
        if part in elsewhere:
            other, apart = elsewhere[part]
            there = rows[everyone[other][0]]
            kind, target = Kind.SPLIT, photos.folder(there)
            whose = photos.people[photos.person[there]]
            confidence = 0.5 + 0.5 * (SAME - apart) / SAME
        elif part != folder:
            # At the top of the tree images are of whom the tree is named after.
            own = photos.folder(first) or safe_name(photos.people[photos.person[first]])
            kind, target = Kind.MERGED, _free_name(own, taken)
            cross = means[part] @ means[folder]
            apart = float(gaps_apart(cross, within[part], within[folder], judgement.scale))
            confidence = 0.5 + 0.5 * (apart - DIFFERENT) / (1 - DIFFERENT)
        else:
            continue
        yield Finding(
            kind, [str(photos.file[row]) for row in rows[inside[part]]],
            photos.people[photos.person[first]], float(np.clip(confidence, 0.5, 1)),
            None if photos.by_file else target, {"apart": round(apart, 4)}, whose,
        )  # fmt: skip


def _free_name(folder: str, taken: set[str]) -> str:
    parent, slash, name = folder.rpartition("/")
    number = 2
    while (free := f"{parent}{slash}{safe_name(f'{name}-{number}')}") in taken:
        number += 1
    taken.add(free)
    return free


def find_outliers(
    embeddings: Floats, tree: Tree, threshold: float, centroids: Floats, own: int,
    hashes: NDArray[np.object_],
) -> Rows:  # fmt: skip
    """The seed's algorithm: one person's images outside their largest cluster.

    Of equally large clusters the one is kept whose margin between its own person's centroid and
    the nearest other is largest, then the one with the smallest file hash; the input's order has
    no influence.

    Args:
        embeddings: `(n, D) float32` unit vectors.
        tree: their dendrogram.
        threshold: merges at or above this distance are undone.
        centroids: `(P, D) float32` of all people.
        own: this person's row of `centroids`.
        hashes: `(n,)` str of the files.
    """
    label = cut(tree, threshold)
    sizes = np.bincount(label)
    largest = np.flatnonzero(sizes == sizes.max())
    if len(largest) > 1:
        centroid = embeddings.sum(0)
        centroid /= max(float(np.linalg.norm(centroid)), 1e-12)

        def rank(cluster: int) -> tuple[float, str]:
            members = label == cluster
            mean = embeddings[members].mean(0)
            cosines = np.delete(centroids @ mean, own)
            elsewhere = float(cosines.max(initial=-1))
            return round(elsewhere - float(mean @ centroid), 6), min(hashes[members])

        largest = largest[[min(range(len(largest)), key=lambda place: rank(int(largest[place])))]]
    return np.flatnonzero(label != largest[0])
