"""What one-stage detectors share: scaling of the image, suppression, and the way back to its
pixels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np

from facerec.detection.reduction import Reducible, reduction_of
from facerec.faces import Face, Floats, Image
from facerec.parallel.threads import Map

_SMALLEST_FACE = 10
"""Pixels of the smallest face that such a network finds; its input keeps twice as many."""

_NMS_IOU = 0.3


class Candidates(NamedTuple):
    """Faces before suppression, in the pixels of a network's input: boxes `(N, 4)`, scores `(N,)`
    and landmarks `(N, 5, 2)`, all float32."""

    boxes: Floats
    scores: Floats
    landmarks: Floats


class OneStage(Reducible):
    """Mixin of one-stage detectors, whose input is downscaled as far as `min_face` and a longest
    side allow."""

    _longest_side: int
    _map: Map

    @abstractmethod
    def _candidates(self, image: Image, alone: bool) -> Candidates:
        """Faces that reach the detector's score.

        Args:
            image: with at least one pixel.
            alone: there is no other one at the same time.
        """

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """Faces of each `(H, W, 3) uint8` RGB image, highest score first."""
        return self._map(partial(self._detect_one, alone=len(images) == 1), images)

    def reduction(self, height: int, width: int) -> int:
        """See `Detector.reduction`."""
        return reduction_of(height, width, 1 / self._scale(height, width))

    def _scale(self, height: int, width: int) -> float:
        return min(
            1.0, self._longest_side / max(height, width), 2 * _SMALLEST_FACE / self._min_face
        )

    def _detect_one(self, image: Image, *, alone: bool) -> list[Face]:
        height, width = image.shape[:2]
        if not image.size:
            return []
        scale = self._scale(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        if scale < 1:
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        boxes, scores, landmarks = self._candidates(image, alone)
        corners_and_sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
        kept = cv2.dnn.NMSBoxes(corners_and_sides.tolist(), scores.tolist(), 0, _NMS_IOU)
        ratio = np.array([width / size[0], height / size[1]], np.float32)
        faces = (
            Face((boxes[i].reshape(2, 2) * ratio).ravel(), float(scores[i]), landmarks[i] * ratio)
            for i in kept
        )
        return [face for face in faces if face.size >= self._min_face]


def padded(image: Image, multiple: int) -> Image:
    """The image with black below and to its right, up to multiples of some pixels."""
    height, width = (-(-side // multiple) * multiple for side in image.shape[:2])
    whole = np.zeros((height, width, 3), np.uint8)
    whole[: image.shape[0], : image.shape[1]] = image
    return whole
