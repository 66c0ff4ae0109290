"""Image pyramids by area resampling, written into packed canvases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from facerec.detection.mtcnn.packing import STRIDE, Level, Strip
from facerec.faces import Floats, Image
from facerec.parallel.threads import Map

CELL = 12
"""PNet's smallest input side, in pixels."""

_GRID_FACE = 20
"""Pixels of the faces that one level of the grid is made for: `detector.min_face`'s default."""

_ROUNDING = 1e-6

_SCALE_AND_OFFSET = np.array([1, -127.5], np.float32)
_SLAB_VALUES = 1 << 18
"""Values per slab, which fit a core's cache."""


def pyramid_levels(height: int, width: int, min_face: float, scale_factor: float) -> list[Level]:
    """The pyramid's levels, largest first; none is smaller than 12 x 12 pixels.

    Their scales lie on one grid, mtcnn 1.0.0's for faces of 20 pixels, of which `min_face` chooses
    the first and the image's shorter side the last: the levels of a larger minimum are among those
    of a smaller one. No level is larger than the image.
    """
    shorter = min(height, width)
    if shorter < CELL:
        return []
    octaves = -math.log(scale_factor)
    first = math.floor(math.log(max(min_face, CELL) / _GRID_FACE) / octaves + _ROUNDING)
    count = round(math.log(shorter / CELL) / octaves - 1)
    scales = [min(1.0, CELL / _GRID_FACE * scale_factor**level) for level in range(first, count)]
    return [
        Level(scale, int(height * scale), int(width * scale))
        for scale in scales
        if int(scale * shorter) >= CELL
    ]


