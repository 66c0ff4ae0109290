"""MTCNN (Zhang et al. 2016, arXiv:1604.02878) in PyTorch, with mtcnn 1.0.0's results."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facerec.detection.mtcnn.arrays import (
    Scratch,
    as_like,
    as_numpy,
    as_tensor,
    in_chunks,
    in_even_chunks,
    namespace,
    pad_to_multiple,
    shared_slices,
)
from facerec.detection.mtcnn.boxes import (
    Counts,
    count_kept,
    crop,
    image_indices,
    order_by_score,
    regress,
    squared,
    suppress,
)
from facerec.detection.mtcnn.device import DeviceProposer
from facerec.detection.mtcnn.networks import ONet, PNet, RNet
from facerec.detection.mtcnn.openvino import Refinement, build_onet, build_rnet
from facerec.detection.mtcnn.packing import STRIDE, Level
from facerec.detection.mtcnn.proposals import Cells, Proposer
from facerec.detection.mtcnn.pyramid import pyramid_levels
from facerec.detection.mtcnn.screening import ERROR, open_cell_scans, open_screen
from facerec.detection.mtcnn.weights import load_mtcnn_weights
from facerec.detection.reduction import Reducible
from facerec.faces import Face, Floats, Image
from facerec.parallel.openvino import Network, is_installed
from facerec.parallel.threads import TorchThreads, map_serially
from facerec.profile.schema import DetectorSection
from facerec.registry import DETECTORS

T = TypeVar("T")
R = TypeVar("R")

_SIDE = 11  # mtcnn's cells reach from pixel 1 to pixel 12
_MEAN = np.float32(127.5)
_BATCH_IMAGES, _BATCH_PIXELS = 16, 1_000_000
"""Images of one size in a batch: the steps between the networks take as long for all of them as for
one."""
_BATCH_CROPS = {RNet.side: 32, ONet.side: 8}
_PARTS = 8
"""Slabs that an image is split into, so that cores share the work evenly."""
_DEVICE_BATCH_IMAGES, _DEVICE_BATCH_PIXELS, _DEVICE_BATCH_CROPS = 64, 8_000_000, 2048
"""On a GPU, which waits for the host after each stage of a batch."""
_SCREEN_BATCH, _SCREEN_MULTIPLE = 128, 32
_MIN_SCREENED = 64
"""Fewer crops are not screened: that would cost as much as RNet."""
_SIGMOID_BLOCK = 32
"""Two AVX-512 vectors."""
_LEVEL_IOU, _IMAGE_IOU, _REFINED_IOU, _FINAL_SHARE = 0.5, 0.7, 0.7, 0.7  # mtcnn 1.0.0's


@DETECTORS.register(
    "mtcnn",
    help="MTCNN on PyTorch and OpenVINO; weights from the mtcnn package.",
    cascade=True,
    certain=0.98,
    reads=("min_face", "thresholds", "scale_factor", "max_candidates"),
)
class MTCNN(Reducible):
    """Three networks in a cascade over an image pyramid.

    On a CPU the slabs of an image, or the images of a batch, are spread over threads; images of one
    size go through the stages together. Batches of cells and crops are padded so that each result
    is bitwise independent of the rest of its batch (tried with AVX-512 and with AVX2): a batch of
    images gives exactly what they give one by one. Where the CPU multiplies bf16, screening in it
    (`CellScan`, `Screen`) leaves few candidates to the float32 networks.

    Memory: 30 bytes per pixel in work (on each of `threads` an image, or up to 16 of one size with
    together a million pixels), of which each thread keeps up to 100 MB for the next, and less than
    100 MB besides: PNet runs on bands of 80,000 pixels and on 256 single cells, the others on 32
    and 8 crops, suppression on 128 x `max_candidates` pairs.

    On a GPU up to 64 images of one size, with together 8 million pixels, stay there from the upload
    of their bytes to the download of their faces; the pyramid is made there. What crosses in
    between are the numbers of candidates that each image keeps at each stage.

    Args:
        weights: arrays of `pnet`, `rnet` and `onet`, as in the `mtcnn` package's files.
        min_face: smallest face sought, in pixels.
        thresholds: scores to exceed after each of the three stages.
        scale_factor: ratio between neighbouring levels of the pyramid.
        max_candidates: most candidates per image and stage; the best are kept.
        device: where the networks run.
        threads: cores to use; None: as many as PyTorch.
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
        on_cpu = _is_processor(self._device)
        threads = threads or torch.get_num_threads()
        self._threads = threads if on_cpu else 1
        self._pool = TorchThreads(threads) if on_cpu else None
        self._scratch = Scratch()
        self._screen = open_screen(weights) if on_cpu else None
        network = PNet(weights["pnet"], self._device)
        self._proposer = Proposer(
            network,
            self._log_odds[0],
            scans=open_cell_scans(weights) if on_cpu else None,
            run=self._map,
            empty=self._scratch.empty,
            free=self._free,
        )
        self._device_proposer = DeviceProposer(network, self._log_odds[0], self._device)
        self._rnet: RNet | Refinement
        self._onet: ONet | Refinement
        if self._pool and is_installed():
            second, third = (
                Network(partial(build, weights[name]), "f32")
                for build, name in ((build_rnet, "rnet"), (build_onet, "onet"))
            )
            self._rnet, self._onet = (
                Refinement(RNet.side, 8, second),
                Refinement(ONet.side, ONet.multiple, third),
            )
        else:
            self._rnet = RNet(weights["rnet"], self._device)
            self._onet = ONet(weights["onet"], self._device)

    @classmethod
    def from_section(cls, section: DetectorSection, *, device: str) -> MTCNN:
        """With the weights of the installed `mtcnn` package.

        Raises:
            MissingError: they are absent or damaged.
        """
        return cls(
            load_mtcnn_weights(),
            min_face=section.min_face,
            thresholds=section.thresholds,
            scale_factor=section.scale_factor,
            max_candidates=section.max_candidates,
            device=device,
        )

    @torch.inference_mode()
    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        """Faces of each `(H, W, 3) uint8` RGB image, highest score first."""
        found: list[list[Face]] = [[] for _ in images]
        parts = self._group_by_size(images)
        grouped_faces = self._map(
            self._detect_same_size, [[images[i] for i in part] for part in parts]
        )
        for part, faces in zip(parts, grouped_faces, strict=True):
            for number, those in zip(part, faces, strict=True):
                found[number] = those
        return found

    def _map(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        return (map_serially if self._pool is None else self._pool.map)(function, items)

    def _free(self) -> int:
        return 1 if self._pool is None else self._pool.free()

    def _group_by_size(self, images: Sequence[Image]) -> list[list[int]]:
        """Indices of images of one size, in batches that threads share evenly."""
        images_at_once, pixels_at_once = (
            (_BATCH_IMAGES, _BATCH_PIXELS)
            if self._pool is not None
            else (_DEVICE_BATCH_IMAGES, _DEVICE_BATCH_PIXELS)
        )
        sizes: dict[tuple[int, ...], list[int]] = {}
        for number, image in enumerate(images):
            sizes.setdefault(image.shape, []).append(number)
        parts = []
        for shape, numbers in sizes.items():
            share = math.ceil(len(numbers) / self._threads)
            fitting = pixels_at_once // max(1, math.prod(shape[:2]))
            most = max(1, min(share, images_at_once, fitting))
            parts += in_chunks(numbers, most)
        return parts

    def _detect_same_size(self, images: Sequence[Image]) -> list[list[Face]]:
        """Faces of images of one size."""
        height, width = images[0].shape[:2]
        levels = pyramid_levels(height, width, self._min_face, self._scale_factor)
        if not levels:
            return [[] for _ in images]
        if self._pool is not None:
            cells = self._proposer(images, levels)
        else:
            pixels = torch.from_numpy(np.stack(images)).to(self._device).float() - float(_MEAN)
            cells = self._device_proposer(pixels, levels)
        propose = partial(self._propose, cells, len(images), levels)
        if self._pool is not None:
            (boxes, counts), pixels = self._centre_beside(propose, images)
        else:
            boxes, counts = propose()
        if not len(boxes):
            return [[] for _ in images]
        boxes, counts, crops = self._screen_crops(pixels, boxes, counts)
        refined = self._run(self._rnet, pixels, boxes, counts, crops)
        chosen, counts = self._above_threshold(refined[:, 4], counts, 1)
        boxes = regress(boxes[chosen], refined[chosen, :4])
        kept = suppress(boxes, _REFINED_IOU, "union", sizes=counts)
        boxes, counts = squared(boxes[kept]), count_kept(kept, counts)

        final = self._run(self._onet, pixels, boxes, counts)
        chosen, counts = self._above_threshold(final[:, 14], counts, 2)
        boxes, final = boxes[chosen], final[chosen]
        sides = boxes[:, None, 2:] - boxes[:, None, :2] + 1
        landmarks = final[:, 4:14].reshape(-1, 2, 5).mT * sides + boxes[:, None, :2] - 1
        boxes = regress(boxes, final[:, :4])
        kept = suppress(boxes, _FINAL_SHARE, "min", sizes=counts)
        faces = [
            Face(box=box.copy(), score=float(score), landmarks=points.copy())
            for box, score, points in zip(
                as_numpy(boxes[kept]),
                as_numpy(_probability(final[kept, 14])),
                as_numpy(landmarks[kept]),
                strict=True,
            )
        ]
        ends = np.cumsum([0, *count_kept(kept, counts)]).tolist()
        return [faces[first:last] for first, last in pairwise(ends)]

    def _centre_beside(self, step: Callable[[], R], images: Sequence[Image]) -> tuple[R, Tensor]:
        """What the step returns, which leaves all threads but one idle, and the images less 127.5,
        `(N, H, W, 3) float32`."""
        centred = self._scratch.empty("centred", (len(images), *images[0].shape))
        parts = math.ceil(_PARTS / len(images))
        slabs: list[Callable[[], Any]] = [
            partial(np.subtract, rows, _MEAN, out=out)
            for pair in zip(images, centred, strict=True)
            for rows, out in zip(*(np.array_split(rows, parts) for rows in pair), strict=True)
        ]
        result: R = self._map(lambda work: work(), [step, *slabs])[0]
        return result, torch.from_numpy(centred)

    def _above_threshold(self, log_odds: Any, counts: Counts, stage: int) -> tuple[Any, Counts]:
        """Indices above the stage's threshold, best first and at most `max_candidates` per image,
        and their counts."""
        exceeds = log_odds > self._log_odds[stage]
        counts = count_kept(exceeds, counts)
        passed = namespace(log_odds).where(exceeds)[0]
        order = order_by_score(_probability(log_odds[passed]), counts, most=self._max_candidates)
        return passed[order], self._capped(counts)

    def _capped(self, counts: Counts) -> Counts:
        return [min(count, self._max_candidates) for count in counts]

    def _screen_crops(
        self, pixels: Tensor, boxes: Any, counts: Counts
    ) -> tuple[Any, Counts, Tensor | None]:
        """The boxes that may pass RNet, in their order, their counts, and their crops if made."""
        screen, threshold = self._screen, self._log_odds[1] - ERROR
        if screen is None or len(boxes) < _MIN_SCREENED:
            return boxes, counts, None

        def select(chunk: tuple[Floats, NDArray[np.intp]]) -> tuple[NDArray[np.bool_], Floats]:
            crops = crop(pixels, *chunk, RNet.side)
            estimates = screen(_padded(crops, _SCREEN_MULTIPLE).numpy())[: len(crops)]
            passes = estimates > threshold
            return passes, crops.numpy()[passes]

        chunks = [
            in_even_chunks(rows, _SCREEN_BATCH, _SCREEN_MULTIPLE)
            for rows in (boxes, image_indices(counts))
        ]
        masks, selected = zip(*self._map(select, list(zip(*chunks, strict=True))), strict=True)
        passes, crops = np.concatenate(masks), torch.from_numpy(np.concatenate(selected))
        return boxes[passes], count_kept(passes, counts), crops

    def _run(
        self,
        network: RNet | ONet | Refinement,
        pixels: Tensor,
        boxes: Any,
        counts: Counts,
        crops: Tensor | None = None,
    ) -> Any:
        """The network's output for crops of the boxes, in batches of few different sizes.

        Args:
            crops: the boxes', if they have been made.
        """
        size, multiple = (
            (_BATCH_CROPS[network.side], network.multiple)
            if self._pool is not None
            else (_DEVICE_BATCH_CROPS, 1)
        )
        images = image_indices(counts)

        def run(chunk: slice) -> Any:
            if crops is None:
                inputs = crop(pixels, boxes[chunk], images[chunk], network.side)
            else:
                inputs = crops[chunk]
            output = network(_padded(inputs, multiple))[: len(inputs)]
            return output if self._pool is None else output.numpy()

        if not len(boxes):
            return as_like(np.empty((0, 15), np.float32), boxes)
        slices = shared_slices(len(boxes), size, multiple, self._free())
        return namespace(boxes).concatenate(self._map(run, slices))

    def _propose(self, cells: Cells, count: int, levels: Sequence[Level]) -> tuple[Any, Counts]:
        """PNet's squares `(N, 4)` for `count` images, by image and best first, and their counts."""
        xp = namespace(cells.level)
        counts = xp.bincount(cells.level, minlength=count * len(levels)).tolist()
        scores = _probability(cells.log_odds)
        order = order_by_score(scores, counts, self._max_candidates)
        corner = xp.asarray(cells.position[order] * STRIDE + 1, dtype=xp.float32)
        boxes = xp.concatenate([corner, corner + _SIDE], 1) + cells.offsets[order] * _SIDE
        scales = np.tile(np.array([level.scale for level in levels], np.float32), count)
        boxes = boxes / as_like(scales, scores)[cells.level[order], None]
        counts = self._capped(counts)
        kept = suppress(boxes, _LEVEL_IOU, "union", sizes=counts, run=self._map)
        boxes, scores = boxes[kept], scores[order][kept]
        of_levels = np.array(count_kept(kept, counts)).reshape(count, -1)
        counts = of_levels.sum(1).tolist()
        boxes = boxes[order_by_score(scores, counts, self._max_candidates)]
        counts = self._capped(counts)
        kept = suppress(boxes, _IMAGE_IOU, "union", sizes=counts, run=self._map)
        return squared(boxes[kept]), count_kept(kept, counts)


def _padded(rows: Tensor, multiple: int) -> Tensor:
    """The rows, the last one repeated up to a multiple."""
    return pad_to_multiple(rows, multiple) if len(rows) % multiple else rows


def _probability(log_odds: Any) -> Any:
    if not isinstance(log_odds, np.ndarray):
        return log_odds.sigmoid()
    # What is left of PyTorch's vectors it computes in another way, which may round otherwise.
    blocks = _padded(as_tensor(log_odds), _SIGMOID_BLOCK)
    return blocks.sigmoid().numpy()[: len(log_odds)]


def _is_processor(device: torch.device) -> bool:
    return device.type == "cpu"


def _log_odds(probability: float) -> float:
    if probability in (0, 1):
        return math.copysign(math.inf, probability - 0.5)
    return math.log(probability / (1 - probability))
