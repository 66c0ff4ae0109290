"""Label noise: images, parts of folders and folders filed under the wrong person.

Each image is compared with the leave-one-out centroid of its own folder and with every other
folder's centroid; folders are compared by their mean pair similarity. What is judged wrong is
excluded from the centroids, and all is judged again until nothing changes. Margins are in units of
the gap between typical genuine and impostor similarity, so that limits hold for any model. Of
enough images the cosines are then weighed by what the data set itself says of them (`evidence`),
and of the doubtful ones by what a second look says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from facerec.cleanup.comparison import (
    BLOCK,
    compare_images,
    compare_parts,
    not_others,
    similarity_to_rest,
)
from facerec.cleanup.division import divide_folders
from facerec.cleanup.evidence import Evidence, weigh
from facerec.cleanup.groups import Groups, Rows, Scale
from facerec.cleanup.linkage import Tree
from facerec.faces import Floats
from facerec.parallel.products import products

_MARGIN = 0.05
"""Margin, in gaps, by which another person must be nearer than an image's own."""
_FLOOR = 0.01
"""Quantile of the cosines to the own centroid that a cosine to another person's must reach."""
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
ROUNDS = _BY_MARGIN + _BY_EVIDENCE + 1 + _BY_EVIDENCE
"""Rounds of judging in all, at most: the second look and what follows it are the last."""
_DOUBTFUL = np.log(10)
"""Log-odds of the likeliest kind over the next, below which an image is doubtful: ten to one. With
a hundred or a thousand to one, five and ten times as many images give no better F1 on LFW."""
_MOST_AGAIN = 0.1
"""Share of the images that are looked at again, at most."""

Again = Callable[[Rows], Floats]
"""Vectors of a second look: `(M, D) float32` unit vectors of `(M,)` rows, NaN where there is none.
Each is the mean of several views of the face, among them the one first seen."""


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
        again: `(N,) bool`: judged by a second look.
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
    again: NDArray[np.bool_]

    def taken(self, place: Rows) -> Judgement:
        """The judgement of images at these places, which may be repeated."""
        return replace(
            self, part=self.part[place], own=self.own[place], other=self.other[place],
            margin=self.margin[place], near=self.near[place], again=self.again[place],
        )  # fmt: skip

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
    again: Again | None = None,
) -> Judgement:
    """Find label noise, in rounds, until nothing changes.

    Args:
        embeddings: `(N, D) float32` unit vectors.
        person: `(N,)` folder of each image, from 0, ascending.
        trees: each folder's dendrogram.
        apart: `(N,) bool`, images far from all others of their folder: never part of a centroid.
        advance: progress callback, with the number of images judged; `ROUNDS * N` in all.
        again: the second look at what is doubtful; None: there is none.
    """
    count = len(trees)
    rows_of = np.split(np.arange(len(person)), np.cumsum(np.bincount(person, minlength=count))[:-1])
    usable = np.ones(len(person), bool) if apart is None else ~apart
    trusted = usable
    scale = Scale.of(Groups.of(embeddings, person, count))
    seen: set[bytes] = set()
    for done in range(1, _BY_MARGIN + 1):
        # Divided first: the centroid of two people is close to neither.
        part, folder = divide_folders(embeddings, rows_of, trees, trusted, scale)
        groups = Groups.of(embeddings, np.where(trusted, part, -1), len(folder))
        scale = Scale.of(groups)
        same, nearest = compare_parts(groups, scale, folder)
        own = similarity_to_rest(embeddings, part, trusted, groups, embeddings)
        least = _least_by_margin(own, trusted, scale)
        other, margin, near = compare_images(
            embeddings, part, folder, groups, same, nearest, scale, own, least, advance
        )
        trusted = (other < 0) & usable
        state = trusted.tobytes() + part.tobytes()
        if state in seen:
            advance((_BY_MARGIN - done) * len(person))
            break
        seen.add(state)
    unseen = np.zeros(len(person), bool)
    judgement = Judgement(scale, part, folder, own, other, margin, near, same, None, unseen)
    judgement, trusted = _judge_by_evidence(embeddings, embeddings, judgement, trusted, advance)
    if again is None or judgement.evidence is None:
        advance((1 + _BY_EVIDENCE) * len(person))
        return judgement
    doubtful = _find_doubtful(embeddings, judgement, judgement.evidence, trusted, advance)
    judgement, seen_anew = _look_again(embeddings, judgement, doubtful, again)
    if not judgement.again.any():
        advance(_BY_EVIDENCE * len(person))
        return judgement
    return _judge_by_evidence(embeddings, seen_anew, judgement, trusted, advance)[0]


