"""What PNet's stage precomputes for one image size: the canvas and its map of cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from facerec.detection.mtcnn.packing import MARGIN, STRIDE, Layout, Level, Strip, arrange
from facerec.detection.mtcnn.pyramid import Pyramid
from facerec.faces import Floats


class Plan:
    """The canvas for images of one size.

    Args:
        height: of the images, in pixels.
        width: of the images.
        levels: of their pyramids.
        images: in a canvas.
    """

    def __init__(self, height: int, width: int, levels: Sequence[Level], images: int) -> None:
        self.layout = arrange(levels, images)
        self.pyramid = Pyramid(height, width, levels, self.layout.strips)
        self.cells = CellMap(self.layout)
        self.images = images
        self.cells_of_an_image = sum(level.rows * level.columns for level in levels)

    def image_of(self, cells: NDArray[np.intp]) -> NDArray[np.intp]:
        """Index of the image of each cell `(N, 3)`: canvas, x and y."""
        level = self.cells.level[self.cells.strip[cells[:, 2], cells[:, 1]]]
        levels = len(self.layout.levels) // self.images
        image: NDArray[np.intp] = cells[:, 0] * self.images + level // levels
        return image


class CellMap:
    """Which strip and level each cell of a canvas `(h, w)` belongs to."""

    def __init__(self, layout: Layout) -> None:
        height, width = layout.bands * layout.rows, (layout.width - MARGIN) // STRIDE
        self.strip = np.full((height, width), -1, np.int32)
        """`(h, w)`, index of a cell's strip; -1: none."""
        self.level = np.array([strip.level for strip in layout.strips])
        """`(S,)`, index of a strip's level."""
        self.shift = np.array([(strip.first - strip.left, -strip.top) for strip in layout.strips])
        """`(S, 2)`, x and y from a cell's position in the canvas to that in its level."""
        # the column and the row of each strip that see past the edge of a level of odd size
        self._edge = np.full((len(layout.strips), 2), -1)
        self._past_edge = np.zeros((height, width), bool)
        for number, strip in enumerate(layout.strips):
            bottom, right = strip.top + strip.rows, strip.left + strip.columns
            self.strip[strip.top : bottom, strip.left : right] = number
            level = layout.levels[strip.level]
            if level.height % 2:
                self._edge[number, 1] = bottom - 1
                self._past_edge[bottom - 1, strip.left : right] = True
            if has_odd_edge(level, strip):
                self._edge[number, 0] = right - 1
                self._past_edge[strip.top : bottom, right - 1] = True
        self._thresholds: dict[tuple[float, float], Floats] = {}

    def thresholds(self, inside: float, at_edge: float) -> Floats:
        """Log-odds that each cell must exceed, `(h, w)`: `at_edge` for cells that see past their
        level's edge, infinity for cells of no level, `inside` for all others."""
        if (inside, at_edge) not in self._thresholds:
            thresholds = np.where(self._past_edge, np.float32(at_edge), np.float32(inside))
            thresholds[self.strip < 0] = np.inf
            self._thresholds[inside, at_edge] = thresholds
        return self._thresholds[inside, at_edge]

    def past_edge(self, cells: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which of the cells `(N, 2)`, x and y, see past the last column, and row: `(N, 2)`."""
        past: NDArray[np.bool_] = cells == self._edge[self.strip[cells[:, 1], cells[:, 0]]]
        return past


def has_odd_edge(level: Level, strip: Strip) -> bool:
    """Whether the strip's last cells see past the level's last column."""
    return level.width % 2 == 1 and strip.first + strip.columns == level.columns
