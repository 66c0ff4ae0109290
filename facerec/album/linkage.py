"""Average linkage under rules: again and again the closest two clusters that may be one are merged.

The mean similarity of all pairs of two clusters is the product of their mean vectors, so no matrix
of distances is needed, only the pairs of faces from which merges can begin. As long as these are
all pairs of at least the similarity asked for, the result is exact: two clusters whose pairs are
on average that similar have such a pair.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from facerec.album.known import Rules
from facerec.album.similarity import NEIGHBOURS, Similarity, pairs_from

Rows = NDArray[np.intp]


class Clusters:
    """Clusters of faces, each named after one of its rows.

    Attributes:
        merges: a row of each of two clusters, and their mean similarity, in the order of merging.
    """

    def __init__(self, similarity: Similarity, rules: Rules) -> None:
        count = len(similarity.left)
        self.merges: list[tuple[int, int, float]] = []
        self._rules = rules
        self._left, self._right = similarity.left.copy(), similarity.right.copy()
        self._sizes = np.ones(count, np.float32)
        self._into = np.arange(count)
        self._near: list[Rows] = [np.empty(0, np.intp)] * count
        self._version = [0] * count

    def link(self, pairs: NDArray[np.intp], least: float) -> int:
        """Merge along pairs of rows until no two clusters joined by one are similar enough.

        Args:
            pairs: `(E, 2)` rows, each pair once.
            least: mean similarity, at least, of two clusters that are merged.

        Returns:
            how many merges were made.
        """
        if not len(pairs):
            return 0
        before = len(self.merges)
        heap: list[tuple[float, int, int, int, int]] = []
        roots = self._roots(pairs.ravel()).reshape(-1, 2)
        ends = np.concatenate([roots, roots[:, ::-1]])
        ends = ends[np.argsort(ends[:, 0], kind="stable")]
        starts, firsts = np.unique(ends[:, 0], return_index=True)
        for one, others in zip(starts.tolist(), np.split(ends[:, 1], firsts[1:]), strict=True):
            near = np.unique(others)
            self._near[one] = near[near != one]
            self._push(heap, one, least)
        while heap:
            negative, one, other, mine, theirs = heapq.heappop(heap)
            if self._version[one] != mine:
                continue
            if self._version[other] != theirs or self._rules.apart(one, other):
                # Still an upper bound: a union is no more similar than its more similar part.
                self._push(heap, one, least)
                continue
            self._merge(one, other, -negative)
            self._push(heap, other, least)
        return len(self.merges) - before

    def link_means(self, least: float, held: NDArray[np.bool_]) -> int:
        """Merge along pairs of clusters whose means are similar enough; returns how often.

        Only clusters of more than `NEIGHBOURS` faces may lack a pair of faces to begin with.

        Args:
            held: `(N,)` rows that are not yet linked.
        """
        roots = np.flatnonzero((self._into == np.arange(len(self._into))) & ~held)
        sizes = self._sizes[roots, None]
        means = Similarity(self._left[roots] / sizes, self._right[roots] / sizes)
        large = np.flatnonzero(self._sizes[roots] > NEIGHBOURS)
        return self.link(roots[pairs_from(means, least, large)[0]], least)

    def _push(self, heap: list[tuple[float, int, int, int, int]], one: int, least: float) -> None:
        """Queue the nearest cluster that this one may be merged with."""
        near = self._near[one]
        roots = self._roots(near)
        if roots is not near:
            near = np.unique(roots)
            near = near[near != one]
        similar = self._left[near] @ self._right[one]
        similar /= self._sizes[near] * self._sizes[one]
        kept = None
        while len(near):
            place = int(similar.argmax())
            value = float(similar[place])
            if value < least:
                break
            other = int(near[place])
            if not self._rules.apart(one, other):
                mine, theirs = self._version[one], self._version[other]
                heapq.heappush(heap, (-value, one, other, mine, theirs))
                break
            kept = np.ones(len(near), bool) if kept is None else kept
            kept[place] = False
            similar[place] = -np.inf
        self._near[one] = near if kept is None else near[kept]

    def _roots(self, rows: Rows) -> Rows:
        """The clusters that rows are in; `rows` itself if they are these."""
        into = self._into[rows]
        if (into == rows).all():
            return rows
        while True:
            rows, into = into, self._into[into]
            if (into == rows).all():
                return rows

    def _merge(self, one: int, other: int, similarity: float) -> None:
        """`one` becomes part of `other`."""
        self._rules.merge(one, other)
        self._left[other] += self._left[one]
        self._right[other] += self._right[one]
        self._sizes[other] += self._sizes[one]
        self._into[one] = other
        self._near[other] = np.concatenate([self._near[one], self._near[other]])
        self._near[one] = np.empty(0, np.intp)
        self._version[one] += 1
        self._version[other] += 1
        self.merges.append((one, other, similarity))


def cut(merges: list[tuple[int, int, float]], count: int, least: float) -> Rows:
    """Clusters `(N,)` from 0 of the merges of at least a similarity."""
    joined = np.array([merge[:2] for merge in merges if merge[2] >= least], np.intp).reshape(-1, 2)
    graph = coo_matrix((np.ones(len(joined), bool), tuple(joined.T)), (count, count))
    labels: Rows = connected_components(graph, directed=False)[1]
    return labels
