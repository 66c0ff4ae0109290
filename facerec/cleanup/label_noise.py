"""Which images, parts of folders and folders are filed under the wrong person.

Each image is compared with the centroid of the rest of its own folder and with every other
folder's; folders are compared by their mean pair similarity. What looks wrong is left out of the
centroids, and everything is judged again, until nothing changes. Distances are in units of the
gap between typical genuine and impostor similarity, so the limits do not depend on the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facerec.cleanup.groups import Groups, Rows, Scale
from facerec.cleanup.linkage import Tree
from facerec.faces import Floats
from facerec.parallel.products import products
from facerec.parallel.ranks import map_sharded

SAME = 0.15
"""Two groups nearer than this, in gaps, are one person. Random halves of the folders of LFW people
with at least 8 images reach 0.15; two of those people are at least 0.21 apart."""
DIFFERENT = 0.35
"""Two parts of one folder this far apart are two people. The two main branches of the same LFW
folders reach 0.29."""
_MARGIN = 0.05
"""How much nearer, in gaps, another person must be before an image is called theirs."""
_FLOOR = 0.01
"""An image is called another person's only if at most this share of images is less like its own."""
_SMALLEST_PART = 3
ROUNDS = 6
"""How often all images are judged, at most."""
_BLOCK = 512
_MANY = 5000
"""Parts from which not all images that could be another's are compared with all of them."""
_RESIDUE = 0.8
"""With that many, how much of what is not its own person's in an image must be one other person's
(see `_may_be_anothers`). Alone it misses up to a fifth of the images swapped among 70 people of
LFW; with the next limit the findings are those of comparing all, in four plantings of noise."""
_UNLIKE = 0.3
"""The share of images that are always compared: those least like their own."""


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What was found.

    Attributes:
        scale: what similar means here.
        part: `(N,)` part of each image; a folder that holds one person is one part.
        folder: `(P,)` person (folder) of each part; a folder's first part is its largest.
        own: `(N,) float32` cosine to the centroid of the rest of the image's own part; NaN for
            an image on its own.
        other: `(N,)` nearest part of another person for images judged wrong, else -1.
        margin: `(N,) float32` how much nearer that is than the own folder, in gaps.
        same: pairs of parts, of different folders, that are one person, with their distance in
            gaps.
    """

    scale: Scale
    part: Rows
    folder: Rows
    own: Floats
    other: Rows
    margin: Floats
    same: list[tuple[int, int, float]]


def judge(
    embeddings: Floats,
    person: Rows,
    trees: Sequence[Tree],
    advance: Callable[[int], None] = lambda _: None,
) -> Judgement:
    """Judge images by their neighbours.

    Args:
        embeddings: `(N, D) float32` unit vectors.
        person: `(N,)` folder of each image, from 0, ascending.
        trees: each folder's dendrogram.
        advance: progress callback, with the number of images judged; `ROUNDS * N` in all.
    """
    count = len(trees)
    rows_of = np.split(np.arange(len(person)), np.cumsum(np.bincount(person, minlength=count))[:-1])
    trusted = np.ones(len(person), bool)
    scale = Scale.of(Groups.of(embeddings, person, count))
    seen: set[bytes] = set()
    for done in range(1, ROUNDS + 1):
        # Divided first: two people's mixed centroid would send either of them to a third.
        part, folder = _divide_folders(embeddings, rows_of, trees, trusted, scale)
        groups = Groups.of(embeddings, np.where(trusted, part, -1), len(folder))
        scale = Scale.of(groups)
        same, nearest = _compare_parts(groups, scale, folder)
        own, other, margin = _compare_images(
            embeddings, part, folder, trusted, groups, same, nearest, scale, advance
        )
        trusted = other < 0
        state = trusted.tobytes() + part.tobytes()
        if state in seen:
            advance((ROUNDS - done) * len(person))
            break
        seen.add(state)
    return Judgement(scale, part, folder, own, other, margin, same)


def gaps_apart(cross: np.ndarray, one: np.ndarray, two: np.ndarray, scale: Scale) -> np.ndarray:
    """How much less alike two groups are than each in itself, in gaps: 0 for one person, about 1
    for two. Groups of one image count as typical.

    Args:
        cross: mean cosine of the pairs between them; `one`, `two`: of the pairs within.
    """
    usual = scale.genuine
    inner = (np.where(np.isnan(one), usual, one) + np.where(np.isnan(two), usual, two)) / 2
    distance: np.ndarray = (inner - cross) / scale.gap
    return distance


def _compare_parts(
    groups: Groups, scale: Scale, folder: Rows
) -> tuple[list[tuple[int, int, float]], Floats]:
    """Parts of different folders that are one person, and each part's highest centroid cosine to
    a part that is someone else."""
    means, within = groups.means(), groups.within()
    norms = np.maximum(np.linalg.norm(means, axis=1), np.finfo(np.float32).tiny)
    # Two groups are one person above the sum of their halves of this (see `gaps_apart`).
    half = np.where(np.isnan(within), scale.genuine, within) / 2 - SAME * scale.gap / 2
    half = np.where(groups.sizes >= 2, half, np.inf).astype(np.float32)

    def compare(start: int) -> tuple[list[tuple[int, int, float]], Floats]:
        block = slice(start, start + _BLOCK)
        cosines = products(means[block], means)
        own = folder[block, None] == folder
        alike = cosines > half[block, None] + half
        alike &= ~own
        one, two = np.nonzero(alike)
        apart = gaps_apart(cosines[one, two], within[start + one], within[two], scale)
        pairs = zip((start + one).tolist(), two.tolist(), apart.tolist(), strict=True)
        cosines /= norms
        cosines[alike | own] = -norms[block].max()
        return [pair for pair in pairs if pair[0] < pair[1]], cosines.max(1) / norms[block]

    blocks = map_sharded(range(0, len(folder), _BLOCK), compare)
    same = [pair for found, _ in blocks for pair in found]
    return same, np.concatenate([nearest for _, nearest in blocks])


def _compare_images(
    embeddings: Floats, part: Rows, folder: Rows, trusted: NDArray[np.bool_], groups: Groups,
    same: list[tuple[int, int, float]], nearest: Floats, scale: Scale,
    advance: Callable[[int], None],
) -> tuple[Floats, Rows, Floats]:  # fmt: skip
    """`own`, `other` and `margin` of `Judgement`."""
    centroids = groups.centroids()
    own = _similarity_to_rest(embeddings, part, trusted, groups)
    floor = np.nanquantile(own[trusted], _FLOOR) if np.isfinite(own[trusted]).any() else 1.0
    needed = np.maximum(np.nan_to_num(own, nan=1.0) + _MARGIN * scale.gap, floor)
    possible = _may_be_anothers(embeddings, part, centroids, nearest, needed, 1.0)
    if len(folder) > _MANY:
        unlike = own <= np.nanquantile(own, _UNLIKE)
        possible &= unlike | _may_be_anothers(
            embeddings, part, centroids, nearest, needed, _RESIDUE
        )
    hard = np.flatnonzero(possible)
    excluded = _not_others(folder, same)

    def compare(start: int) -> tuple[Rows, Floats, Floats]:
        rows = hard[start : start + _BLOCK]
        cosines = products(embeddings[rows], centroids)
        best = own[rows].copy()
        for line, row in enumerate(rows):
            mine = excluded[folder[part[row]]]
            if len(mine) > 1:
                best[line] = max(best[line], cosines[line, mine[mine != part[row]]].max())
            cosines[line, mine] = -1
        found = cosines.argmax(1)
        nearest = cosines[np.arange(len(rows)), found]
        advance(len(rows))
        return found, nearest, nearest - best

    advance(len(part) - len(hard))
    other = np.full(len(part), -1, np.intp)
    margin = np.zeros(len(part), np.float32)
    blocks = map_sharded(range(0, len(hard), _BLOCK), compare)
    if blocks:
        found, cosine, gain = (np.concatenate(column) for column in zip(*blocks, strict=True))
        wrong = (gain > _MARGIN * scale.gap) & (cosine >= floor)
        other[hard[wrong]] = found[wrong]
        margin[hard[wrong]] = gain[wrong] / scale.gap
    return own, other, margin


def _may_be_anothers(
    embeddings: Floats, part: Rows, centroids: Floats, nearest: Floats, needed: Floats,
    residue: float,
) -> NDArray[np.bool_]:  # fmt: skip
    """The images that another part's centroid could be as near to as needed.

    What is left of an image without its own centroid, and of the other centroid without it, are
    two directions; their cosine follows from the three cosines between the image and the two
    centroids. It is least for the centroid that is nearest to the own one, so that the
    comparison of centroids settles most images. Above 1 it is impossible (the angles' triangle
    inequality, as in Elkan 2003), and near it unlikely.

    Args:
        nearest: `(P,) float32` highest cosine of each part's centroid to another person's.
        needed: `(N,) float32` cosine to another centroid from which an image is suspected.
        residue: largest cosine of the two directions; 1 leaves out only what is impossible.
    """
    possible = np.empty(len(part), bool)
    for start in range(0, len(part), _BLOCK):
        block = slice(start, start + _BLOCK)
        own = np.einsum("nd,nd->n", embeddings[block], centroids[part[block]])
        # Nearer centroids than that would need more of the residue again.
        near = np.minimum(nearest[part[block]], own / np.maximum(needed[block], 1e-6))
        own, near = np.clip(own, -1, 1), np.clip(near, -1, 1)
        room = np.sqrt((1 - own**2) * (1 - near**2))
        possible[block] = needed[block] - own * near <= residue * room
    return possible


def _similarity_to_rest(
    embeddings: Floats, part: Rows, trusted: NDArray[np.bool_], groups: Groups
) -> Floats:
    """Cosine of each image to the centroid of its part without it; NaN where nothing is left."""
    own = np.full(len(part), np.nan, np.float32)
    for start in range(0, len(part), _BLOCK):
        block = slice(start, start + _BLOCK)
        vectors, counted = embeddings[block], trusted[block]
        rest = groups.sums[part[block]] - vectors * counted[:, None]
        left = groups.sizes[part[block]] - counted
        norm = np.maximum(np.linalg.norm(rest, axis=1), np.finfo(np.float32).tiny)
        cosine = np.einsum("nd,nd->n", vectors, rest) / norm
        own[block] = np.where(left > 0, cosine, np.nan)
    return own


def _not_others(folder: Rows, same: list[tuple[int, int, float]]) -> list[Rows]:
    """Per folder the parts that are not of another person: its own, and those that are alike."""
    mine: list[set[int]] = [set() for _ in range(int(folder.max(initial=-1)) + 1)]
    for number, owner in enumerate(folder):
        mine[owner].add(number)
    for one, two, _ in same:
        mine[folder[one]].add(two)
        mine[folder[two]].add(one)
    return [np.array(sorted(parts), np.intp) for parts in mine]


def _divide_folders(
    embeddings: Floats, rows_of: list[Rows], trees: Sequence[Tree],
    trusted: NDArray[np.bool_], scale: Scale,
) -> tuple[Rows, Rows]:  # fmt: skip
    """`part` and `folder` of `Judgement`."""

    def divide_folder(number: int) -> Rows:
        rows = rows_of[number]
        if len(rows) < 2 * _SMALLEST_PART:
            return np.zeros(len(rows), np.intp)
        return divide(embeddings[rows], trees[number], trusted[rows], scale)

    part = np.empty(len(trusted), np.intp)
    folder: list[int] = list(range(len(trees)))
    for number, local in enumerate(map_sharded(range(len(trees)), divide_folder)):
        largest_first = np.argsort(-np.bincount(local), kind="stable")
        names = np.empty(len(largest_first), np.intp)
        names[largest_first] = [number, *range(len(folder), len(folder) + len(names) - 1)]
        folder.extend([number] * (len(names) - 1))
        part[rows_of[number]] = names[local]
    return part, np.array(folder)


def divide(embeddings: Floats, tree: Tree, trusted: NDArray[np.bool_], scale: Scale) -> Rows:
    """The people in one folder: `(n,)` from 0.

    A dendrogram is walked from its top, past branches of one or two images and of images that are
    not alike (strays, not a person). At the first other branch the folder is divided if its two
    sides are `DIFFERENT`.

    Args:
        embeddings: `(n, D) float32` unit vectors.
        tree: their dendrogram.
        trusted: `(n,)` images that count.
    """
    count = len(embeddings)
    sums = np.zeros((2 * count - 1, embeddings.shape[1]), np.float32)
    sizes = np.zeros(2 * count - 1, np.int64)
    sums[:count], sizes[:count] = embeddings * trusted[:, None], trusted
    children = tree[:, :2].astype(np.intp)
    for node, (one, two) in enumerate(children, start=count):
        sums[node] = sums[one] + sums[two]
        sizes[node] = sizes[one] + sizes[two]
    groups = Groups(sums, sizes)
    within, means = groups.within(), groups.means()
    label = np.zeros(2 * count - 1, np.intp)
    parts = 1
    waiting = [2 * count - 2]
    while waiting:
        node = waiting.pop()
        if node < count:
            continue
        one, two = children[node - count]
        if sizes[one] < sizes[two]:
            one, two = two, one
        if sizes[two] < _SMALLEST_PART or scale.genuine - within[two] > DIFFERENT * scale.gap:
            waiting.append(int(one))
            continue
        cross = means[one] @ means[two]
        if gaps_apart(cross, within[one], within[two], scale) >= DIFFERENT:
            label[two] = parts
            parts += 1
            waiting += [int(one), int(two)]
    for node in range(2 * count - 2, count - 1, -1):
        for child in children[node - count]:
            label[child] = label[child] or label[node]
    return label[:count]
