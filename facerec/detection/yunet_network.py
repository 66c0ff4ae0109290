"""YuNet's network: the faces that it finds at the cells of three maps, before suppression.

Its outputs for strides 8, 16 and 32 are a class and an objectness score, a box (centre from the
cell's corner, logarithm of the sides) and five landmarks from the cell's corner, all in strides
(Wu et al. 2023, https://doi.org/10.1007/s11633-023-1423-y).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from facerec.detection.one_stage import Candidates, padded
from facerec.errors import MissingError
from facerec.faces import Floats, Image
from facerec.parallel.openvino import Spread, is_installed, open_core
from facerec.parallel.threads import Map, TorchThreads, map_serially

_STRIDES = (8, 16, 32)
_MOST = 5000
_SIZES = 8
"""Images mostly come in few sizes: upright and lying, or the frames of a video."""

Find = Callable[[Image, bool], Candidates]
"""From an image, and whether it is alone."""


def open_yunet(weights: Path, least: float, threads: int) -> tuple[Find, Map]:
    """The network, and how images are spread over it.

    It runs in OpenVINO or, where that is not installed, in OpenCV, on all cores at a time.

    Args:
        weights: the ONNX file; the size of its input may be fixed.
        least: score that a face must reach.
        threads: cores to use.

    Raises:
        MissingError: there is no such file, or it is no YuNet.
    """
    if not weights.is_file():
        raise MissingError(f"{weights}: no such file; set detector.weights to YuNet's ONNX file")
    try:
        if is_installed():
            return _in_openvino(weights, least, threads), TorchThreads(threads).map
        return _in_opencv(weights, least), map_serially
    except (RuntimeError, KeyError, cv2.error) as error:
        raise MissingError(f"{weights}: damaged, or not YuNet's ONNX file") from error


def _in_openvino(weights: Path, least: float, threads: int) -> Find:
    model = _build(weights.read_bytes())
    # In bf16, a quarter faster, boxes of 100 pixels move by up to 5.
    network = Spread(lambda: model, "f32", threads)

    def find(image: Image, alone: bool) -> Candidates:
        whole = padded(image, _STRIDES[-1])
        return _decoded(network(whole[None], alone)[0], whole.shape[:2], least)

    return find


def _build(content: bytes) -> Any:
    """OpenVINO's model: scores, boxes and landmarks of all cells `(N, 15, A)`, one stride after the
    other, for images `(N, H, W, 3) uint8`, RGB, with sides that are multiples of 32."""
    from openvino import Model, PartialShape
    from openvino import opset13 as op
    from openvino.passes import ConstantFolding, Manager

    model = open_core().read_model(content)
    images = op.parameter(PartialShape([-1, -1, -1, 3]), np.uint8)
    pixels = op.transpose(op.gather(op.convert(images, np.float32), [2, 1, 0], 3), [0, 3, 1, 2])
    (entry,) = model.get_parameters()
    entry.set_partial_shape(PartialShape([-1, 3, -1, -1]))
    maps = {name: _map_of(output) for output in model.outputs for name in output.names}
    entry.output(0).replace(pixels.output(0))
    cells = []
    for stride in _STRIDES:
        chances = [op.sigmoid(maps[f"{part}_{stride}"]) for part in ("cls", "obj")]
        scores = op.sqrt(op.multiply(*chances))
        parts = op.concat([scores, maps[f"bbox_{stride}"], maps[f"kps_{stride}"]], 1)
        cells.append(op.reshape(parts, [0, 15, -1], True))
    whole = Model([op.concat(cells, 2)], [images])
    # Weights of eight bits become float32 here. Left to OpenVINO (2026.4), two threads' first
    # calls at a time make wrong weights of them.
    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(whole)
    return whole


def _map_of(output: Any) -> Any:
    """The map `(N, C, h, w)` that an output of the file flattens for a fixed size."""
    node = output.get_node()
    while node.get_type_name() != "Add":
        node = node.input_value(0).get_node()
    return node.output(0)


def _decoded(output: Floats, size: tuple[int, int], least: float) -> Candidates:
    """The cells `(15, A)` of an image of a height and width whose score is high enough."""
    cells = np.flatnonzero(output[0] >= least)
    strides, corners = _grid(*size)
    found, stride, corner = output[:, cells].T, strides[cells, None], corners[cells]
    centres = (corner + found[:, 1:3]) * stride
    halves = np.exp(found[:, 3:5]) * stride / 2
    boxes: Floats = np.concatenate([centres - halves, centres + halves], 1)
    landmarks: Floats = (corner[:, None] + found[:, 5:].reshape(-1, 5, 2)) * stride[:, None]
    return Candidates(boxes, found[:, 0], landmarks)


@lru_cache(_SIZES)
def _grid(height: int, width: int) -> tuple[Floats, Floats]:
    """Each cell's stride `(A,)`, and its column and row `(A, 2)`."""
    shapes = [(height // stride, width // stride) for stride in _STRIDES]
    counts = [rows * columns for rows, columns in shapes]
    strides: Floats = np.repeat(np.array(_STRIDES, np.float32), counts)
    corners = np.concatenate([np.indices(shape)[::-1].reshape(2, -1).T for shape in shapes])
    return strides, corners.astype(np.float32)


def _in_opencv(weights: Path, least: float) -> Find:
    # OpenCV 5 warns on stderr about a default target.
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    try:
        network = cv2.FaceDetectorYN.create(str(weights), "", (32, 32), least, 1, _MOST)
    finally:
        cv2.utils.logging.setLogLevel(level)

    def find(image: Image, alone: bool) -> Candidates:
        network.setInputSize(image.shape[1::-1])
        found = network.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
        rows: Floats = np.array([] if found is None else found, np.float32).reshape(-1, 15)
        boxes: Floats = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], 1)
        return Candidates(boxes, rows[:, 14], rows[:, 4:14].reshape(-1, 5, 2))

    return find
