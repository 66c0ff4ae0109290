"""How alike different people are in an album: the density around each face, and the threshold.

Both are measured on the pairs of faces that a first grouping keeps apart, so they hold for this
network and these people, and no calibration is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from facerec.album.known import Known, Numbers, undecided
from facerec.album.similarity import EXACT, Similarity
from facerec.faces import Floats
from facerec.parallel.products import products

Rows = NDArray[np.intp]

ACCEPTED = 0.35
"""Faces of others at or above the threshold that each face has on average. Of 0.15 to 0.7 this gave
the best F1 on half of LFW's people, in albums of 100 to 3,000 faces, by two networks."""
_DENSE = 0.01
"""Share of the other faces among which a face's density is measured, but at least three."""
_FLOOR = 0.6
"""How far above the median of other people's cosines linking begins, as against the threshold that
a normal distribution would give."""
_CERTAIN = 50
"""Pairs of faces in one photo that are enough to tell how alike different people are."""
_STEP = 1024
_NORMAL = NormalDist()


class Cohort:
    """Faces that all others are compared with: all, or a sample of an album's many.

    Args:
        vectors: `(N, D) float32` unit vectors.
        advance: progress callback, with the number of faces compared.
    """

    def __init__(self, vectors: Floats, advance: Callable[[int], None]) -> None:
        self._advance = advance
        step = -(-len(vectors) // EXACT)
        self._vectors = vectors
        self._rows = np.arange(0, len(vectors), max(step, 1))

    def floor(self, photos: Numbers) -> float:
        """The similarity at which linking begins, well below any threshold.

        The lower of two measures: on faces that share a photo, who are different people, but may be
        siblings; and on all pairs, most of which are different people, unless hardly anybody else
        is in the album.

        Args:
            photos: `(N,)` photo of each face.
        """
        rate = min(ACCEPTED / len(photos), 0.05)
        above = -_FLOOR * _NORMAL.inv_cdf(rate)
        some = self._vectors[self._rows[:: max(1, len(self._rows) // 1000)]]
        cosines = products(some, some)[np.triu_indices(len(some), 1)]
        # One person's pairs are among the greater ones.
        spread = _quantile(cosines, 0.5) - _quantile(cosines, _NORMAL.cdf(-1))
        floor = _quantile(cosines, 0.5) + above * spread
        order = np.argsort(photos, kind="stable")
        beside = [
            np.stack([order[:-lag], order[lag:]], 1)[photos[order[:-lag]] == photos[order[lag:]]]
            for lag in range(1, min(4, len(photos)))
        ]
        pairs = np.concatenate([np.empty((0, 2), np.intp), *beside])
        if len(pairs) < _CERTAIN:
            return floor
        one, two = self._vectors[pairs[:, 0]], self._vectors[pairs[:, 1]]
        cosines = np.einsum("nd,nd->n", one, two)
        spread = _quantile(cosines, _NORMAL.cdf(1)) - _quantile(cosines, 0.5)
        return min(floor, _quantile(cosines, 0.5) + above * spread)

    def density(self, labels: Rows, threshold: float) -> Floats:
        """`(N,) float32` mean cosine of each face with the nearest of other groups.

        Args:
            labels: `(N,)` group of each face.
            threshold: faces at least so similar may be one person, whatever the groups say, and do
                not count.
        """
        cohort, own = self._vectors[self._rows], labels[self._rows]
        count = min(max(3, round(_DENSE * len(cohort))), len(cohort))
        density = np.empty(len(labels), np.float32)
        for start in range(0, len(labels), _STEP):
            cosines = products(self._vectors[start : start + _STEP], cohort)
            cosines[labels[start : start + _STEP, None] == own] = np.nan
            cosines[cosines >= threshold] = np.nan
            nearest = -np.sort(np.partition(-cosines, count - 1, axis=1)[:, :count], axis=1)
            there = np.isfinite(nearest)
            sums = np.where(there, nearest, 0).sum(1)
            density[start : start + _STEP] = sums / np.maximum(there.sum(1), 1)
            density[start : start + _STEP][~there.any(1)] = np.nan
            self._advance(len(cosines))
        density[np.isnan(density)] = np.nanmedian(density) if np.isfinite(density).any() else 0
        return density

    def pairs(self, similarity: Similarity, least: float) -> Impostors:
        """Pairs of a face and one of the cohort that are at least so similar."""
        right = similarity.right[self._rows]
        parts = []
        for start in range(0, len(similarity.left), _STEP):
            block = products(similarity.left[start : start + _STEP], right)
            face, other = np.nonzero(block >= least)
            parts.append((face + start, self._rows[other], block[face, other]))
            self._advance(len(block))
        faces, others, values = map(np.concatenate, zip(*parts, strict=True))
        apart = faces != others
        return Impostors(faces[apart], others[apart], values[apart], len(self._rows))


class Impostors:
    """Pairs of faces by similarity, some of which are impostors.

    Args:
        faces, others: `(E,)` rows.
        values: `(E,) float32` their similarity.
        size: of the cohort that each face was compared with.
    """

    def __init__(self, faces: Rows, others: Rows, values: Floats, size: int) -> None:
        self._pairs = faces, others
        self._values = values
        self._size = size

    def threshold(self, known: Known, labels: Rows, least: float) -> float:
        """The similarity that each face reaches with `ACCEPTED` faces of other groups on average.

        Groups that a decision keeps apart do not count: twins told apart would raise it for all.

        Args:
            known: what is known of the N faces.
            labels: `(N,)` group of each face.
            least: returned if fewer pairs are there.
        """
        values = self._values[undecided(known, labels, *self._pairs)]
        rank = max(1, round(ACCEPTED * self._size))
        if len(values) < rank:
            return least
        return float(np.partition(values, len(values) - rank)[-rank])


def _quantile(values: Floats, share: float) -> float:
    return float(np.quantile(values, share))
