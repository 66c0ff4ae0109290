"""Agglomerative clustering of one identity's images: the exact dendrogram.

Sets of up to 4,000 images go to scikit-learn's `AgglomerativeClustering`, which holds four to eight
copies of the distances. Larger ones go through the same nearest-neighbour chain (Murtagh 1983;
Müllner 2011, fig. 3) on one float32 triangle of them, which from 8,000 images on is also faster.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from facerec.card import Metric, require_metric
from facerec.errors import require_choice
from facerec.faces import Floats
from facerec.parallel.products import products

Linkage = Literal["average", "complete", "single", "ward"]
Tree = NDArray[np.float64]
"""SciPy's linkage matrix `(N - 1, 4) float64`: two clusters, their distance, images in both."""

_SMALL = 4000
_BLOCK_ROWS = 256


def link(
    embeddings: Floats,
    metric: Metric,
    linkage: Linkage,
    advance: Callable[[int], None] = lambda _: None,
) -> Tree:
    """The dendrogram of agglomerative clustering.

    Ties do not depend on the input's order: the vectors are sorted first.

    Args:
        embeddings: `(N, D) float32` unit vectors, N >= 1.
        metric: distance between two images; `ward` is defined for `euclidean` only.
        advance: progress callback, with the number of merges.

    Returns:
        The merges by ascending distance; image n is cluster n, merge m makes cluster N + m.

    Raises:
        UsageError: there is no such metric or linkage.
    """
    require_metric(metric)
    require_choice("linkage", linkage, get_args(Linkage))
    count = len(embeddings)
    if count < 2:
        return np.empty((0, 4))
    order = np.lexsort(embeddings.T)
    if count <= _SMALL:
        tree = _agglomerate(embeddings[order], metric, linkage)
        advance(count - 1)
    else:
        triangle = distance_triangle(embeddings[order], metric)
        tree = sorted_tree(_chain(triangle, count, linkage, advance), count)
    leaves = tree[:, :2] < count
    tree[:, :2][leaves] = order[tree[:, :2][leaves].astype(np.intp)]
    return tree


def cut(tree: Tree, threshold: float) -> NDArray[np.intp]:
    """Clusters `(N,)` from 0: merges at or above the threshold are undone, as with scikit-learn's
    `distance_threshold`.
    """
    if not len(tree):
        return np.zeros(1, np.intp)
    from scipy.cluster.hierarchy import fcluster

    labels: NDArray[np.intp] = fcluster(tree, np.nextafter(threshold, -np.inf), "distance") - 1
    return labels