def _judge_by_evidence(
    embeddings: Floats, seen: Floats, judgement: Judgement, trusted: NDArray[np.bool_],
    advance: Callable[[int], None],
) -> tuple[Judgement, NDArray[np.bool_]]:  # fmt: skip
    """Some rounds by evidence, of images that were judged before; and which are trusted then.

    Args:
        embeddings: `(N, D) float32`, of which centroids are made.
        seen: `(N, D) float32` what is compared with them.
    """
    part, folder = judgement.part, judgement.folder
    for done in range(_BY_EVIDENCE):
        groups = Groups.of(embeddings, np.where(trusted, part, -1), len(folder))
        own = similarity_to_rest(embeddings, part, trusted, groups, seen)
        elsewhere = judgement.other >= 0
        found = _weigh_images(seen, part, folder, trusted, elsewhere, groups, judgement.same, own)
        if found is None:
            advance((_BY_EVIDENCE - done) * len(part))
            break
        scale = Scale.of(groups)
        same, nearest = compare_parts(groups, scale, folder)
        other, margin, near = compare_images(
            seen, part, folder, groups, same, nearest, scale, own, found.least_other, advance
        )
        trusted = (other < 0) & ~(own < found.own_limit)
        judgement = replace(
            judgement, scale=scale, own=own, other=other, margin=margin, near=near, same=same,
            evidence=found,
        )  # fmt: skip
    return judgement, trusted


def _find_doubtful(
    embeddings: Floats, judgement: Judgement, evidence: Evidence, trusted: NDArray[np.bool_],
    advance: Callable[[int], None],
) -> Rows:  # fmt: skip
    """The rows whose likeliest kind leads by less than `_DOUBTFUL`, ascending; of too many the
    most doubtful."""
    part, folder = judgement.part, judgement.folder
    groups = Groups.of(embeddings, np.where(trusted, part, -1), len(folder))
    scale = Scale.of(groups)
    same, nearest = compare_parts(groups, scale, folder)
    own = similarity_to_rest(embeddings, part, trusted, groups, embeddings)
    slack = np.float32(_DOUBTFUL / evidence.other.slope)
    other, _, near = compare_images(
        embeddings, part, folder, groups, same, nearest, scale, own,
        lambda own: evidence.least_other(own) - slack, advance,
    )  # fmt: skip
    lead = evidence.lead(own, np.where(other < 0, np.float32(-1), near))
    rows = np.flatnonzero(lead < _DOUBTFUL)
    most = int(np.ceil(_MOST_AGAIN * len(part)))
    return np.sort(rows[np.argsort(lead[rows], kind="stable")[:most]])


def _look_again(
    embeddings: Floats, judgement: Judgement, doubtful: Rows, again: Again
) -> tuple[Judgement, Floats]:
    """Which images a second look saw, and what is compared of each image after it.

    A mean of several views is nearer to every centroid than one view is, by the length that the
    mean has before it is scaled to 1: their limits differ. So it is scaled back to that length,
    about its cosine to one view; its cosines are then means over the views.
    """
    looked = again(doubtful) if len(doubtful) else embeddings[:0]
    there = ~np.isnan(looked[:, 0])
    rows, looked = doubtful[there], looked[there]
    mask = np.zeros(len(embeddings), bool)
    mask[rows] = True
    seen = embeddings
    if len(rows):
        seen = embeddings.copy()
        seen[rows] = looked * np.einsum("nd,nd->n", looked, embeddings[rows])[:, None]
    return replace(judgement, again=mask), seen


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
    excluded = not_others(folder, same)
    dice = np.random.default_rng(0)
    drawn = dice.integers(len(folder), size=(len(rows), min(_OTHERS, len(folder))))
    highest = np.empty(len(rows), np.float32)
    some = np.empty(drawn.shape, np.float32)
    for start in range(0, len(rows), BLOCK):
        block = slice(start, start + BLOCK)
        cosines = products(embeddings[rows[block]], centroids)
        for line, row in enumerate(rows[block]):
            cosines[line, excluded[folder[part[row]]]] = -1
        highest[block] = cosines.max(1)
        some[block] = np.take_along_axis(cosines, drawn[block], 1)
    return weigh(own[rows], highest, some, trusted[rows], elsewhere[rows])


def _least_by_margin(
    own: Floats, trusted: NDArray[np.bool_], scale: Scale
) -> Callable[[Floats], Floats]:
    """The cosine to another person needed beside one to the own person: nearer by `_MARGIN`, and as
    near as people are to themselves."""
    floor = np.nanquantile(own[trusted], _FLOOR) if np.isfinite(own[trusted]).any() else 1.0
    gain = _MARGIN * scale.gap
    return lambda own: np.maximum(np.nan_to_num(own, nan=1.0) + gain, floor).astype(np.float32)
