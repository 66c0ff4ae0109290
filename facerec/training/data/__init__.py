"""Training data: containers, selection and split, augmentation, batches."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facerec.faces import Image

Labels = NDArray[np.int64]


class Examples(Protocol):
    """Labelled images with random access; `image` is called from several threads.

    Attributes:
        labels: `(N,) int64`, the person of each image.
        people: each person's name.
    """

    labels: Labels
    people: list[str]

    def name(self, index: int) -> str:
        """Of an image, for messages."""
        ...

    def image(self, index: int) -> Image:
        """The decoded image, `(H, W, 3) uint8` RGB, of any size.

        Raises:
            InputError: it cannot be read.
        """
        ...
