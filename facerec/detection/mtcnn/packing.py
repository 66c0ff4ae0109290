"""Packing all pyramid levels of an image into one canvas."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

STRIDE = 2
"""Pixels between PNet's cells."""

MARGIN = 10
"""Cells see 12 pixels: `n` cells in a row see `STRIDE * n + MARGIN`."""

_WIDTHS = (48, 96, 160, 256, 352)
_TRIED = 3
_BAND_PIXELS = 170_000


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

    @property
    def pixels(self) -> int:
        """Pixels of all bands; the overlap of two counts twice."""
        return self.bands * (self.rows * STRIDE + MARGIN) * self.width


def arrange(levels: Sequence[Level], images: int = 1) -> Layout:
    """The layout with the fewest pixels, for the levels of each of several images, one image after
    the other.

    Convolutions are compiled for each input shape, which takes a tenth of a photo's time. So levels
    are cut into strips, canvases have one of few widths, and the rows of an image's bands are
    rounded up: images of all sizes need some 80 shapes. Several images of one size fill their
    canvas better, and are worth a shape.

    Args:
        levels: of one image, largest first.
        images: in the canvas.
    """
    whole = levels[0].columns * STRIDE + MARGIN
    narrower = [width for width in _WIDTHS if width < whole]
    widths = [*narrower[-_TRIED:], *_WIDTHS[len(narrower) :][:1]]
    layouts = (_packed([*levels] * images, width, rounded=images == 1) for width in widths)
    return min(layouts, key=lambda layout: layout.pixels)


def rounded_up(length: int) -> int:
    """The next of eight lengths per doubling: …, 28, 32, 36, 40, …"""
    step = max(4, 1 << max(0, (length - 1).bit_length() - 4))
    return -(-length // step) * step


def _packed(levels: Sequence[Level], width: int, *, rounded: bool) -> Layout:
    # Shelf packing: each shelf starts with the tallest strip left; columns of lower ones fill it.
    waiting = sorted(
        (strip for number, level in enumerate(levels) for strip in _cut(number, level, width)),
        key=lambda strip: (-strip.height, -strip.width),
    )
    placed: list[Strip] = []
    top = 0
    while waiting:
        shelf = waiting[0].height
        left = column = down = 0
        rest: list[Strip] = []
        for strip in waiting:
            if strip.width <= column and down + strip.height <= shelf:
                placed.append(_moved(strip, top + down, left - column))
                down += strip.height
            elif left + strip.width <= width and strip.height <= shelf:
                column = strip.width
                placed.append(_moved(strip, top, left))
                left += column
                down = strip.height
            else:
                rest.append(strip)
        waiting = rest
        top += shelf
    rows, bands = _bands(top, width, rounded=rounded)
    return Layout(list(levels), placed, width, rows, bands)


def _cut(number: int, level: Level, width: int) -> Iterator[Strip]:
    most = (width - MARGIN) // STRIDE
    for first in range(0, level.columns, most):
        yield Strip(number, first, min(most, level.columns - first), level.rows)


def _moved(strip: Strip, top: int, left: int) -> Strip:
    return strip._replace(top=top // STRIDE, left=left // STRIDE)


def _bands(height: int, width: int, *, rounded: bool) -> tuple[int, int]:
    """Rows of cells in a band, and the number of bands."""
    rows = (height - MARGIN) // STRIDE
    count = math.ceil(rows * STRIDE * width / _BAND_PIXELS)
    if count > 1:
        count += count % 2  # so that two cores share them evenly
    size = math.ceil(rows / count)
    if rounded:
        size = rounded_up(size)
    return size, math.ceil(rows / size)


def _cells(length: int) -> int:
    return (length - 1) // 2 - 4
