"""MTCNN's first stage: its network over all levels of a picture at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facerec.detection.arrays import alike, namespace, on_host
from facerec.detection.mtcnn_networks import LAST_COLUMN, LAST_ROW, PNet
from facerec.detection.packing import MARGIN, STRIDE, Layout, Level, Strip, arrange
from facerec.detection.pyramid import resize_into
from facerec.detection.scratch import Empty
from facerec.detection.screening import END_ERROR, ERROR, Screen
from facerec.detection.workers import Map
from facerec.faces import Floats, Image

Pixels = TypeVar("Pixels", Tensor, Floats)

_SEEN = 12
_POOLED_MARGIN = 4
_PATCHES, _PATCHES_STEP = 256, 32
_DEARER = 20
"""How many times as long a cell by itself takes as one among its neighbours."""


class Cells(NamedTuple):
    """Cells whose score exceeds the threshold, level after level and row after row: number of the
    level `(N,)`, place `(N, 2)` as x, y in its grid of cells, log-odds of a face `(N,)` and offsets
    `(N, 4)` of its box."""

    level: Any
    place: Any
    log_odds: Any
    offsets: Any


class _Found(NamedTuple):
    place: Any
    log_odds: Any
    offsets: Any


class Proposer:
    """The first stage, over bands of a canvas that holds all of a picture's levels.

    Args:
        network: the first network.
        threshold: log-odds to exceed.
        screen: estimates where a look is worth it; None: the network looks everywhere.
        run: applies a function to items, in any order, perhaps in parallel.
        empty: memory for a picture's pyramid.
    """

    def __init__(
        self, network: PNet, threshold: float, *, screen: Screen | None, run: Map, empty: Empty
    ) -> None:
        self._network = network
        self._threshold = threshold
        self._screen = screen
        self._run = run
        self._empty = empty

    def __call__(self, image: Image, levels: Sequence[Level], device: torch.device) -> Cells:
        """Cells of all levels of a picture `(H, W, 3) uint8`."""
        layout = arrange(levels)
        canvas = self._empty("canvas", (layout.height, layout.width, 3))
        resize_into(canvas, image, layout, self._run)
        places = _Places(layout)
        found = None
        if self._screen is not None:
            found = self._look_again(self._screen, canvas, layout, places)
        if found is None:
            canvas_there = torch.from_numpy(canvas).to(device)
            found = self._look_everywhere(canvas_there, layout, places)
        return places.by_level(found)

    def _look_everywhere(self, canvas: Tensor, layout: Layout, places: _Places) -> _Found:
        within = torch.from_numpy(places.within()).to(canvas.device)

        def look(start: int) -> _Found:
            features, log_odds = self._network(
                _band(canvas, start, layout), list(_ends(layout, start))
            )
            passed = (log_odds > self._threshold) & within[start : start + layout.rows]
            y, x = torch.nonzero(passed, as_tuple=True)
            offsets = self._network.offsets(features[y, x])
            found = torch.stack([x, y + start], 1), log_odds[y, x], offsets
            return _Found(*map(on_host, found))

        return _joined(self._run(look, _starts(layout)))

    def _look_again(
        self, screen: Screen, canvas: Floats, layout: Layout, places: _Places
    ) -> _Found | None:
        """None where so much is worth a look that looking everywhere is quicker."""
        seen = _seen(torch.from_numpy(canvas))
        least = places.least(self._threshold)

        def estimate(start: int) -> NDArray[np.intp]:
            log_odds = screen.cells(_band(canvas, start, layout))
            worth = np.argwhere(log_odds > least[start : start + layout.rows])
            worth[:, 0] += start
            return worth

        worth = np.concatenate(self._run(estimate, _starts(layout)))
        if len(worth) * _DEARER > canvas.shape[0] * canvas.shape[1] / STRIDE**2:
            return None

        def look(cells: NDArray[np.intp]) -> _Found:
            # numbers of patches are few, for convolutions are prepared for each
            padded = np.pad(cells, ((0, -len(cells) % _PATCHES_STEP), (0, 0)), "edge")
            y, x = torch.from_numpy(padded).T
            patches = seen[y, x].view(-1, _SEEN, _SEEN, 3)
            features, log_odds = self._network.cells(patches, *places.beyond(padded))
            passed = np.flatnonzero(log_odds.numpy()[: len(cells)] > self._threshold)
            offsets = self._network.offsets(features[torch.from_numpy(passed)])
            return _Found(cells[passed, ::-1], log_odds.numpy()[passed], offsets.numpy())

        chunks = [worth[at : at + _PATCHES] for at in range(0, max(1, len(worth)), _PATCHES)]
        return _joined(self._run(look, chunks))


class _Places:
    """What lies where among a canvas's cells, `(h, w)`."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        height, width = layout.bands * layout.rows, (layout.width - MARGIN) // STRIDE
        self._strip = np.full((height, width), -1)
        self._level = np.array([strip.level for strip in layout.strips])
        self._shift = np.array([(strip.first - strip.left, -strip.top) for strip in layout.strips])
        # of each strip the row and the column that see beyond a level of odd size
        self._last = np.full((len(layout.strips), 2), -1)
        for number, strip in enumerate(layout.strips):
            bottom, right = strip.top + strip.rows, strip.left + strip.columns
            self._strip[strip.top : bottom, strip.left : right] = number
            level = layout.levels[strip.level]
            if level.height % 2:
                self._last[number, 0] = bottom - 1
            if _has_end(level, strip):
                self._last[number, 1] = right - 1

    def within(self) -> NDArray[np.bool_]:
        """Mask of the cells that belong to a level."""
        mask: NDArray[np.bool_] = self._strip >= 0
        return mask

    def least(self, threshold: float) -> Floats:
        """What a cell's estimate must exceed for its score to be able to exceed a threshold."""
        least = np.where(self.within(), np.float32(threshold - ERROR), np.float32(np.inf))
        for strip, (row, column) in zip(self._layout.strips, self._last.tolist(), strict=True):
            if row >= 0:
                least[row, strip.left : strip.left + strip.columns] = threshold - END_ERROR
            if column >= 0:
                least[strip.top : strip.top + strip.rows, column] = threshold - END_ERROR
        return least

    def beyond(self, cells: NDArray[np.intp]) -> tuple[Tensor, Tensor]:
        """Indices of those of the cells `(N, 2)`, y and x, that see a row, and a column, beyond."""
        last = self._last[self._strip[cells[:, 0], cells[:, 1]]]
        below, beside = (np.flatnonzero(axis) for axis in (cells == last).T)
        return torch.from_numpy(below), torch.from_numpy(beside)

    def by_level(self, found: _Found) -> Cells:
        """The cells placed in their levels."""
        strip = alike(self._strip, found.place)[found.place[:, 1], found.place[:, 0]]
        level, shift = (alike(table, strip)[strip] for table in (self._level, self._shift))
        place = found.place + shift
        order = (level << 40 | place[:, 1] << 20 | place[:, 0]).argsort()
        return Cells(level[order], place[order], found.log_odds[order], found.offsets[order])


