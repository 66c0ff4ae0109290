"""The limit of least total error between two kinds of scores (Youden 1950)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_STEPS = 500


class Limit(NamedTuple):
    """A limit on a score, and the shares on the wrong side of it.

    Attributes:
        score: genuine scores are at or above it.
        missed: share of the genuine below it.
        passed: share of the impostors at or above it.
    """

    score: float
    missed: float
    passed: float


def least_error(genuine: NDArray[np.floating], impostor: NDArray[np.floating]) -> Limit:
    """Of equally good limits the middle one.

    Args:
        genuine, impostor: `(N,)` and `(M,)` scores.
    """
    candidates = np.linspace(impostor.min(), genuine.max(), _STEPS)
    missed = np.searchsorted(np.sort(genuine), candidates) / len(genuine)
    passed = 1 - np.searchsorted(np.sort(impostor), candidates) / len(impostor)
    least = np.flatnonzero(missed + passed <= (missed + passed).min() + 1e-12)
    best = least[len(least) // 2]
    return Limit(float(candidates[best]), float(missed[best]), float(passed[best]))
