"""Synthetic faces: to measure speed, and to try a profile without data."""

from __future__ import annotations

import numpy as np

from facerec.faces import Image
from facerec.training.data import Labels

_GRID = 8


class Synthetic:
    """Each person is a random 8x8 pattern, each image of them that pattern plus noise.

    Args:
        classes: people.
        per_class: images of each.
        height: of the chips, pixels.
        width: of the chips, pixels.
        seed: of everything.
    """

    def __init__(self, classes: int, per_class: int, height: int, width: int, seed: int) -> None:
        self.people = [f"synthetic-{label}" for label in range(classes)]
        self.labels: Labels = np.repeat(np.arange(classes, dtype=np.int64), per_class)
        self._size = (height, width)
        self._seed = seed

    def name(self, index: int) -> str:
        return f"synthetic image {index}"

    def image(self, index: int) -> Image:
        height, width = self._size
        person = np.random.default_rng((self._seed, int(self.labels[index])))
        noise = np.random.default_rng((self._seed, index, 1))
        pattern = person.integers(32, 224, (_GRID, _GRID, 3), np.uint8)
        rows = np.arange(height) * _GRID // height
        columns = np.arange(width) * _GRID // width
        chip: Image = pattern[rows][:, columns] + noise.integers(
            0, 32, (height, width, 1), np.uint8
        )
        return chip
