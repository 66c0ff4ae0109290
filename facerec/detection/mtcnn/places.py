"""What of a picture's first stage depends on its size alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from facerec.detection.mtcnn.packing import MARGIN, STRIDE, Layout, Level, Strip, arrange
from facerec.detection.mtcnn.pyramid import Pyramid
from facerec.faces import Floats


class Plan:
    """The canvas for pictures of one size.

    Args:
        height: of the pictures, in pixels.
        width: of the pictures.
        levels: their pyramids' levels.
    """

    def __init__(self, height: int, width: int, levels: Sequence[Level]) -> None:
        self.layout = arrange(levels)
        self.pyramid = Pyramid(height, width, self.layout)
        self.places = Places(self.layout)


class Places:
    """What lies where among a canvas's cells, `(h, w)`."""

    def __init__(self, layout: Layout) -> None:
        height, width = layout.bands * layout.rows, (layout.width - MARGIN) // STRIDE
        self.strip = np.full((height, width), -1, np.int32)
        """`(h, w)`, number of the strip that a cell belongs to; -1: to none."""
        self.level = np.array([strip.level for strip in layout.strips])
        """`(S,)`, number of the level that a strip is of."""
        self.shift = np.array([(strip.first - strip.left, -strip.top) for strip in layout.strips])
        """`(S, 2)`, x and y from a cell's place in the canvas to that in its level."""
        # the column and the row of each strip that see beyond a level of odd size
        self._last = np.full((len(layout.strips), 2), -1)
        self._beyond = np.zeros((height, width), bool)
        for number, strip in enumerate(layout.strips):
            bottom, right = strip.top + strip.rows, strip.left + strip.columns
            self.strip[strip.top : bottom, strip.left : right] = number
            level = layout.levels[strip.level]
            if level.height % 2:
                self._last[number, 1] = bottom - 1
                self._beyond[bottom - 1, strip.left : right] = True
            if has_end(level, strip):
                self._last[number, 0] = right - 1
                self._beyond[strip.top : bottom, right - 1] = True
        self._least: dict[tuple[float, float], Floats] = {}

    def least(self, inside: float, beyond: float) -> Floats:
        """What each cell's log-odds must exceed: one value for cells that see only their level,
        another for those that see beyond it, infinity for those of no level."""
        if (inside, beyond) not in self._least:
            least = np.where(self._beyond, np.float32(beyond), np.float32(inside))
            least[self.strip < 0] = np.inf
            self._least[inside, beyond] = least
        return self._least[inside, beyond]

    def see_beyond(self, cells: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which of the cells `(N, 2)`, x and y, see a column, and a row, beyond: `(N, 2)`."""
        seen: NDArray[np.bool_] = cells == self._last[self.strip[cells[:, 1], cells[:, 0]]]
        return seen


def has_end(level: Level, strip: Strip) -> bool:
    """Whether the strip's last cells see a column beyond the level's last."""
    return level.width % 2 == 1 and strip.first + strip.columns == level.columns
