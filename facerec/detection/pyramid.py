"""An image's pyramid, all levels packed into one canvas."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from facerec.faces import Floats

CELL = 12
"""Side of the smallest picture that MTCNN's first network accepts."""

_COARSE = 0.35


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
    """The next of four lengths per doubling: 16, 20, 24, 28, 32, 40, 48, ….

    oneDNN compiles each convolution for each shape and keeps a thousand of them.
    """
    step = max(4, 1 << max(0, (length - 1).bit_length() - 3))
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
    run: Callable[[Callable[[Sequence[Level]], None], list[list[Level]]], object],
) -> None:
    """Fill the canvas with the picture's levels, each pixel the mean of the area it covers.

    Args:
        canvas: `(height, width, 3)`, written.
        pixels: `(H, W, 3)`, whole or half numbers of at most 255 in size.
        levels: places in the canvas.
        run: applies a function to the items of a list, in any order, perhaps in parallel.
    """

    def fill(group: Sequence[Level]) -> None:
        source = pixels
        if len(group) > 1:
            sums = _cumulative_rows(pixels)
        for level in group:
            if len(group) > 1:
                source = _mean_rows(pixels, sums, level.height)
            place = canvas[
                level.top : level.top + level.height, level.left : level.left + level.width
            ]
            size = (level.width, level.height)
            place[:] = cv2.resize(source, size, interpolation=cv2.INTER_AREA)

    coarse = [level for level in levels if level.scale < _COARSE]
    fine = [[level] for level in levels if level.scale >= _COARSE]
    run(fill, ([coarse] if coarse else []) + fine)


def _cumulative_rows(pixels: Floats) -> Floats:
    # `(H + 1, 3 W)`; float32 holds sums of half numbers exactly up to 2^23, enough for 65,000 rows
    rows = pixels.reshape(len(pixels), -1)
    sums = np.zeros((len(rows) + 1, rows.shape[1]), np.float32)
    for row, (above, here) in zip(rows, pairwise(sums), strict=True):
        np.add(above, row, out=here)
    return sums


def _mean_rows(pixels: Floats, sums: Floats, count: int) -> Floats:
    # Area means downwards: the sum up to any height lies linearly between the sums of whole rows.
    height, width = pixels.shape[:2]
    edges = np.arange(count + 1) * (height / count)
    whole = np.minimum(edges.astype(np.intp), height - 1)
    at = pixels.reshape(height, -1)[whole]
    at *= (edges - whole).astype(np.float32)[:, None]
    at += sums[whole]
    means = at[1:] - at[:-1]
    means *= np.float32(count / height)
    reduced: Floats = means.reshape(count, width, 3)
    return reduced
