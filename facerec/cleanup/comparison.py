"""Images and parts of folders compared with every person's centroid, in blocks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from facerec.cleanup.groups import Groups, Rows, Scale
from facerec.faces import Floats
from facerec.parallel.products import products
from facerec.parallel.ranks import map_sharded

SAME = 0.15
"""Two groups nearer than this, in gaps, are one person. Random halves of the folders of LFW people
with at least 8 images reach 0.15; two of those people are at least 0.21 apart."""
BLOCK = 512
_MANY = 5000
"""Parts above which candidates are pruned by the two limits below."""
_RESIDUE = 0.8
"""Limit on the cosine of residues (see `_may_be_anothers`). Alone it misses up to a fifth of the
images swapped among 70 people of LFW; with `_UNLIKE`, the findings are those of comparing all, for
four seeds of planted noise."""
_UNLIKE = 0.3
"""Share of images that are never pruned: those least like their own centroid."""


def gaps_apart(cross: np.ndarray, one: np.ndarray, two: np.ndarray, scale: Scale) -> np.ndarray:
    """Distance of two groups: mean cosine within less between, in gaps; 0 for one person, about 1
    for two. A group of one image counts as typical.

    Args:
        cross: mean cosine between the groups.
        one, two: mean cosine within each.
    """
    usual = scale.genuine
    inner = (np.where(np.isnan(one), usual, one) + np.where(np.isnan(two), usual, two)) / 2
    distance: np.ndarray = (inner - cross) / scale.gap
    return distance


def compare_parts(
    groups: Groups, scale: Scale, folder: Rows
) -> tuple[list[tuple[int, int, float]], Floats]:
    """Parts of different folders that are one person, and each part's highest centroid cosine to
    another person."""
    means, within = groups.means(), groups.within()
    norms = np.maximum(np.linalg.norm(means, axis=1), np.finfo(np.float32).tiny)
    # `gaps_apart(…) < SAME`, solved for the cosine: above the sum of both halves.
    half = np.where(np.isnan(within), scale.genuine, within) / 2 - SAME * scale.gap / 2
    half = np.where(groups.sizes >= 2, half, np.inf).astype(np.float32)

    def compare(start: int) -> tuple[list[tuple[int, int, float]], Floats]:
        block = slice(start, start + BLOCK)
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

    blocks = map_sharded(range(0, len(folder), BLOCK), compare)
    same = [pair for found, _ in blocks for pair in found]
    return same, np.concatenate([nearest for _, nearest in blocks])


def compare_images(
    embeddings: Floats, part: Rows, folder: Rows, groups: Groups,
    same: list[tuple[int, int, float]], nearest: Floats, scale: Scale, own: Floats,
    least: Callable[[Floats], Floats], advance: Callable[[int], None],
) -> tuple[Rows, Floats, Floats]:  # fmt: skip
    """`other`, `margin` and `near` of `Judgement`.

    Args:
        own: see there.
        least: cosines to another person from which images are judged that one's, by the cosines to
            their own.
    """
    centroids = groups.centroids()
    needed = least(own)
    possible = _may_be_anothers(embeddings, part, centroids, nearest, needed, 1.0)
    if len(folder) > _MANY:
        unlike = own <= np.nanquantile(own, _UNLIKE)
        possible &= unlike | _may_be_anothers(
            embeddings, part, centroids, nearest, needed, _RESIDUE
        )
    hard = np.flatnonzero(possible)
    excluded = not_others(folder, same)

    def compare(start: int) -> tuple[Rows, Floats, Floats]:
        rows = hard[start : start + BLOCK]
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
    near = np.zeros(len(part), np.float32)
    blocks = map_sharded(range(0, len(hard), BLOCK), compare)
    if blocks:
        found, cosine, gain = (np.concatenate(column) for column in zip(*blocks, strict=True))
        wrong = (gain > 0) & (cosine >= least(cosine - gain))
        other[hard[wrong]] = found[wrong]
        margin[hard[wrong]] = gain[wrong] / scale.gap
        near[hard[wrong]] = cosine[wrong]
    return other, margin, near


def _may_be_anothers(
    embeddings: Floats, part: Rows, centroids: Floats, nearest: Floats, needed: Floats,
    residue: float,
) -> NDArray[np.bool_]:  # fmt: skip
    """The images that can be `needed` near to another part's centroid: a pruning bound.

    Remove from the image, and from the other centroid, their components along the own centroid.
    The cosine of the two residues follows from the three cosines between the image and the
    centroids, and is least for the centroid nearest to the own one, so comparing centroids prunes
    most images. A cosine above 1 is impossible (triangle inequality of angles, as in Elkan 2003),
    and one near 1 unlikely.

    Args:
        nearest: `(P,) float32` highest cosine of each part's centroid to another person's.
        needed: `(N,) float32` cosine to another centroid from which an image is suspected.
        residue: largest cosine of the residues; 1 prunes only what is impossible.
    """
    possible = np.empty(len(part), bool)
    for start in range(0, len(part), BLOCK):
        block = slice(start, start + BLOCK)
        own = np.einsum("nd,nd->n", embeddings[block], centroids[part[block]])
        # The bound is least at this cosine, so a nearer centroid cannot lower it.
        near = np.minimum(nearest[part[block]], own / np.maximum(needed[block], 1e-6))
        own, near = np.clip(own, -1, 1), np.clip(near, -1, 1)
        room = np.sqrt((1 - own**2) * (1 - near**2))
        possible[block] = needed[block] - own * near <= residue * room
    return possible


def similarity_to_rest(
    embeddings: Floats, part: Rows, trusted: NDArray[np.bool_], groups: Groups, seen: Floats
) -> Floats:
    """Cosine of each image to the leave-one-out centroid of its part; NaN for its only image.

    Args:
        embeddings: `(N, D) float32`, of which the trusted ones make `groups`.
        seen: `(N, D) float32` what is compared of each image, usually `embeddings`.
    """
    own = np.full(len(part), np.nan, np.float32)
    for start in range(0, len(part), BLOCK):
        block = slice(start, start + BLOCK)
        counted = trusted[block]
        rest = groups.sums[part[block]] - embeddings[block] * counted[:, None]
        left = groups.sizes[part[block]] - counted
        norm = np.maximum(np.linalg.norm(rest, axis=1), np.finfo(np.float32).tiny)
        cosine = np.einsum("nd,nd->n", seen[block], rest) / norm
        own[block] = np.where(left > 0, cosine, np.nan)
    return own


def not_others(folder: Rows, same: list[tuple[int, int, float]]) -> list[Rows]:
    """Per folder the parts of the same person: its own, and those in `same`."""
    mine: list[set[int]] = [set() for _ in range(int(folder.max(initial=-1)) + 1)]
    for number, owner in enumerate(folder):
        mine[owner].add(number)
    for one, two, _ in same:
        mine[folder[one]].add(two)
        mine[folder[two]].add(one)
    return [np.array(sorted(parts), np.intp) for parts in mine]