def distance_triangle(embeddings: Floats, metric: Metric) -> Floats:
    """Distances of all pairs i < j, row after row, `(N (N - 1) / 2,) float32`.

    Args:
        embeddings: `(N, D) float32` unit vectors.

    Raises:
        UsageError: there is no such metric.
    """
    require_metric(metric)
    count = len(embeddings)
    triangle = np.empty(count * (count - 1) // 2, np.float32)
    end = 0
    for start in range(0, count, _BLOCK_ROWS):
        block = products(embeddings[start : start + _BLOCK_ROWS], embeddings[start:])
        for row, cosines in enumerate(block):
            pairs = cosines[row + 1 :]
            triangle[end : end + len(pairs)] = pairs
            end += len(pairs)
    np.subtract(1, triangle, out=triangle)
    np.maximum(triangle, 0, out=triangle)
    if metric == "euclidean":
        triangle *= 2
        np.sqrt(triangle, out=triangle)
    return triangle


def _agglomerate(embeddings: Floats, metric: Metric, linkage: Linkage) -> Tree:
    from scipy.spatial.distance import squareform
    from sklearn.cluster import AgglomerativeClustering

    if linkage == "ward":
        given, distances = "euclidean", embeddings
    else:
        given, distances = "precomputed", squareform(distance_triangle(embeddings, metric))
    model = AgglomerativeClustering(
        n_clusters=None, distance_threshold=0, metric=given, linkage=linkage
    ).fit(distances)
    sizes = np.ones(2 * len(embeddings) - 1)
    for merged, (one, two) in enumerate(model.children_, start=len(embeddings)):
        sizes[merged] = sizes[one] + sizes[two]
    return np.column_stack((model.children_, model.distances_, sizes[len(embeddings) :]))


def _chain(triangle: Floats, count: int, linkage: Linkage, advance: Callable[[int], None]) -> Tree:
    """Nearest-neighbour chain: merges in the order in which reciprocal neighbours are found.

    Overwrites `triangle`. Each row names one image of either cluster, distance and size.
    """
    if linkage == "ward":
        np.square(triangle, out=triangle)
    start = np.arange(count) * (2 * count - np.arange(count) - 1) // 2 - np.arange(count) - 1
    size = np.ones(count, np.float32)
    active = np.arange(count)
    merges = np.empty((count - 1, 4))
    chain: list[int] = []
    for merge in range(count - 1):
        if not chain:
            chain.append(int(active[0]))
        while True:
            tip = chain[-1]
            others, places = _row(active, tip, start)
            distances = triangle[places]
            nearest = int(distances.argmin())
            if len(chain) > 1:
                before = int(np.searchsorted(others, chain[-2]))
                # Ties go to the previous cluster, or the chain could cycle.
                if distances[before] <= distances[nearest]:
                    break
            chain.append(int(others[nearest]))
        del chain[-2:]
        other = int(others[before])
        rest = np.delete(np.arange(len(others)), before)
        _, other_places = _row(active, other, start)
        mirrored = np.delete(
            np.arange(len(others)), int(np.searchsorted(_without(active, other), tip))
        )
        gap = distances[before]
        near, far = distances[rest], triangle[other_places[mirrored]]
        joined = _update(near, far, gap, size[tip], size[other], size[others[rest]], linkage)
        # Reducibility (Bruynooghe 1978) must survive rounding.
        np.maximum(joined, np.minimum(near, far), out=joined)
        triangle[other_places[mirrored]] = joined
        size[other] += size[tip]
        active = _without(active, tip)
        merges[merge] = tip, other, np.sqrt(gap) if linkage == "ward" else gap, size[other]
        advance(1)
    return merges


def _without(active: NDArray[np.intp], image: int) -> NDArray[np.intp]:
    at = int(np.searchsorted(active, image))
    return np.concatenate([active[:at], active[at + 1 :]])


def _row(
    active: NDArray[np.intp], image: int, start: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The other active clusters, and the triangle's indices of their distances to `image`."""
    at = int(np.searchsorted(active, image))
    below, above = active[:at], active[at + 1 :]
    places = np.concatenate([start[below] + image, start[image] + above])
    return np.concatenate([below, above]), places


def _update(
    near: Floats,
    far: Floats,
    gap: np.float32,
    a: np.float32,
    b: np.float32,
    others: Floats,
    linkage: Linkage,
) -> Floats:
    """Distances of the union of two clusters of sizes a and b (Lance and Williams 1967)."""
    union: Floats | np.ndarray
    if linkage == "single":
        union = np.minimum(near, far)
    elif linkage == "complete":
        union = np.maximum(near, far)
    elif linkage == "average":
        union = (near * a + far * b) / (a + b)
    else:
        union = ((others + a) * near + (others + b) * far - others * gap) / (others + a + b)
    return np.asarray(union, np.float32)


def sorted_tree(merges: Tree, count: int) -> Tree:
    """Sort merges, given by an image of each cluster, into SciPy's linkage matrix."""
    tree = merges[np.argsort(merges[:, 2], kind="stable")]
    cluster = np.arange(count)
    parent = np.arange(count)
    sizes = np.ones(count)
    for step, row in enumerate(tree):
        ends = [_root(parent, int(row[0])), _root(parent, int(row[1]))]
        row[:2] = sorted(cluster[end] for end in ends)
        sizes[ends[1]] += sizes[ends[0]]
        row[3] = sizes[ends[1]]
        parent[ends[0]] = ends[1]
        cluster[ends[1]] = count + step
    return tree


def _root(parent: NDArray[np.intp], image: int) -> int:
    while parent[image] != image:
        parent[image] = parent[parent[image]]
        image = int(parent[image])
    return image
