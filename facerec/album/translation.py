"""A linear map from one model's vectors to another's, learned from faces that have both.

Ridge regression between the centred spaces (Hoerl and Kennard 1970), whose penalty is chosen on
held-out faces, stretched to the spread that the new vectors have. Regression alone draws all
vectors to their mean, so that at the new model's thresholds strangers are taken for one person. An
orthogonal map (Schönemann 1966) keeps the angles among translated vectors, but puts them farther
from the other model's own, which an album holds beside them. Measured on LFW: see the guide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facerec.faces import Floats

_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
"""In units of the input's mean variance."""
_FOLDS = 5

_Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Translation:
    """A learned map.

    Attributes:
        before: `(D,) float64`: mean of the old vectors.
        weights: `(D, E) float64`.
        after: `(E,) float64`: mean of the new vectors.
        likeness: mean cosine of translated and new vectors, on faces that the map was not
            fitted to.
        faces: how many it was fitted to.
    """

    before: _Doubles
    weights: _Doubles
    after: _Doubles
    likeness: float
    faces: int

    def apply(self, vectors: Floats) -> Floats:
        """Vectors `(N, D) float32` of the old model as `(N, E) float32` unit vectors."""
        return _apply(vectors, self.before, self.weights, self.after)


def fit_translation(old: Floats, new: Floats, groups: NDArray[np.int64]) -> Translation:
    """Learn the map from faces that have both vectors.

    Args:
        old: `(N, D) float32` unit vectors.
        new: `(N, E) float32` unit vectors of the same faces.
        groups: `(N,) int64`: faces of one group, such as a photo, are held out together.
    """
    _, folds = np.unique(groups, return_inverse=True)
    folds = np.random.default_rng(0).permutation(folds.max() + 1)[folds] % _FOLDS
    likeness = {penalty: _held_out(old, new, folds, penalty) for penalty in _PENALTIES}
    penalty = max(_PENALTIES, key=likeness.__getitem__)
    return Translation(*_ridge(old, new, penalty), likeness[penalty], len(old))


def _held_out(old: Floats, new: Floats, folds: NDArray[np.int64], penalty: float) -> float:
    cosines = [
        (_apply(old[held], *_ridge(old[~held], new[~held], penalty)) * new[held]).sum(axis=1)
        for held in (folds == fold for fold in np.unique(folds))
    ]
    return float(np.concatenate(cosines).mean())


def _ridge(old: Floats, new: Floats, penalty: float) -> tuple[_Doubles, _Doubles, _Doubles]:
    before, after = old.mean(axis=0, dtype=np.float64), new.mean(axis=0, dtype=np.float64)
    centred = old.astype(np.float64) - before
    spread = centred.T @ centred
    mean_variance = np.trace(spread) / len(spread)
    damped = spread + penalty * mean_variance * np.eye(len(spread))
    weights = np.linalg.solve(damped, centred.T @ (new - after))
    stretch = np.linalg.norm(new - after) / np.linalg.norm(centred @ weights)
    return before, stretch * weights, after


def _apply(vectors: Floats, before: _Doubles, weights: _Doubles, after: _Doubles) -> Floats:
    moved = (vectors - before) @ weights + after
    unit: Floats = (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float32)
    return unit
