"""A distance threshold from the data's own similarities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facerec.card import Metric, similarity_to_distance
from facerec.cleanup.groups import Groups
from facerec.cleanup.photos import Photos
from facerec.errors import UsageError

_STEPS = 500


@dataclass(frozen=True, slots=True)
class Choice:
    """A threshold and why.

    Attributes:
        threshold: distance in the metric that was asked for.
        own: share of images farther than it from the rest of their own folder.
        other: share of images nearer than it to another, random folder.
    """

    threshold: float
    own: float
    other: float


def choose_threshold(photos: Photos, metric: Metric) -> Choice:
    """The threshold with the least sum of both errors (Youden 1950), for average linkage.

    Compared are mean cosines of an image with all others of its own folder and with all of
    another. Noise in the labels is in both errors, so they are not the model's.

    Raises:
        UsageError: there are no two people of whom one has two images.
    """
    rows = photos.embedded()
    vectors = photos.vector[rows]
    numbers, person = np.unique(photos.person[rows], return_inverse=True)
    groups = Groups.of(vectors, person, len(numbers))
    shared = groups.sizes[person] > 1
    if len(numbers) < 2 or not shared.any():
        raise UsageError("--auto needs two people, and two images of one; give a threshold")
    sums = np.einsum("nd,nd->n", vectors, groups.sums[person])
    own = ((sums - 1) / np.maximum(groups.sizes[person] - 1, 1))[shared]
    step = np.random.default_rng(0).integers(1, len(numbers), len(person))
    other = np.einsum("nd,nd->n", vectors, groups.means()[(person + step) % len(numbers)])
    candidates = np.linspace(other.min(), own.max(), _STEPS)
    missed = np.searchsorted(np.sort(own), candidates) / len(own)
    passed = 1 - np.searchsorted(np.sort(other), candidates) / len(other)
    least = np.flatnonzero(missed + passed <= (missed + passed).min() + 1e-12)
    best = least[len(least) // 2]
    return Choice(
        similarity_to_distance(float(candidates[best]), metric),
        float(missed[best]),
        float(passed[best]),
    )
