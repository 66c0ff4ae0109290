"""People's mean vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facerec.faces import Floats


def mean_vector(embeddings: Floats) -> Floats:
    """`(D,) float32`: the mean of unit vectors `(N, D) float32`, renormalised."""
    (mean,) = mean_vectors(embeddings, np.zeros(len(embeddings), np.int32), 1)
    return mean  # type: ignore[no-any-return]


def mean_vectors(embeddings: Floats, person: NDArray[np.integer], people: int) -> Floats:
    """`(P, D) float32`: the mean of each person's unit vectors, renormalised.

    Args:
        embeddings: `(N, D) float32`.
        person: `(N,)` numbers below `people`.
    """
    sums = np.zeros((people, embeddings.shape[1]), np.float64)
    np.add.at(sums, person, embeddings)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    means: Floats = (sums / np.maximum(norms, np.finfo(np.float32).tiny)).astype(np.float32)
    return means