class Pyramid:
    """Fills canvases with the levels of images of one size.

    Args:
        height: of the images, in pixels.
        width: of the images.
        levels: of an image.
        strips: of a canvas, which holds one image's levels after the other's.
    """

    def __init__(
        self, height: int, width: int, levels: Sequence[Level], strips: Sequence[Strip]
    ) -> None:
        self._width = width
        self._together = 1 + max(strip.level for strip in strips) // len(levels)
        self._levels = [
            _Level(level.height, _shares(height, level.height), _shares(width, level.width), [])
            for level in levels
        ]
        for strip in strips:
            image, level = divmod(strip.level, len(levels))
            self._levels[level].strips.append((image, strip))
        self._slabs: dict[int, list[_Slab]] = {}  # by number of images

    def fill(self, canvases: Floats, images: Sequence[Image], run: Map) -> None:
        """Write the levels of images less 127.5, each pixel the mean of the area it covers.

        A level of odd size repeats its last row or column, so that it is even. The images are
        worked on side by side, as one of all their widths.

        Args:
            canvases: `(M, height, width, 3)`, written.
            images: `(H, W, 3) uint8` each, as many as fill the canvases, in their order.
            run: applies a function to items, perhaps in parallel.
        """
        count, table = len(images), _table(images)

        def resize(slab: _Slab) -> None:
            lowered = _lowered(table, slab.down)
            narrowed = _narrowed(_turned(lowered, count * self._width), slab.across)
            turned = _turned(narrowed, len(lowered)).reshape(len(lowered), count, -1, 3)
            resized, last = turned.swapaxes(0, 1), slab.first + len(lowered) == slab.level.height
            for image, strip in slab.level.strips:
                _place(canvases, resized[image :: self._together], strip, slab.first, last)

        if count not in self._slabs:
            self._slabs[count] = self._cut(count)
        run(resize, self._slabs[count])

    def _cut(self, count: int) -> list[_Slab]:
        """Slabs of the levels of so many images."""
        rows = max(16, _SLAB_VALUES // (3 * count * self._width))
        return [
            _Slab(level, first, _bags(level.down, slice(first, first + rows)), across)
            for level in self._levels
            for across in [_bags(_side_by_side(level.across, self._width, count))]
            for first in range(0, level.height, rows)
        ]


def _place(canvases: Floats, rows: Floats, strip: Strip, first: int, last: bool) -> None:
    """Copy rows `(N, h, w, 3)` of a level, from row `first` on, into one of its strips.

    Args:
        last: whether they end with the level's last row.
    """
    top, left, start = (STRIDE * cells for cells in (strip.top, strip.left, strip.first))
    rows = rows[:, :, start : start + strip.width]
    _, height, width, _ = rows.shape
    place = canvases[:, top + first : top + strip.height, left : left + strip.width]
    place[:, :height, :width] = rows
    place[:, :height, width:] = place[:, :height, width - 1 : width]
    if last:
        place[:, height:] = place[:, height - 1 : height]


class _Level(NamedTuple):
    height: int
    down: _Shares
    across: _Shares
    strips: list[tuple[int, Strip]]
    """Each with its image's place among those of a canvas."""


class _Shares(NamedTuple):
    """Input rows of each output row and their weights, both `(N, K)`."""

    rows: NDArray[np.int32]
    share: Floats


class _Bags(NamedTuple):
    """Shares as PyTorch takes them: `(N * K,)`, and where each output row's start, `(N,)`.

    Made once, for each step between two operations is one at which threads wait for the GIL.
    """

    rows: Tensor
    share: Tensor
    starts: Tensor


def _bags(shares: _Shares, some: slice = slice(None)) -> _Bags:
    """Of some output rows."""
    rows, share = (values[some] for values in shares)
    starts = np.arange(0, rows.size, rows.shape[1], dtype=np.int32)
    return _Bags(*map(torch.from_numpy, (rows.reshape(-1), share.reshape(-1), starts)))


class _Slab(NamedTuple):
    """Rows of a level, from row `first` on."""

    level: _Level
    first: int
    down: _Bags
    across: _Bags


def _side_by_side(shares: _Shares, length: int, count: int) -> _Shares:
    """The weights for `count` images of `length` rows, concatenated."""
    if count == 1:
        return shares
    starts = np.arange(0, count * length, length, dtype=np.int32)[:, None, None]
    rows = (starts + shares.rows).reshape(-1, shares.rows.shape[1])
    return _Shares(rows, np.tile(shares.share, (count, 1)))


def _table(images: Sequence[Image]) -> Tensor:
    """Rows of all images side by side as one of PyTorch's quantised tables: bytes, then scale and
    offset."""
    pixels = [image.reshape(len(image), -1) for image in images]
    ends = np.tile(_SCALE_AND_OFFSET.view(np.uint8), (len(pixels[0]), 1))
    return torch.from_numpy(np.concatenate([*pixels, ends], 1))


def _lowered(table: Tensor, bags: _Bags) -> Floats:
    """Weighted sums of a table's rows, `(N, W)`.

    Bound by memory bandwidth, of which bytes take a quarter; OpenCV's area resampling of a full
    image takes three times as long.
    """
    sums: Floats = torch.ops.quantized.embedding_bag_byte_rowwise_offsets(
        table, bags.rows, bags.starts, per_sample_weights=bags.share
    ).numpy()
    return sums


def _turned(rows: Floats, columns: int) -> Floats:
    """Pixels `(N, columns * 3)` as `(columns, N * 3)`.

    Columns summed as rows of a transpose take half the time of OpenCV's sums.
    """
    turned: Floats = np.asarray(cv2.transpose(rows.reshape(len(rows), columns, 3)), np.float32)
    return turned.reshape(columns, -1)


def _narrowed(rows: Floats, bags: _Bags) -> Floats:
    """Weighted sums of rows, `(N, W)`."""
    table = torch.from_numpy(rows)
    sums: Floats = embedding_bag(
        bags.rows, table, bags.starts, mode="sum", per_sample_weights=bags.share
    ).numpy()
    return sums


def resampling_matrix(length: int, count: int) -> Floats:
    """Area resampling from `length` rows to `count` as a matrix `(count, length)`."""
    shares = _shares(length, count)
    matrix = np.zeros((count, length), np.float32)
    np.add.at(matrix, (np.arange(count)[:, None], shares.rows), shares.share)
    return matrix


def _shares(length: int, count: int) -> _Shares:
    """Weights of area resampling from `length` rows to `count`."""
    size = length / count
    first = np.arange(count)[:, None] * size
    index = first.astype(np.int32) + np.arange(math.ceil(size) + 1, dtype=np.int32)
    covered = np.minimum(first + size, index + 1) - np.maximum(first, index)
    share = np.maximum(covered / size, 0, dtype=np.float32, casting="same_kind")
    return _Shares(np.minimum(index, length - 1), share)
