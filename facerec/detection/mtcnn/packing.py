"""Packing all pyramid levels of an image into one canvas."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import NamedTuple

STRIDE = 2
"""Pixels between PNet's cells."""

MARGIN = 10
"""Cells see 12 pixels: `n` cells in a row see `STRIDE * n + MARGIN`."""

_WIDTHS = (48, *range(80, 257, 16), 288, 352)
_TRIED = 10
_BAND_PIXELS = 80_000
"""The maps of larger bands leave the caches: a portrait takes a twentieth longer on Zen 3."""


class Level(NamedTuple):
    """One level of a pyramid, in pixels."""

    scale: float
    height: int
    width: int

    @property
    def rows(self) -> int:
        """Rows of cells; the last one of a level of odd size sees past its edge."""
        return _cells(self.height)

    @property
    def columns(self) -> int:
        """Columns of cells."""
        return _cells(self.width)


class Strip(NamedTuple):
    """Adjacent columns of a level's cells, and their position among the canvas's cells."""

    level: int
    first: int
    columns: int
    rows: int
    top: int = 0
    left: int = 0

    @property
    def height(self) -> int:
        """Pixels that its cells see."""
        return self.rows * STRIDE + MARGIN

    @property
    def width(self) -> int:
        """Pixels that its cells see."""
        return self.columns * STRIDE + MARGIN


class Layout(NamedTuple):
    """All levels of one image or several in a canvas of pixels `(height, width)`, cut into bands of
    `rows` cells' rows."""

    levels: list[Level]
    strips: list[Strip]
    width: int
    rows: int
    bands: int

    @property
    def height(self) -> int:
        """Pixels, with the unused rows of the last band."""
        return self.bands * self.rows * STRIDE + MARGIN


class _Piece(NamedTuple):
    """A strip before it has its place; height and width in pixels."""

    height: int
    width: int
    level: int
    first: int


def arrange(levels: Sequence[Level], images: int = 1) -> Layout:
    """The layout with the fewest pixels, for the levels of each of several images, one image after
    the other.

    Convolutions are compiled for each input shape, which takes half a millisecond of each core, a
    tenth of a small image's time. So levels are cut into strips, canvases have one of few widths,
    and the rows of a small image's only band are rounded up: small images of all sizes need some
    100 shapes. Several images of one size fill their canvas better, and are worth a shape.

    Args:
        levels: of one image, largest first.
        images: in the canvas.
    """
    whole = levels[0].columns * STRIDE + MARGIN
    narrower = bisect_left(_WIDTHS, whole)
    every = [*levels] * images

    def pack(width: int) -> tuple[int, int, int, int, list[tuple[_Piece, int, int]]]:
        places, height = _shelved(every, width)
        rows, bands = _bands(height, width, rounded=images == 1)
        return bands * (rows * STRIDE + MARGIN) * width, width, rows, bands, places

    packed = map(pack, _WIDTHS[max(0, narrower - _TRIED) : narrower + 1])
    _, width, rows, bands, places = min(packed, key=itemgetter(0))
    strips = [
        Strip(
            piece.level,
            piece.first,
            _cells_across(piece.width),
            every[piece.level].rows,
            top // STRIDE,
            left // STRIDE,
        )
        for piece, top, left in places
    ]
    return Layout(every, strips, width, rows, bands)


def rounded_up(length: int) -> int:
    """The next of eight lengths per doubling: …, 28, 32, 36, 40, …"""
    step = max(4, 1 << max(0, (length - 1).bit_length() - 4))
    return -(-length // step) * step


def _shelved(levels: Sequence[Level], width: int) -> tuple[list[tuple[_Piece, int, int]], int]:
    """Top and left of the strips of all levels in a canvas, and the height that they take.

    Shelf packing: each shelf starts with the tallest strip left; columns of lower ones fill it.
    """
    pieces = (piece for number, level in enumerate(levels) for piece in _cut(number, level, width))
    waiting = sorted(pieces, key=itemgetter(0, 1), reverse=True)
    places: list[tuple[_Piece, int, int]] = []
    top = 0
    while waiting:
        shelf = waiting[0].height
        left = column = down = 0
        rest: list[_Piece] = []
        for piece in waiting:
            high, wide, _, _ = piece
            if wide <= column and down + high <= shelf:
                places.append((piece, top + down, left - column))
                down += high
            elif left + wide <= width:
                places.append((piece, top, left))
                column = wide
                left += wide
                down = high
            else:
                rest.append(piece)
        waiting = rest
        top += shelf
    return places, top


def _cut(number: int, level: Level, width: int) -> Iterator[_Piece]:
    most = _cells_across(width)
    height = level.rows * STRIDE + MARGIN
    for first in range(0, level.columns, most):
        columns = min(most, level.columns - first)
        yield _Piece(height, columns * STRIDE + MARGIN, number, first)


def _cells_across(pixels: int) -> int:
    return (pixels - MARGIN) // STRIDE


def _bands(height: int, width: int, *, rounded: bool) -> tuple[int, int]:
    """Rows of cells in a band, and the number of bands."""
    rows = (height - MARGIN) // STRIDE
    count = math.ceil(rows * STRIDE * width / _BAND_PIXELS)
    if count > 1:
        count += count % 2  # so that two cores share them evenly
    size = math.ceil(rows / count)
    if rounded and count == 1:
        size = rounded_up(size)
    return size, math.ceil(rows / size)


def _cells(length: int) -> int:
    return (length - 1) // 2 - 4
