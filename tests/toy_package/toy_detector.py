"""A detector of another package: one face in the middle of every image that is not blank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import BaseModel, Field

from facerec.faces import Face, Image
from facerec.profile.schema import DetectorSection
from facerec.registry import DETECTORS

_POINTS = np.array([[0.3, 0.35], [0.7, 0.35], [0.5, 0.55], [0.35, 0.75], [0.65, 0.75]], np.float32)


class ToyOptions(BaseModel):
    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Of the image's sides, the face's."""


@DETECTORS.register("toy", help="One face in the middle.", options=ToyOptions)
class ToyDetector:
    def __init__(self, share: float) -> None:
        self._share = share

    @classmethod
    def from_section(cls, section: DetectorSection, *, device: str) -> ToyDetector:
        return cls(ToyOptions(**section.options).share)

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        return [[self._face(image)] if image.size and np.ptp(image) else [] for image in images]

    def _face(self, image: Image) -> Face:
        size = np.array(image.shape[1::-1], np.float32)
        sides = size * np.float32(self._share)
        corner = (size - sides) / 2
        return Face(np.concatenate([corner, corner + sides]), 0.9, corner + _POINTS * sides)

    def reduction(self, height: int, width: int) -> int:
        return 1

    def reduced(self, factor: int) -> ToyDetector:
        return self
