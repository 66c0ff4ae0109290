"""Label noise: images, parts of folders and folders filed under the wrong person.

Each image is compared with the leave-one-out centroid of its own folder and with every other
folder's centroid; folders are compared by their mean pair similarity. What is judged wrong is
excluded from the centroids, and all is judged again until nothing changes. Margins are in units of
the gap between typical genuine and impostor similarity, so that limits hold for any model. Of
enough images the cosines are then weighed by what the data set itself says of them (`evidence`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facerec.cleanup.evidence import Evidence, weigh
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
"""Margin, in gaps, by which another person must be nearer than an image's own."""
_FLOOR = 0.01
"""Quantile of the cosines to the own centroid that a cosine to another person's must reach."""
SMALLEST_PART = 3
_MEASURABLE = 20
"""Images in company below which their evidence is not weighed."""
_MANY_OWN = 100
"""Images from which the evidence overrules a clustering: about 1 in 100 is so unlike its person."""
_SAMPLE = 2000
"""Images that it is weighed on, at most."""
_OTHERS = 50
"""Other people that each of them is compared with for it, besides the nearest."""
_BY_MARGIN, _BY_EVIDENCE = 6, 3
"""Rounds of judging by margins, at most, and by evidence."""
ROUNDS = _BY_MARGIN + _BY_EVIDENCE
"""Rounds of judging in all, at most."""
_BLOCK = 512
_MANY = 5000
"""Parts above which candidates are pruned by the two limits below."""
_RESIDUE = 0.8
"""Limit on the cosine of residues (see `_may_be_anothers`). Alone it misses up to a fifth of the
images swapped among 70 people of LFW; with `_UNLIKE`, the findings are those of comparing all, for
four seeds of planted noise."""
_UNLIKE = 0.3
"""Share of images that are never pruned: those least like their own centroid."""


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """Images, parts of folders and folders that were judged.

    Attributes:
        scale: typical similarities.
        part: `(N,)` part of each image; a folder that holds one person is one part.
        folder: `(P,)` folder of each part; a folder's largest part comes first.
        own: `(N,) float32` cosine to the leave-one-out centroid of the image's part; NaN for the
            only image of a part.
        other: `(N,)` the other person's part, for images judged wrong, else -1.
        margin: `(N,) float32` by how much that is nearer than the own folder, in gaps.
        near: `(N,) float32` cosine to the other person's centroid, for images judged wrong.
        same: pairs of parts of different folders that are one person, and their distance in gaps.
        evidence: by which the images were judged; None: too few, so it was by margins.
    """

    scale: Scale
    part: Rows
    folder: Rows
    own: Floats
    other: Rows
    margin: Floats
    near: Floats
    same: list[tuple[int, int, float]]
    evidence: Evidence | None

    def strangers(self, least: float | None, otherwise: float) -> NDArray[np.bool_]:
        """`(N,) bool`: nobody's. Without evidence, the images judged wrong that are not near enough
        to the other person to be that one.

        Args:
            least: cosine below which two images are two people, by the model's card.
            otherwise: the limit where there is no evidence and the card has none.
        """
        elsewhere = self.other >= 0
        if self.evidence is None:
            return elsewhere & (self.near < (otherwise if least is None else least))
        unlike = ~elsewhere & (self.own < self.evidence.own_limit)
        return unlike if least is None else unlike | (elsewhere & (self.near < least))

    def kin(self) -> NDArray[np.bool_]:
        """`(N,) bool`: by the evidence of many images their folder's person; of few, none."""
        if self.evidence is None or len(self.own) < _MANY_OWN:
            return np.zeros(len(self.own), bool)
        return (self.other < 0) & (self.own >= self.evidence.own_limit)


