"""Average linkage on a k-nearest-neighbour graph, where all pairwise distances exceed memory.

Only clusters joined by an edge are merged, so memory grows with the graph. Their distance is still
that of all pairs: the mean cosine of two clusters is the dot product of their mean vectors. Once
no edge is left, the clusters' means form the next graph.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from facerec.card import Metric, require_metric
from facerec.cleanup.groups import Rows
from facerec.cleanup.linkage import Tree, sorted_tree
from facerec.cleanup.neighbours import neighbour_pairs
from facerec.faces import Floats

NEIGHBOURS = 32
_KEYS = 8
# Above rounding: without it the chain could cycle among copies of one image.
_EQUAL = 1e-6


def link_neighbours(
    embeddings: Floats, metric: Metric, advance: Callable[[int], None] = lambda _: None
) -> Tree:
    """As `linkage.link` with average linkage, on the graph of each image's 32 nearest.

    For `euclidean` the distance of two clusters is that of their mean cosine.

    Args:
        embeddings: `(N, D) float32` unit vectors, N >= 1.
        advance: progress callback, with the number of merges.

    Raises:
        UsageError: there is no such metric.
    """
    require_metric(metric)
    # Sorted, so that ties do not depend on the input's order.
    order = np.lexsort(embeddings.T[:_KEYS])
    clusters = _Clusters(embeddings[order], advance)
    while len(roots := clusters.roots()) > 1:
        means = clusters.sums[roots] / clusters.sizes[roots, None]
        clusters.merge_neighbours(roots[neighbour_pairs(means, NEIGHBOURS)])
    merges = np.array(clusters.merges).reshape(-1, 4)
    merges[:, :2] = order[merges[:, :2].astype(np.intp)]
    if metric == "euclidean":
        merges[:, 2] = np.sqrt(2 * merges[:, 2])
    return sorted_tree(merges, len(embeddings))


class _Clusters:
    """Union-find of clusters, each named after one of its images, merged along a graph's edges."""

    def __init__(self, sums: Floats, advance: Callable[[int], None]) -> None:
        self.sums = sums
        self._advance = advance
        self.sizes = np.ones(len(sums), np.float32)
        self.merges: list[tuple[int, int, float, float]] = []
        self._into = np.arange(len(sums))
        self._heights = np.zeros(len(sums))
        self._near: list[Rows] = []

    def roots(self) -> Rows:
        return np.flatnonzero(self._into == np.arange(len(self._into)))

    def merge_neighbours(self, edges: NDArray[np.intp]) -> None:
        """Nearest-neighbour chain (Murtagh 1983) along the edges, until none is left."""
        both = np.concatenate([edges, edges[:, ::-1]])
        both = both[np.argsort(both[:, 0], kind="stable")]
        bounds = np.searchsorted(both[:, 0], np.arange(1, len(self._into)))
        self._near = np.split(both[:, 1], bounds)
        for start in self.roots().tolist():
            chain = [start] if self._into[start] == start else []
            while chain:
                tip = chain[-1]
                others = self._neighbours(tip)
                if not len(others):
                    chain.pop()
                    continue
                cosines = (
                    self.sums[others] @ self.sums[tip] / (self.sizes[others] * self.sizes[tip])
                )
                nearest = int(cosines.argmax())
                if len(chain) > 1:
                    before = int(np.searchsorted(others, chain[-2]))
                    if cosines[before] >= cosines[nearest] - _EQUAL:
                        del chain[-2:]
                        self._merge(tip, int(others[before]), 1 - float(cosines[before]))
                        chain = chain or [int(others[before])]
                        continue
                chain.append(int(others[nearest]))

    def _neighbours(self, cluster: int) -> Rows:
        near = self._near[cluster]
        while len(stale := np.flatnonzero(self._into[near] != near)):
            near[stale] = self._into[near[stale]]
        others = np.unique(near)
        self._near[cluster] = others[others != cluster]
        return self._near[cluster]

    def _merge(self, one: int, two: int, distance: float) -> None:
        # Missing edges can cause inversions; a dendrogram must be monotone.
        height = max(distance, self._heights[one], self._heights[two])
        self.sums[two] += self.sums[one]
        self.sizes[two] += self.sizes[one]
        self._into[one] = two
        self._heights[two] = height
        self._near[two] = np.concatenate([self._near[one], self._near[two]])
        self._near[one] = np.empty(0, np.intp)
        self.merges.append((one, two, height, float(self.sizes[two])))
        self._advance(1)
