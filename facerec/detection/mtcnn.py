"""MTCNN (Zhang et al. 2016, arXiv:1604.02878) in PyTorch, with mtcnn 1.0.0's results."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facerec.detection.boxes import crop, rank, regress, squared, suppress
from facerec.detection.mtcnn_networks import LAST_COLUMN, LAST_ROW, ONet, PNet, RNet
from facerec.detection.pyramid import Level, arrange, pyramid_scales, resize_into, rounded_up
from facerec.detection.workers import Workers
from facerec.faces import Face, Image

T = TypeVar("T")
R = TypeVar("R")

_STRIDE = 2
_SIDE = 11  # mtcnn's cells reach from pixel 1 to pixel 12
_MEAN = np.float32(127.5)
_BAND_PIXELS = 56_000
_CROPS = {RNet.side: (32, 8), ONet.side: (8, 1)}
_CUDA_CROPS = 2048
_LEVEL_IOU, _PICTURE_IOU, _REFINED_IOU, _FINAL_SHARE = 0.5, 0.7, 0.7, 0.7  # mtcnn 1.0.0's


class MTCNN:
    """Three networks in a cascade over an image pyramid.

    On a processor the picture's parts, or the pictures of a batch, are spread over threads. What
    is computed for a picture, and in which shapes, depends on that picture alone, so a batch gives
    the very numbers that its pictures give one by one.

    Memory: 35 bytes per pixel of each picture in work (at most `threads` at a time; a single
    one for CUDA), and besides less than 100 MB: the first network runs on bands of 56,000
    pixels, the others on 32 and 8 crops (2,048 on CUDA), suppression on 128 x `max_candidates`
    pairs.

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
        self._pnet = PNet(weights["pnet"], self._device)
        self._rnet = RNet(weights["rnet"], self._device)
        self._onet = ONet(weights["onet"], self._device)
        self._min_face = min_face
        self._log_odds = [_log_odds(threshold) for threshold in thresholds]
        self._scale_factor = scale_factor
        self._max_candidates = max_candidates
        on_cpu = self._device.type == "cpu"
        self._workers = Workers(threads or torch.get_num_threads()) if on_cpu else None

    @torch.inference_mode()
    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """Faces of each `(H, W, 3) uint8` RGB image, highest score first."""
        return self._map(self._detect_one, images)

    def _map(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        if self._workers is None:
            return [function(item) for item in items]
        return self._workers.map(function, items)

    def _detect_one(self, image: Image) -> list[Face]:
        height, width = image.shape[:2]
        scales = pyramid_scales(height, width, self._min_face, self._scale_factor)
        if not scales:
            return []
        centred = image - _MEAN
        boxes = self._propose(centred, scales)
        pixels = torch.from_numpy(centred).to(self._device)

        refined = self._run(self._rnet, pixels, boxes)
        chosen = self._passed(refined[:, 4], 1)
        boxes = regress(boxes[chosen], refined[chosen, :4])
        boxes = squared(boxes[suppress(boxes, _REFINED_IOU, "union")])

        final = self._run(self._onet, pixels, boxes)
        chosen = self._passed(final[:, 14], 2)
        boxes, final = boxes[chosen], final[chosen]
        sides = boxes[:, None, 2:] - boxes[:, None, :2] + 1
        landmarks = final[:, 4:14].view(-1, 2, 5).mT * sides + boxes[:, None, :2] - 1
        boxes = regress(boxes, final[:, :4])
        kept = suppress(boxes, _FINAL_SHARE, "min")
        rows = torch.cat([boxes, landmarks.flatten(1), final[:, 14:].sigmoid()], 1)[kept]
        return [
            Face(box=row[:4].copy(), score=float(row[14]), landmarks=row[4:14].reshape(5, 2).copy())
            for row in rows.cpu().numpy()
        ]

    def _passed(self, log_odds: Tensor, stage: int) -> Tensor:
        """Indices of what exceeds the stage's threshold, best first, cut to `max_candidates`."""
        passed = torch.nonzero(log_odds > self._log_odds[stage])[:, 0]
        return passed[rank(log_odds[passed].sigmoid())[: self._max_candidates]]

    def _run(self, network: RNet | ONet, pixels: Tensor, boxes: Tensor) -> Tensor:
        """The network's output for crops of the boxes, in chunks of few different sizes."""
        size, multiple = _CROPS[network.side] if self._workers else (_CUDA_CROPS, 1)

        def run(chunk: Tensor) -> Tensor:
            missing = -len(chunk) % multiple
            padded = torch.cat([chunk, chunk[:1].expand(missing, 4)]) if missing else chunk
            return network(crop(pixels, padded, network.side))[: len(chunk)]

        if not len(boxes):
            return boxes.new_empty(0, 15)
        return torch.cat(self._map(run, torch.split(boxes, size)))

    def _propose(self, centred: NDArray[np.float32], scales: Sequence[float]) -> Tensor:
        """Squares `(N, 4)` that the first network takes for faces, best first."""
        levels, height, width = arrange(centred.shape[0], centred.shape[1], scales)
        rows, starts = _bands(height, width)
        canvas = np.zeros((starts[-1] * _STRIDE + 2 * rows + PNet.margin, width, 3), np.float32)
        resize_into(canvas, centred, levels, self._map)
        pixels = torch.from_numpy(canvas).to(self._device)

        def run(start: int) -> tuple[Tensor, Tensor, Tensor]:
            band = pixels[start * _STRIDE :][: rows * _STRIDE + PNet.margin]
            features, log_odds = self._pnet(band, list(_ends(levels, start, rows)))
            y, x = torch.nonzero(log_odds > self._log_odds[0], as_tuple=True)
            offsets = self._pnet.offsets(features[y, x])
            return torch.stack([x, y + start], 1), log_odds[y, x], offsets

        cells, log_odds, offsets = (
            torch.cat(parts) for parts in zip(*self._map(run, starts), strict=True)
        )

        def pick(level: Level) -> tuple[Tensor, Tensor]:
            origin = cells.new_tensor([level.left, level.top]) // _STRIDE
            extent = cells.new_tensor([_pooled(level.width) - 4, _pooled(level.height) - 4])
            here = torch.nonzero(((cells >= origin) & (cells < origin + extent)).all(1))[:, 0]
            score = log_odds[here].sigmoid()
            order = rank(score)[: self._max_candidates]
            here, score = here[order], score[order]
            corner = (cells[here] - origin) * _STRIDE + 1
            boxes = torch.cat([corner, corner + _SIDE], 1) + offsets[here] * _SIDE
            boxes /= level.scale
            kept = suppress(boxes, _LEVEL_IOU, "union")
            return boxes[kept], score[kept]

        found, scores = (torch.cat(parts) for parts in zip(*self._map(pick, levels), strict=True))
        order = rank(scores)[: self._max_candidates]
        boxes = found[order]
        return squared(boxes[suppress(boxes, _PICTURE_IOU, "union")])


def _log_odds(probability: float) -> float:
    if probability in (0, 1):
        return math.copysign(math.inf, probability - 0.5)
    return math.log(probability / (1 - probability))


def _pooled(length: int) -> int:
    return (length - 1) // 2


def _bands(height: int, width: int) -> tuple[int, list[int]]:
    """Rows of scores in a band of the canvas, and the row at which each band starts."""
    rows = max(1, (height - PNet.margin) // _STRIDE)
    count = math.ceil(rows * _STRIDE * width / _BAND_PIXELS)
    count += count % 2  # so that two cores share them evenly
    size = rounded_up(math.ceil(rows / count))
    return size, list(range(0, rows, size))


def _ends(levels: Sequence[Level], start: int, rows: int) -> Iterator[tuple[slice, slice, slice]]:
    """What the first layer computes, in one band, beyond the last pixel of a level of odd size."""
    for level in levels:
        top, left = level.top // _STRIDE - start, level.left // _STRIDE
        bottom, right = top + _pooled(level.height), left + _pooled(level.width)
        visible = slice(max(top, 0), max(bottom, 0))
        if top >= rows + 4 or bottom <= 0:
            continue
        if level.width % 2:
            for channels in LAST_COLUMN:
                yield channels, visible, slice(right - 1, right)
        if level.height % 2:
            yield LAST_ROW, slice(bottom - 1, bottom), slice(left, right)