def judge(
    embeddings: Floats,
    person: Rows,
    trees: Sequence[Tree],
    apart: NDArray[np.bool_] | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Judgement:
    """Find label noise, in rounds, until nothing changes.

    Args:
        embeddings: `(N, D) float32` unit vectors.
        person: `(N,)` folder of each image, from 0, ascending.
        trees: each folder's dendrogram.
        apart: `(N,) bool`, images far from all others of their folder: never part of a centroid.
        advance: progress callback, with the number of images judged; `ROUNDS * N` in all.
    """
    count = len(trees)
    rows_of = np.split(np.arange(len(person)), np.cumsum(np.bincount(person, minlength=count))[:-1])
    usable = np.ones(len(person), bool) if apart is None else ~apart
    trusted = usable
    scale = Scale.of(Groups.of(embeddings, person, count))
    seen: set[bytes] = set()
    for done in range(1, _BY_MARGIN + 1):
        # Divided first: the centroid of two people is close to neither.
        part, folder = _divide_folders(embeddings, rows_of, trees, trusted, scale)
        groups = Groups.of(embeddings, np.where(trusted, part, -1), len(folder))
        scale = Scale.of(groups)
        same, nearest = _compare_parts(groups, scale, folder)
        own = _similarity_to_rest(embeddings, part, trusted, groups)
        least = _least_by_margin(own, trusted, scale)
        other, margin, near = _compare_images(
            embeddings, part, folder, groups, same, nearest, scale, own, least, advance
        )
        trusted = (other < 0) & usable
        state = trusted.tobytes() + part.tobytes()
        if state in seen:
            advance((_BY_MARGIN - done) * len(person))
            break
        seen.add(state)
    evidence = None
    for done in range(_BY_EVIDENCE):
        groups = Groups.of(embeddings, np.where(trusted, part, -1), len(folder))
        alike = _similarity_to_rest(embeddings, part, trusted, groups)
        found = _weigh_images(embeddings, part, folder, trusted, other >= 0, groups, same, alike)
        if found is None:
            advance((_BY_EVIDENCE - done) * len(person))
            break
        evidence, own, scale = found, alike, Scale.of(groups)
        same, nearest = _compare_parts(groups, scale, folder)
        other, margin, near = _compare_images(
            embeddings, part, folder, groups, same, nearest, scale, own, found.least_other, advance
        )
        trusted = (other < 0) & ~(own < found.own_limit)
    return Judgement(scale, part, folder, own, other, margin, near, same, evidence)


def _weigh_images(
    embeddings: Floats, part: Rows, folder: Rows, trusted: NDArray[np.bool_],
    elsewhere: NDArray[np.bool_], groups: Groups, same: list[tuple[int, int, float]], own: Floats,
) -> Evidence | None:  # fmt: skip
    """The evidence of a sample of images, `trusted` and `elsewhere` for a start; None of too few
    images in company or of one folder."""
    rows = np.flatnonzero(np.isfinite(own))
    if len(rows) < _MEASURABLE or len(np.unique(folder)) < 2:
        return None
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, _SAMPLE).astype(np.intp))]
    centroids = groups.centroids()
    excluded = _not_others(folder, same)
    dice = np.random.default_rng(0)
    drawn = dice.integers(len(folder), size=(len(rows), min(_OTHERS, len(folder))))
    highest = np.empty(len(rows), np.float32)
    some = np.empty(drawn.shape, np.float32)
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, start + _BLOCK)
        cosines = products(embeddings[rows[block]], centroids)
        for line, row in enumerate(rows[block]):
            cosines[line, excluded[folder[part[row]]]] = -1
        highest[block] = cosines.max(1)
        some[block] = np.take_along_axis(cosines, drawn[block], 1)
    return weigh(own[rows], highest, some, trusted[rows], elsewhere[rows])


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


def _compare_parts(
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


def _least_by_margin(
    own: Floats, trusted: NDArray[np.bool_], scale: Scale
) -> Callable[[Floats], Floats]:
    """The cosine to another person needed beside one to the own person: nearer by `_MARGIN`, and as
    near as people are to themselves."""
    floor = np.nanquantile(own[trusted], _FLOOR) if np.isfinite(own[trusted]).any() else 1.0
    gain = _MARGIN * scale.gap
    return lambda own: np.maximum(np.nan_to_num(own, nan=1.0) + gain, floor).astype(np.float32)


def _compare_images(
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
    near = np.zeros(len(part), np.float32)
    blocks = map_sharded(range(0, len(hard), _BLOCK), compare)
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
    for start in range(0, len(part), _BLOCK):
        block = slice(start, start + _BLOCK)
        own = np.einsum("nd,nd->n", embeddings[block], centroids[part[block]])
        # The bound is least at this cosine, so a nearer centroid cannot lower it.
        near = np.minimum(nearest[part[block]], own / np.maximum(needed[block], 1e-6))
        own, near = np.clip(own, -1, 1), np.clip(near, -1, 1)
        room = np.sqrt((1 - own**2) * (1 - near**2))
        possible[block] = needed[block] - own * near <= residue * room
    return possible


def _similarity_to_rest(
    embeddings: Floats, part: Rows, trusted: NDArray[np.bool_], groups: Groups
) -> Floats:
    """Cosine of each image to the leave-one-out centroid of its part; NaN for its only image."""
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
    """Per folder the parts of the same person: its own, and those in `same`."""
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
        if len(rows) < 2 * SMALLEST_PART:
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
    """Divide a folder of several people: `(n,)` labels from 0.

    Descends from the dendrogram's root, past branches of one or two images and of images that are
    unlike each other (strays, not a person). The folder is divided at the first other branch if
    its sides are `DIFFERENT`.

    Args:
        embeddings: `(n, D) float32` unit vectors.
        tree: their dendrogram.
        trusted: `(n,) bool` mask of images judged right.
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
        if sizes[two] < SMALLEST_PART or scale.genuine - within[two] > DIFFERENT * scale.gap:
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
