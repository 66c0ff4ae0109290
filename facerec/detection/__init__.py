"""Finding faces: boxes, scores and five landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from facerec.faces import Face, Image


class Detector(Protocol):
    """What every detector does.

    The result for an image never depends on the other images of the call.
    """

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """Faces of each image, highest score first; an empty list where there is none.

        Args:
            images: `(H, W, 3) uint8` RGB each, of any sizes.
        """
        ...
