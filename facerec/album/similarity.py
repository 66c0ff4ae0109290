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


def pairs_from(
    similarity: Similarity, least: float, advance: Callable[[int], None] = lambda _: None
) -> NDArray[np.intp]:
    """`(E, 2)` pairs i < j of rows that are at least so similar.

    Of more than `EXACT` rows those among the `NEIGHBOURS` nearest of either.

    Args:
        advance: progress callback, with the number of rows compared.
    """
    count = len(similarity.left)
    step = max(1, _CELLS // max(count, 1))
    keys = [np.empty(0, np.intp)]
    for start in range(0, count, step):
        block = products(similarity.left[start : start + step], similarity.right)
        rows = np.arange(len(block))
        block[rows, start + rows] = -np.inf
        if count > EXACT:
            _keep_nearest(block, least)
        one, two = np.nonzero(block >= least)
        one += start
        keys.append(np.unique(np.minimum(one, two) * count + np.maximum(one, two)))
        advance(len(block))
    return np.stack(np.divmod(np.unique(np.concatenate(keys)), max(count, 1)), 1)


def _keep_nearest(block: Floats, least: float) -> None:
    """Leave each row its `NEIGHBOURS` greatest values, where more are at least `least`."""
    many = np.flatnonzero((block >= least).sum(1) > NEIGHBOURS)
    values = block[many]
    limit = np.partition(values, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS, None]
    block[many] = np.where(values >= limit, values, -np.inf)
