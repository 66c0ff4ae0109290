"""YuNet (Wu et al. 2023), run by OpenCV's `FaceDetectorYN`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from facerec.detection.reduction import OneStage
from facerec.errors import MissingError
from facerec.faces import Face, Image
from facerec.profile.schema import DetectorSection
from facerec.registry import DETECTORS
from facerec.weights.downloads import find_download

_STRIDE = 32
_SCORE = 0.6
_NMS_IOU = 0.3
_KEPT_BEFORE_NMS = 5000


@DETECTORS.register(
    "yunet",
    help="YuNet in OpenCV, one-stage; its weights are downloaded.",
    weights="yunet",
    landmarks="mtcnn",
    certain=0.91,
    turn_margin=0.2,
)
class YuNet(OneStage):
    """A one-stage detector.

    Its scores end near 0.95. Of 500 of LFW's images, each turned in all four ways, `certain` and
    `turn_margin` leave every upright one as it is, and put 100, 98 and 100 % of those turned by 90,
    180 and 270 degrees upright.

    YuNet detects faces of about 10 to 300 pixels, so an image is downscaled to a longer side of
    1280 pixels at most, and further when `min_face` allows.

    Args:
        weights: the ONNX file.
        min_face: smallest face sought, in pixels.
        score: score that a face must reach; None: 0.6.

    Raises:
        MissingError: there is no such file, or OpenCV cannot read it.
    """

    _longest_side = 1280

    def __init__(
        self, weights: Path | None, *, min_face: float = 20, score: float | None = None
    ) -> None:
        score = _SCORE if score is None else score
        if weights is None:
            raise MissingError(
                "the detector yunet needs its ONNX file; get it with: "
                "facerec download weights yunet, or set detector.weights"
            )
        if not weights.is_file():
            raise MissingError(
                f"{weights}: no such file; set detector.weights to YuNet's ONNX file"
            )
        # OpenCV 5 warns on stderr about a default target.
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        try:
            self._network = cv2.FaceDetectorYN.create(
                str(weights), "", (_STRIDE, _STRIDE), score, _NMS_IOU, _KEPT_BEFORE_NMS
            )
        except cv2.error as error:
            raise MissingError(
                f"{weights}: not YuNet's ONNX file, OpenCV cannot read it"
            ) from error
        finally:
            cv2.utils.logging.setLogLevel(level)
        self._min_face = min_face

    @classmethod
    def from_section(cls, section: DetectorSection, *, device: str) -> YuNet:
        """From `detector.weights`, or else the downloaded file; runs on the CPU."""
        weights = section.weights or find_download("yunet")
        return cls(weights, min_face=section.min_face, score=section.score)

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """Faces of each `(H, W, 3) uint8` RGB image, highest score first."""
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: Image) -> list[Face]:
        height, width = image.shape[:2]
        scale = self._scale(height, width)
        small = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        if scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            small = cv2.resize(small, size, interpolation=cv2.INTER_AREA)
        self._network.setInputSize((small.shape[1], small.shape[0]))
        rows = self._network.detect(small)[1]
        if rows is None:
            return []
        ratio = np.array([width / small.shape[1], height / small.shape[0]], np.float32)
        rows = rows[np.argsort(-rows[:, 14], kind="stable")]
        corner, sides = rows[:, :2] * ratio, rows[:, 2:4] * ratio
        return [
            Face(
                box=np.concatenate([corner[i], corner[i] + sides[i]]),
                score=float(row[14]),
                landmarks=row[4:14].reshape(5, 2) * ratio,
            )
            for i, row in enumerate(rows)
            if sides[i].max() >= self._min_face
        ]
