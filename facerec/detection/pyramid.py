"""An image's pyramid, all levels packed into one canvas."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from facerec.detection.workers import Map
from facerec.faces import Floats

CELL = 12
"""Side of the smallest picture that MTCNN's first network accepts."""

_COARSE = 0.35
_SLAB = 64
"""Rows of a level that a thread works on at a time: they stay in its cache."""

Task = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Level:
    """One level and its place in the canvas, in pixels; `top` and `left` are even."""

    scale: float
    height: int
    width: int
    top: int = 0
    left: int = 0


def pyramid_scales(height: int, width: int, min_face: float, scale_factor: float) -> list[float]:
    """Scales of the pyramid's levels, largest first; no level is smaller than 12 x 12 pixels.

    The number of levels follows the picture's own shorter side, as in mtcnn 1.0.0.
    """
    shorter = min(height, width)
    if shorter < CELL:
        return []
    count = round(math.log(shorter / CELL) / -math.log(scale_factor) - 1)
    scales = [CELL / min_face * scale_factor**level for level in range(count)]
    return [scale for scale in scales if int(scale * shorter) >= CELL]


def rounded_up(length: int) -> int:
    """The next of eight lengths per doubling: …, 28, 32, 36, 40, ….

    Convolutions are prepared for each shape, and a thousand of them are kept.
    """
    step = max(4, 1 << max(0, (length - 1).bit_length() - 4))
    return -(-length // step) * step


def arrange(height: int, width: int, scales: Sequence[float]) -> tuple[list[Level], int, int]:
    """Places for all levels, largest first, in a canvas, and the canvas's height and width.

    Shelves below one another: each starts with the largest level that has no place yet, and the
    room to its right is filled with columns of smaller ones. The canvas's width is one of few,
    so that pictures of similar sizes need the same convolutions prepared.
    """
    waiting = [Level(scale, int(height * scale), int(width * scale)) for scale in scales]
    canvas_width = rounded_up(waiting[0].width + 1)
    placed: list[Level] = []
    top = 0
    while waiting:
        shelf = _even(waiting[0].height)
        left = column = down = 0
        rest: list[Level] = []
        for level in waiting:
            if level.width <= column and down + level.height <= shelf:
                placed.append(_moved(level, top + down, left - column))
                down += _even(level.height)
            elif left + level.width <= canvas_width and level.height <= shelf:
                column = _even(level.width)
                placed.append(_moved(level, top, left))
                left += column
                down = _even(level.height)
            else:
                rest.append(level)
        waiting = rest
        top += shelf
    placed.sort(key=lambda level: -level.scale)
    return placed, top, canvas_width


def _even(length: int) -> int:
    return length + length % 2


def _moved(level: Level, top: int, left: int) -> Level:
    return Level(level.scale, level.height, level.width, top, left)


def resize_into(
    canvas: Floats,
    pixels: Floats,
    levels: Sequence[Level],
    run: Map,
) -> None:
    """Fill the canvas with the picture's levels, each pixel the mean of the area it covers.

    A level of odd size repeats its last row or column, so that it is even.

    Args:
        canvas: `(height, width, 3)`, written.
        pixels: `(H, W, 3)`, whole or half numbers of at most 255 in size.
        levels: places in the canvas.
        run: applies a function to the items of a list, in any order, perhaps in parallel.
    """

    rows = pixels.reshape(len(pixels), -1)
    fine = [level for level in levels if level.scale >= _COARSE]
    coarse = [level for level in levels if level.scale < _COARSE]
    sums = np.empty((len(rows) + 1, rows.shape[1]), np.float32) if coarse else rows

    def fill(level: Level, first: int) -> None:
        last = min(first + _SLAB, level.height)
        cumulative = level.scale < _COARSE
        sources = _sources(len(rows), level.height, first, last, cumulative)
        lowered = _sum_rows(sums if cumulative else rows, sources)
        cv2.resize(
            lowered.reshape(last - first, -1, 3),
            dsize=(level.width, last - first),
            dst=canvas[level.top + first : level.top + last, level.left : level.left + level.width],
            interpolation=cv2.INTER_AREA,
        )

    def slabs(levels: Sequence[Level]) -> list[Task]:
        return [
            partial(fill, level, first)
            for level in levels
            for first in range(0, level.height, _SLAB)
        ]

    tasks = slabs(fine)
    if coarse:
        tasks.insert(0, partial(_accumulate, rows, sums))
    run(_do, tasks)
    run(_do, slabs(coarse))
    for level in levels:
        _repeat_last(canvas, level)


def _do(task: Task) -> None:
    task()


def _repeat_last(canvas: Floats, level: Level) -> None:
    bottom, right = level.top + level.height, level.left + level.width
    if level.width % 2:
        canvas[level.top : bottom, right] = canvas[level.top : bottom, right - 1]
    if level.height % 2:
        canvas[bottom, level.left : right + level.width % 2] = canvas[
            bottom - 1, level.left : right + level.width % 2
        ]


class _Sources(NamedTuple):
    """Which rows are added up, and how much of each, row after row of the outcome: those of its
    row `i` begin at `first[i]`."""

    rows: Tensor
    first: Tensor
    share: Tensor


def _sum_rows(rows: Floats, sources: _Sources) -> Floats:
    """Weighted sums of rows, `(N, W)`.

    `embedding_bag` adds whole rows at the speed of memory; OpenCV's own area mean of a full
    picture takes twice as long.
    """
    index, first, share = sources
    weights = torch.from_numpy(rows)
    total = embedding_bag(index, weights, first, mode="sum", per_sample_weights=share)
    summed: Floats = total.numpy()
    return summed


def _sources(height: int, count: int, start: int, stop: int, cumulative: bool) -> _Sources:
    """What parts `start` to `stop`, of `count` equal parts of `height` rows, consist of."""
    shares = _cumulative_shares if cumulative else _shares
    index, share = shares(height, count, np.arange(start, stop))
    used = share != 0
    first = np.r_[0, np.cumsum(used.sum(1))[:-1]]
    return _Sources(
        torch.from_numpy(index[used].astype(np.int32)),
        torch.from_numpy(first.astype(np.int32)),
        torch.from_numpy(share[used].astype(np.float32)),
    )


def _shares(height: int, count: int, parts: NDArray[np.intp]) -> tuple[NDArray[np.intp], Floats]:
    first = parts[:, None] * (height / count)
    last = first + height / count
    index = first.astype(np.intp) + np.arange(math.ceil(height / count) + 1)
    covered = np.minimum(last, index + 1) - np.maximum(first, index)
    return np.minimum(index, height - 1), covered.clip(0) * (count / height)


def _cumulative_shares(
    height: int, count: int, parts: NDArray[np.intp]
) -> tuple[NDArray[np.intp], Floats]:
    # Of cumulative rows, four are enough for any part: the sum up to a height lies linearly between
    # the sums of whole rows.
    edges = np.append(parts, parts[-1] + 1) * (height / count)
    whole = np.minimum(edges.astype(np.intp), height - 1)
    index = np.stack([whole, whole + 1], 1)
    share = np.stack([whole + 1 - edges, edges - whole], 1) * (count / height)
    return np.hstack([index[1:], index[:-1]]), np.hstack([share[1:], -share[:-1]])


def _accumulate(rows: Floats, sums: Floats) -> None:
    # float32 holds sums of half numbers exactly up to 2^23, enough for 65,000 rows
    sums[0] = 0
    for row, (above, here) in zip(rows, pairwise(sums), strict=True):
        np.add(above, row, out=here)
