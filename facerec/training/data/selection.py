"""Select examples by person and image count, and split off validation images."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facerec.errors import UsageError
from facerec.training.data import Examples, Labels


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """Some of the examples, with labels renumbered from 0.

    Attributes:
        indices: `(N,) int64` into the examples.
        labels: `(N,) int64` in [0, classes).
        people: name of each label.
    """

    indices: NDArray[np.int64]
    labels: Labels
    people: list[str]


def select(examples: Examples, *, people: Collection[str] | None, min_images: int) -> Selection:
    """Select people by name and number of images.

    Args:
        people: names; None: all.
        min_images: people with fewer are left out.

    Raises:
        UsageError: fewer than two people are left.
    """
    counts = np.bincount(examples.labels, minlength=len(examples.people))
    kept = counts >= min_images
    if people is not None:
        kept &= np.array([name in people for name in examples.people])
    if kept.sum() < 2:
        raise UsageError(
            f"{int(kept.sum())} of {len(examples.people)} people are left "
            f"(data.people, data.min_images {min_images}); training needs two"
        )
    renumbered = np.where(kept, np.cumsum(kept) - 1, -1)
    indices = np.flatnonzero(kept[examples.labels])
    return Selection(
        indices,
        renumbered[examples.labels[indices]],
        [name for name, keep in zip(examples.people, kept, strict=True) if keep],
    )


def split(selection: Selection, share: float, seed: int) -> tuple[Selection, Selection]:
    """Training and validation images: a share of each person's, but at least one for training.

    Both have the same people and labels.
    """
    generator = np.random.default_rng((seed, 2))
    order = generator.permutation(len(selection.indices))
    order = order[np.argsort(selection.labels[order], kind="stable")]
    counts = np.bincount(selection.labels, minlength=len(selection.people))
    held_out = np.minimum(np.floor(counts * share + 0.5).astype(int), np.maximum(counts - 1, 0))
    starts = np.cumsum(counts) - counts
    labels = selection.labels[order]
    rank = np.arange(len(order)) - starts[labels]
    validation = np.sort(order[rank < held_out[labels]])
    training = np.sort(order[rank >= held_out[labels]])
    return _part(selection, training), _part(selection, validation)


def _part(selection: Selection, rows: NDArray[np.int64]) -> Selection:
    return Selection(selection.indices[rows], selection.labels[rows], selection.people)
