"""The seed's algorithm: images outside the largest cluster of their person."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facerec.cleanup.groups import Rows
from facerec.cleanup.linkage import Tree, cut
from facerec.faces import Floats


def find_outliers(
    embeddings: Floats, tree: Tree, threshold: float, centroids: Floats, own: int,
    hashes: NDArray[np.object_],
) -> Rows:  # fmt: skip
    """The images of one person outside the cluster that is kept.

    The largest cluster is kept. Of equally large ones it is the one nearer to the centroid of all
    the person's images than to any other person's, by the largest margin; if even that is equal,
    the one with the smallest hash of a file. Order never decides.

    Args:
        embeddings: `(n, D) float32` unit vectors.
        tree: their dendrogram.
        threshold: merges at or above this distance are undone.
        centroids: `(P, D) float32` of all people; `own`: which is this one's.
        hashes: `(n,)` str of the files.
    """
    label = cut(tree, threshold)
    sizes = np.bincount(label)
    largest = np.flatnonzero(sizes == sizes.max())
    if len(largest) > 1:
        centroid = embeddings.sum(0)
        centroid /= max(float(np.linalg.norm(centroid)), 1e-12)

        def rank(cluster: int) -> tuple[float, str]:
            members = label == cluster
            mean = embeddings[members].mean(0)
            cosines = np.delete(centroids @ mean, own)
            elsewhere = float(cosines.max(initial=-1))
            return round(elsewhere - float(mean @ centroid), 6), min(hashes[members])

        largest = largest[[min(range(len(largest)), key=lambda place: rank(int(largest[place])))]]
    return np.flatnonzero(label != largest[0])
