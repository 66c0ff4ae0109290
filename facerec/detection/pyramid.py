"""An image's pyramid, all levels packed into one canvas."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from facerec.detection.packing import STRIDE, Layout, Level, Strip
from facerec.detection.workers import Map
from facerec.faces import Floats, Image

CELL = 12
"""Side of the smallest picture that MTCNN's first network accepts."""

_SCALE_AND_OFFSET = np.array([1, -127.5], np.float32)
_SLAB_VALUES = 1 << 18
"""Values that a thread works on at a time: they stay in its cache."""

Task = Callable[[], None]


def pyramid_levels(height: int, width: int, min_face: float, scale_factor: float) -> list[Level]:
    """The pyramid's levels, largest first; none is smaller than 12 x 12 pixels.

    Their number follows the picture's own shorter side, as in mtcnn 1.0.0.
    """
    shorter = min(height, width)
    if shorter < CELL:
        return []
    count = round(math.log(shorter / CELL) / -math.log(scale_factor) - 1)
    scales = [CELL / min_face * scale_factor**level for level in range(count)]
    return [
        Level(scale, int(height * scale), int(width * scale))
        for scale in scales
        if int(scale * shorter) >= CELL
    ]


def resize_into(canvas: Floats, image: Image, layout: Layout, run: Map) -> None:
    """Fill the canvas with the levels of a picture less 127.5, each pixel the mean of the area that
    it covers.

    A level of odd size repeats its last row or column, so that it is even.

    Args:
        canvas: `(height, width, 3)`, written.
        image: `(H, W, 3) uint8`.
        layout: places in the canvas.
        run: applies a function to the items of a list, in any order, perhaps in parallel.
    """
    height, width, _ = image.shape
    table = _table(image)
    slab = max(16, _SLAB_VALUES // (3 * width))
    strips: list[list[Strip]] = [[] for _ in layout.levels]
    for strip in layout.strips:
        strips[strip.level].append(strip)

    def fill(number: int, down: _Shares, across: _Shares, first: int) -> None:
        some = slice(first, first + slab)
        lowered = _lowered(table, down.rows[some], down.share[some])
        resized = _turned(_narrowed(_turned(lowered, width), across), len(lowered))
        level = layout.levels[number]
        pixels = resized.reshape(-1, level.width, 3)
        if level.height % 2 and first + len(pixels) == level.height:
            pixels = np.concatenate([pixels, pixels[-1:]])
        for strip in strips[number]:
            _place(canvas, pixels, strip, first)

    def slabs() -> Iterator[Task]:
        for number, level in enumerate(layout.levels):
            down, across = _shares(height, level.height), _shares(width, level.width)
            for first in range(0, level.height, slab):
                yield partial(fill, number, down, across, first)

    run(_do, list(slabs()))


def _do(task: Task) -> None:
    task()


def _place(canvas: Floats, rows: Floats, strip: Strip, first: int) -> None:
    """Put a level's rows, from `first` on, where a strip of it lies."""
    top, left, start = (STRIDE * cells for cells in (strip.top, strip.left, strip.first))
    columns = rows[:, start : start + strip.width]
    place = canvas[top + first : top + first + len(rows), left : left + strip.width]
    place[:, : columns.shape[1]] = columns
    place[:, columns.shape[1] :] = columns[:, -1:]


class _Shares(NamedTuple):
    """Which rows are added up to a row, and how much of each, both `(N, K)`."""

    rows: NDArray[np.int32]
    share: Floats


def _table(image: Image) -> Tensor:
    """Rows of bytes, each followed by the scale and the offset that PyTorch's byte tables have."""
    height, width, channels = image.shape
    table = np.empty((height, width * channels + _SCALE_AND_OFFSET.nbytes), np.uint8)
    table[:, : -_SCALE_AND_OFFSET.nbytes] = image.reshape(height, -1)
    table[:, -_SCALE_AND_OFFSET.nbytes :] = _SCALE_AND_OFFSET.view(np.uint8)
    return torch.from_numpy(table)


def _lowered(table: Tensor, rows: NDArray[np.int32], share: Floats) -> Floats:
    """Weighted sums of a table's rows, `(N, W)`.

    Added up whole, at the speed of memory, and bytes are a quarter of it; OpenCV's own area mean of
    a full picture takes three times as long.
    """
    bags, weights = torch.from_numpy(rows).view(-1), torch.from_numpy(share).view(-1)
    first = torch.arange(0, rows.size, rows.shape[1], dtype=torch.int32)
    sums: Floats = torch.ops.quantized.embedding_bag_byte_rowwise_offsets(
        table, bags, first, per_sample_weights=weights
    ).numpy()
    return sums


def _turned(rows: Floats, columns: int) -> Floats:
    """Pixels `(N, columns * 3)` as `(columns, N * 3)`.

    Turned, summed as rows and turned back, columns take half the time that OpenCV sums them in.
    """
    turned: Floats = np.asarray(cv2.transpose(rows.reshape(len(rows), columns, 3)), np.float32)
    return turned.reshape(columns, -1)


def _narrowed(rows: Floats, shares: _Shares) -> Floats:
    """Weighted sums of rows, `(N, W)`."""
    table, bags, weights = map(torch.from_numpy, (rows, *shares))
    sums: Floats = embedding_bag(bags, table, mode="sum", per_sample_weights=weights).numpy()
    return sums


def _shares(length: int, count: int) -> _Shares:
    """What each of `count` equal parts of `length` rows consists of."""
    size = length / count
    first = np.arange(count)[:, None] * size
    index = first.astype(np.int32) + np.arange(math.ceil(size) + 1, dtype=np.int32)
    covered = np.minimum(first + size, index + 1) - np.maximum(first, index)
    share = np.maximum(covered / size, 0, dtype=np.float32, casting="same_kind")
    return _Shares(np.minimum(index, length - 1), share)