def _starts(layout: Layout) -> Sequence[int]:
    """The row of cells at which each band starts."""
    return range(0, layout.bands * layout.rows, layout.rows)


def _band(canvas: Pixels, start: int, layout: Layout) -> Pixels:
    return canvas[start * STRIDE :][: layout.rows * STRIDE + MARGIN]


def _seen(canvas: Tensor) -> Tensor:
    """What each cell sees of a canvas `(H, W, 3)`: a view `(h, w, 12, 36)`, rows in one piece."""
    rows = canvas.flatten(1).unfold(0, _SEEN, STRIDE)
    return rows.unfold(1, 3 * _SEEN, 3 * STRIDE)


def _joined(parts: Iterable[_Found]) -> _Found:
    columns = list(zip(*parts, strict=True))
    return _Found(*(namespace(column[0]).concatenate(column) for column in columns))


def _has_end(level: Level, strip: Strip) -> bool:
    """Whether the strip's last cells see a column beyond the level's last."""
    return level.width % 2 == 1 and strip.first + strip.columns == level.columns


def _ends(layout: Layout, start: int) -> Iterator[tuple[slice, slice, slice]]:
    """What the first layer computes, in one band, beyond the last pixel of a level of odd size."""
    for strip in layout.strips:
        top, left = strip.top - start, strip.left
        bottom, right = top + strip.rows + _POOLED_MARGIN, left + strip.columns + _POOLED_MARGIN
        visible = slice(max(top, 0), max(bottom, 0))
        if top >= layout.rows + _POOLED_MARGIN or bottom <= 0:
            continue
        level = layout.levels[strip.level]
        if _has_end(level, strip):
            for channels in LAST_COLUMN:
                yield channels, visible, slice(right - 1, right)
        if level.height % 2:
            yield LAST_ROW, slice(bottom - 1, bottom), slice(left, right)
