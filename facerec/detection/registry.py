"""From a profile's section to a detector."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from facerec.detection import Detector
from facerec.profile.schema import DetectorSection

MTCNNWeights = Mapping[str, Sequence[NDArray[np.float32]]]


def create_detector(
    section: DetectorSection,
    *,
    device: str = "cpu",
    load_mtcnn_weights: Callable[[], MTCNNWeights],
) -> Detector:
    """The detector that the section names.

    Only the chosen detector's packages are imported.

    Args:
        section: the profile's `detector`.
        device: `cpu`, `cuda` or `cuda:1`, for detectors that run in PyTorch.
        load_mtcnn_weights: called when the detector is `mtcnn`.

    Raises:
        MissingError: a package or weights file that the detector needs is absent.
    """
    if section.name == "yunet":
        from facerec.detection.yunet import YuNet

        return YuNet(section.weights, min_face=section.min_face, score=section.score)
    if section.name == "mtcnn-tensorflow":
        from facerec.detection.tensorflow import TensorFlowMTCNN

        return TensorFlowMTCNN(
            min_face=section.min_face,
            thresholds=section.thresholds,
            scale_factor=section.scale_factor,
        )
    from facerec.detection.mtcnn.detector import MTCNN

    return MTCNN(
        load_mtcnn_weights(),
        min_face=section.min_face,
        thresholds=section.thresholds,
        scale_factor=section.scale_factor,
        max_candidates=section.max_candidates,
        device=device,
    )
