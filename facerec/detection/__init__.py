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

    def reduction(self, height: int, width: int) -> int:
        """By what factor (1, 2, 4 or 8) a picture may be read smaller, so that the faces sought
        are still large enough to be found; 1 where that would save little."""
        ...

    def reduced(self, factor: int) -> Detector:
        """This detector for pictures so many times smaller."""
        ...
