"""Groups of images as sums of their vectors.

The mean cosine of all pairs between two groups is the dot product of their mean vectors. Unlike the
cosine of centroids it is not biased by the groups' sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facerec.faces import Floats

Rows = NDArray[np.intp]


def rows_by_group(group: Rows, count: int) -> list[Rows]:
    """The rows of each of `count` groups, ascending; rows of negative groups are skipped."""
    order = np.argsort(group, kind="stable")
    bounds = np.searchsorted(group[order], np.arange(count + 1))
    return np.split(order[: bounds[-1]], bounds[:-1])[1:]


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Sums over groups of images.

    Attributes:
        sums: `(G, D) float32` sums of unit vectors.
        sizes: `(G,) int64` images in each; may be 0.
    """

    sums: Floats
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, embeddings: Floats, group: Rows, count: int) -> Groups:
        """Sum `(N, D) float32` unit vectors by `(N,)` group; negative groups are skipped."""
        from scipy.sparse import csr_matrix

        rows = np.flatnonzero(group >= 0)
        ones = np.ones(len(rows), np.float32)
        chosen = csr_matrix((ones, (group[rows], rows)), (count, len(group)))
        return cls(chosen @ embeddings, np.bincount(group[rows], minlength=count))

    def means(self) -> Floats:
        """`(G, D) float32` mean vectors, of length below 1; zeros for an empty group."""
        sizes = np.maximum(self.sizes, 1)[:, None].astype(np.float32)
        return np.asarray(self.sums / sizes, np.float32)

    def centroids(self) -> Floats:
        """`(G, D) float32` mean vectors at unit length; zeros for an empty group."""
        norms = np.linalg.norm(self.sums, axis=1, keepdims=True)
        return np.asarray(self.sums / np.maximum(norms, np.finfo(np.float32).tiny), np.float32)

    def within(self) -> NDArray[np.float64]:
        """`(G,)` mean cosine of the pairs in each group; NaN below two images."""
        squares = np.einsum("gd,gd->g", self.sums, self.sums, dtype=np.float64)
        pairs = self.sizes * (self.sizes - 1.0)
        return np.where(pairs > 0, (squares - self.sizes) / np.maximum(pairs, 1), np.nan)


@dataclass(frozen=True, slots=True)
class Scale:
    """Typical similarities of this model on these images.

    Attributes:
        genuine: median over people of the mean cosine within a person.
        impostor: mean cosine between people.
    """

    genuine: float
    impostor: float

    @property
    def gap(self) -> float:
        """Genuine less impostor: the unit of margins."""
        return max(self.genuine - self.impostor, 1e-6)

    @classmethod
    def of(cls, groups: Groups) -> Scale:
        """Measured on groups; of fewer than two, 1 and 0."""
        within = groups.within()
        within = within[np.isfinite(within)]
        genuine = float(np.median(within)) if len(within) else 1.0
        total = groups.sums.sum(0, dtype=np.float64)
        squares = np.einsum("gd,gd->", groups.sums, groups.sums, dtype=np.float64)
        pairs = float(groups.sizes.sum()) ** 2 - float((groups.sizes.astype(float) ** 2).sum())
        impostor = float(total @ total - squares) / pairs if pairs else 0.0
        return cls(genuine, min(impostor, genuine))
