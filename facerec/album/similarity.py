"""Similarity of faces: their cosine, less how near each is to everybody.

A network finds some faces like those of many others: blurred ones, small children's. Two of them
need a greater cosine to be one person. Each face's density is its mean cosine with the nearest
faces of other people, and the similarity of two is their cosine less the mean of their densities
(cross-domain similarity local scaling, Conneau et al. 2018, Word Translation Without Parallel Data,
section 2.3), each taken from the median, so that similarities stay on the scale of cosines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facerec.faces import Floats
from facerec.parallel.products import products

_CELLS = 1 << 24
"""Similarities computed at once: 64 MiB."""
NEIGHBOURS = 64
"""Pairs kept of each row where all would not fit."""
EXACT = 4000
"""Rows of which all similar pairs are kept: at most 8 million."""


@dataclass(frozen=True, slots=True, eq=False)
class Similarity:
    """The similarity of rows i and j is `left[i] @ right[j]`; so is the mean similarity of all
    pairs of two groups, of the means of their rows.

    Attributes:
        left, right: `(N, D + 2) float32`.
    """

    left: Floats
    right: Floats

    @classmethod
    def of(cls, vectors: Floats, density: Floats | None = None) -> Similarity:
        """Of `(N, D) float32` unit vectors, and the density of each; None: all alike."""
        count = len(vectors)
        less = np.zeros((count, 1), np.float32)
        if density is not None:
            less[:, 0] = (np.median(density) - density) / 2
        ones = np.ones((count, 1), np.float32)
        return cls(np.hstack([vectors, less, ones]), np.hstack([vectors, ones, less]))

    def of_pairs(self, pairs: NDArray[np.intp]) -> Floats:
        """`(E,) float32` of `(E, 2)` pairs of rows."""
        near = np.empty(len(pairs), np.float32)
        step = _CELLS // self.left.shape[1]
        for start in range(0, len(pairs), step):
            one, other = pairs[start : start + step].T
            near[start : start + step] = np.einsum("nd,nd->n", self.left[one], self.right[other])
        return near


def pairs_from(
    similarity: Similarity,
    least: float,
    rows: NDArray[np.intp] | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[NDArray[np.intp], Floats]:
    """Pairs of rows that are at least so similar.

    Of more than `EXACT` rows those among the `NEIGHBOURS` nearest of either.

    Args:
        rows: only pairs with one of these; None: all.
        advance: progress callback, with the number of rows compared.

    Returns:
        `(E, 2)` pairs i < j, each once, and `(E,) float32` how similar they are.
    """
    count = len(similarity.left)
    rows = np.arange(count) if rows is None else rows
    step = max(1, _CELLS // max(count, 1))
    keys, values = [np.empty(0, np.intp)], [np.empty(0, np.float32)]
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        similar = products(similarity.left[block], similarity.right)
        similar[np.arange(len(block)), block] = -np.inf
        place, other = np.nonzero(similar >= least)
        near = similar[place, other]
        if count > EXACT:
            kept = _nearest(place, near, len(block))
            place, other, near = place[kept], other[kept], near[kept]
        one = block[place]
        keys.append(np.minimum(one, other) * count + np.maximum(one, other))
        values.append(near)
        advance(len(block))
    every, first = np.unique(np.concatenate(keys), return_index=True)
    return np.stack(np.divmod(every, max(count, 1)), 1), np.concatenate(values)[first]


def _nearest(place: NDArray[np.intp], near: Floats, count: int) -> NDArray[np.intp]:
    """Which values are among the `NEIGHBOURS` greatest of their place, one of `count`."""
    order = np.lexsort((-near, place))
    begins = np.searchsorted(place[order], np.arange(count))
    rank = np.arange(len(order)) - begins[place[order]]
    return order[rank < NEIGHBOURS]
