"""MTCNN (Zhang et al. 2016, arXiv:1604.02878) in PyTorch, with mtcnn 1.0.0's results."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facerec.detection.arrays import Array, alike, namespace, numpy_of, on_host, tensor_of
from facerec.detection.boxes import crop, rank, regress, squared, suppress
from facerec.detection.chunks import in_chunks, in_even_chunks
from facerec.detection.mtcnn_networks import ONet, PNet, RNet
from facerec.detection.openvino_networks import (
    Network,
    Refinement,
    build_onet,
    build_rnet,
    is_installed,
)
from facerec.detection.packing import STRIDE, Level
from facerec.detection.proposals import Proposer
from facerec.detection.pyramid import pyramid_levels
from facerec.detection.scratch import Scratch
from facerec.detection.screening import ERROR, open_glances, open_screen
from facerec.detection.workers import Workers, in_turn
from facerec.faces import Face, Floats, Image

T = TypeVar("T")
R = TypeVar("R")

_SIDE = 11  # mtcnn's cells reach from pixel 1 to pixel 12
_MEAN = np.float32(127.5)
_CROPS = {RNet.side: (32, 8), ONet.side: (8, 1)}
_PARTS = 8
"""Into how many parts work of any size is split, so that cores share it evenly."""
_CUDA_CROPS = 2048
_SCREENED, _SCREENED_STEP = 128, 32
_FEW_CROPS = 64
"""Fewer are looked at at once: a first look would cost as much."""
_LEVEL_IOU, _PICTURE_IOU, _REFINED_IOU, _FINAL_SHARE = 0.5, 0.7, 0.7, 0.7  # mtcnn 1.0.0's


class MTCNN:
    """Three networks in a cascade over an image pyramid.

    On a processor the picture's parts, or the pictures of a batch, are spread over threads. What
    is computed for a picture, and in which shapes, depends on that picture alone, so a batch gives
    the very numbers that its pictures give one by one. Where the processor multiplies bfloat16,
    a first look in it (`Glance`, `Screen`) leaves the float32 networks little to see.

    Memory: 30 bytes per pixel of each picture in work (at most `threads` at a time; a single
    one for CUDA), of which each thread keeps up to 100 MB for the next picture, and besides less
    than 100 MB: the first network runs on bands of 170,000 pixels and on 256 cells by themselves,
    the others on 32 and 8 crops (2,048 on CUDA), suppression on 128 x `max_candidates` pairs.

    Args:
        weights: arrays of `pnet`, `rnet` and `onet`, as in the `mtcnn` package's files.
        min_face: smallest face sought, in pixels.
        thresholds: scores to exceed after each of the three stages.
        scale_factor: ratio between neighbouring levels of the pyramid.
        max_candidates: most candidates per image and stage; the best are kept.
        device: where the networks run.
        threads: how many cores to use; default: as many as PyTorch.
    """

    def __init__(
        self,
        weights: Mapping[str, Sequence[NDArray[np.float32]]],
        *,
        min_face: float = 20,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.8),
        scale_factor: float = 0.709,
        max_candidates: int = 4000,
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        self._device = torch.device(device)
        self._min_face = min_face
        self._log_odds = [_log_odds(threshold) for threshold in thresholds]
        self._scale_factor = scale_factor
        self._max_candidates = max_candidates
        on_cpu = self._device.type == "cpu"
        threads = threads or torch.get_num_threads()
        self._workers = Workers(threads) if on_cpu else None
        self._scratch = Scratch()
        self._screen = open_screen(weights, threads) if on_cpu else None
        self._proposer = Proposer(
            PNet(weights["pnet"], self._device),
            self._log_odds[0],
            glances=open_glances(weights, threads) if on_cpu else None,
            run=self._map,
            empty=self._scratch.empty,
        )
        self._rnet: RNet | Refinement
        self._onet: ONet | Refinement
        if self._workers and is_installed():
            second, third = (
                Network(partial(build, weights[name]), "f32", threads)
                for build, name in ((build_rnet, "rnet"), (build_onet, "onet"))
            )
            self._rnet, self._onet = Refinement(RNet.side, second), Refinement(ONet.side, third)
        else:
            self._rnet = RNet(weights["rnet"], self._device)
            self._onet = ONet(weights["onet"], self._device)

    @torch.inference_mode()
    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """Faces of each `(H, W, 3) uint8` RGB image, highest score first."""
        return self._map(self._detect_one, images)

    def _map(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        return (in_turn if self._workers is None else self._workers.map)(function, items)

    def _detect_one(self, image: Image) -> list[Face]:
        height, width = image.shape[:2]
        levels = pyramid_levels(height, width, self._min_face, self._scale_factor)
        if not levels:
            return []
        boxes = self._propose(image, levels)
        if not len(boxes):
            return []
        pixels = torch.from_numpy(self._centred(image)).to(self._device)
        boxes = self._worth(pixels, boxes)
        refined = self._run(self._rnet, pixels, boxes)
        chosen = self._passed(refined[:, 4], 1)
        boxes = regress(boxes[chosen], refined[chosen, :4])
        boxes = squared(boxes[suppress(boxes, _REFINED_IOU, "union")])

        final = self._run(self._onet, pixels, boxes)
        chosen = self._passed(final[:, 14], 2)
        boxes, final = boxes[chosen], final[chosen]
        sides = boxes[:, None, 2:] - boxes[:, None, :2] + 1
        landmarks = final[:, 4:14].reshape(-1, 2, 5).mT * sides + boxes[:, None, :2] - 1
        boxes = regress(boxes, final[:, :4])
        kept = suppress(boxes, _FINAL_SHARE, "min")
        return [
            Face(box=box.copy(), score=float(score), landmarks=points.copy())
            for box, score, points in zip(
                numpy_of(boxes[kept]),
                numpy_of(_probability(final[kept, 14])),
                numpy_of(landmarks[kept]),
                strict=True,
            )
        ]

    def _centred(self, image: Image) -> Floats:
        centred = self._scratch.empty("centred", image.shape)
        slabs = zip(np.array_split(image, _PARTS), np.array_split(centred, _PARTS), strict=True)
        self._map(lambda slab: np.subtract(slab[0], _MEAN, out=slab[1]), list(slabs))
        return centred

    def _passed(self, log_odds: Any, stage: int) -> Any:
        """Indices of what exceeds the stage's threshold, best first, cut to `max_candidates`."""
        passed = namespace(log_odds).where(log_odds > self._log_odds[stage])[0]
        return passed[rank(_probability(log_odds[passed]), most=self._max_candidates)]

    def _worth(self, pixels: Tensor, boxes: Any) -> Any:
        """The boxes that the second network is to look at, in their order."""
        screen, threshold = self._screen, self._log_odds[1] - ERROR
        if screen is None or len(boxes) < _FEW_CROPS:
            return boxes

        def estimate(chunk: Floats) -> Floats:
            crops = crop(pixels, _padded(chunk, _SCREENED_STEP), RNet.side)
            worth: Floats = chunk[screen(crops.numpy())[: len(chunk)] > threshold]
            return worth

        return np.concatenate(self._map(estimate, in_even_chunks(boxes, _SCREENED, _SCREENED_STEP)))

    def _run(self, network: RNet | ONet | Refinement, pixels: Tensor, boxes: Any) -> Any:
        """The network's output for crops of the boxes, in chunks of few different sizes."""
        size, multiple = _CROPS[network.side] if self._workers else (_CUDA_CROPS, 1)

        def run(chunk: Any) -> Any:
            crops = crop(pixels, _padded(chunk, multiple), network.side)
            return on_host(network(crops)[: len(chunk)])

        if not len(boxes):
            return alike(np.empty((0, 15), np.float32), boxes)
        return namespace(boxes).concatenate(self._map(run, in_chunks(boxes, size)))

    def _propose(self, image: Image, levels: Sequence[Level]) -> Any:
        """Squares `(N, 4)` that the first network takes for faces, best first."""
        cells = self._proposer(image, levels, self._device)
        xp = namespace(cells.level)
        sizes = xp.bincount(cells.level, minlength=len(levels)).tolist()
        scores = _probability(cells.log_odds)
        order = rank(scores, sizes, self._max_candidates)
        corner = xp.asarray(cells.place[order] * STRIDE + 1, dtype=xp.float32)
        boxes = xp.concatenate([corner, corner + _SIDE], 1) + cells.offsets[order] * _SIDE
        scale = alike(np.array([level.scale for level in levels], np.float32), scores)
        boxes = boxes / scale[cells.level[order], None]
        sizes = [min(size, self._max_candidates) for size in sizes]
        kept = suppress(boxes, _LEVEL_IOU, "union", sizes=sizes, run=self._map)
        boxes, scores = boxes[kept], scores[order][kept]
        boxes = boxes[rank(scores, most=self._max_candidates)]
        return squared(boxes[suppress(boxes, _PICTURE_IOU, "union", run=self._map)])


def _probability(log_odds: Any) -> Any:
    return on_host(tensor_of(log_odds).sigmoid())


def _padded(boxes: Array, multiple: int) -> Array:
    """The boxes, the first again and again after them: networks are prepared for each number."""
    missing: int = -len(boxes) % multiple
    padded: Array = namespace(boxes).concatenate([boxes, *[boxes[:1]] * missing])
    return padded


def _log_odds(probability: float) -> float:
    if probability in (0, 1):
        return math.copysign(math.inf, probability - 0.5)
    return math.log(probability / (1 - probability))
