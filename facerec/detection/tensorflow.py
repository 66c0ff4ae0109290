"""The `mtcnn` package itself, in TensorFlow, behind the detector protocol."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec

import numpy as np

from facerec.detection.reduction import Reducible
from facerec.errors import MissingError
from facerec.faces import Face, Image
from facerec.files.hush import hushed
from facerec.profile.schema import DetectorSection
from facerec.registry import DETECTORS


def import_triton_first() -> None:
    """Load Triton's compiler before TensorFlow's: PyTorch imports it when it exports or compiles,
    and coming second its LLVM ends the process."""
    with suppress(ImportError):
        import triton._C.libtriton  # noqa: F401


@DETECTORS.register(
    "mtcnn-tensorflow",
    help="The mtcnn package in TensorFlow; needs the extra [tensorflow].",
    cascade=True,
    certain=0.98,
    uses_all_cores=True,
    reads=("min_face", "thresholds", "scale_factor"),
)
class TensorFlowMTCNN(Reducible):
    """mtcnn 1.0.0, one image at a time, boxes not clipped to the image.

    Args:
        min_face: smallest face sought, in pixels.
        thresholds: scores to exceed after each of the three stages.
        scale_factor: ratio between neighbouring levels of the image pyramid.

    Raises:
        MissingError: TensorFlow is not installed.
    """

    def __init__(
        self,
        *,
        min_face: float = 20,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.8),
        scale_factor: float = 0.709,
    ) -> None:
        if find_spec("tensorflow") is None:
            raise MissingError(
                "the detector mtcnn-tensorflow needs TensorFlow; "
                "try: pip install 'facerec[tensorflow]'"
            )
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        import_triton_first()
        # Some notices, of oneDNN and of a missing GPU, come before TensorFlow reads that level.
        with hushed():
            from mtcnn import MTCNN

            self._network = MTCNN()
        self._min_face = min_face
        self._settings = {
            "scale_factor": scale_factor,
            "threshold_pnet": thresholds[0],
            "threshold_rnet": thresholds[1],
            "threshold_onet": thresholds[2],
        }

    @classmethod
    def from_section(cls, section: DetectorSection, *, device: str) -> TensorFlowMTCNN:
        """TensorFlow chooses the device."""
        return cls(
            min_face=section.min_face,
            thresholds=section.thresholds,
            scale_factor=section.scale_factor,
        )

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """Faces of each `(H, W, 3) uint8` RGB image, highest score first."""
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: Image) -> list[Face]:
        if min(image.shape[:2]) < 12:
            return []
        rows = self._network.detect_faces(
            image,
            fit_to_image=False,
            box_format="xyxy",
            output_type="numpy",
            min_face_size=self._min_face,
            **self._settings,
        )
        return [
            Face(
                box=row[1:5].astype(np.float32),
                score=float(row[5]),
                landmarks=row[6:16].reshape(2, 5).T.astype(np.float32),
            )
            for row in rows[np.argsort(-rows[:, 5], kind="stable")]
        ]
