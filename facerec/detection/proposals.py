"""MTCNN's first stage: its network over all levels of a picture at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from facerec.detection.mtcnn_networks import LAST_COLUMN, LAST_ROW, PNet
from facerec.detection.pyramid import Level, arrange, resize_into, rounded_up
from facerec.detection.screening import END_MARGIN, MARGIN, Screen
from facerec.detection.workers import Map
from facerec.faces import Floats

STRIDE = 2
_SEEN = 12
_BAND_PIXELS = 170_000
_PATCHES, _PATCHES_STEP = 256, 32
_DEARER = 20
"""How many times as long a cell by itself takes as one among its neighbours."""


class Cells(NamedTuple):
    """One level's cells whose score exceeds the threshold: place `(N, 2)` as x, y in the level's
    grid of cells, log-odds of a face `(N,)` and offsets `(N, 4)` of its box."""

    place: Tensor
    log_odds: Tensor
    offsets: Tensor


class Proposer:
    """The first stage, over bands of a canvas that holds all of a picture's levels.

    Args:
        network: the first network.
        threshold: log-odds to exceed.
        screen: estimates where a look is worth it; None: the network looks everywhere.
        run: applies a function to items, in any order, perhaps in parallel.
    """

    def __init__(self, network: PNet, threshold: float, *, screen: Screen | None, run: Map) -> None:
        self._network = network
        self._threshold = threshold
        self._screen = screen
        self._run = run

    def __call__(
        self, centred: Floats, scales: Sequence[float], device: torch.device
    ) -> list[tuple[Level, Cells]]:
        """Cells of each level of a picture `(H, W, 3) float32` less 127.5."""
        levels, height, width = arrange(centred.shape[0], centred.shape[1], scales)
        rows, starts = _bands(height, width)
        canvas = np.zeros((starts[-1] * STRIDE + 2 * rows + PNet.margin, width, 3), np.float32)
        resize_into(canvas, centred, levels, self._run)
        found = None
        if self._screen is not None:
            found = self._look_again(self._screen, canvas, levels, rows, starts)
        if found is None:
            found = self._look_everywhere(torch.from_numpy(canvas).to(device), levels, rows, starts)
        return _by_level(found, levels)

    def _look_everywhere(
        self, canvas: Tensor, levels: Sequence[Level], rows: int, starts: Sequence[int]
    ) -> Cells:
        def look(start: int) -> Cells:
            band = canvas[start * STRIDE :][: rows * STRIDE + PNet.margin]
            features, log_odds = self._network(band, list(_ends(levels, start, rows)))
            y, x = torch.nonzero(log_odds > self._threshold, as_tuple=True)
            offsets = self._network.offsets(features[y, x])
            return Cells(torch.stack([x, y + start], 1), log_odds[y, x], offsets)

        return _joined(self._run(look, starts))

    def _look_again(
        self,
        screen: Screen,
        canvas: Floats,
        levels: Sequence[Level],
        rows: int,
        starts: Sequence[int],
    ) -> Cells | None:
        """None where so much is worth a look that looking everywhere is quicker."""

        seen = _seen(torch.from_numpy(canvas))
        beyond = _beyond(levels, seen.shape[0], seen.shape[1])
        margin = torch.where(torch.logical_or(*beyond), END_MARGIN, MARGIN)

        def estimate(start: int) -> Tensor:
            band = canvas[start * STRIDE :][: rows * STRIDE + PNet.margin]
            log_odds = torch.from_numpy(screen.cells(band)) + margin[start : start + rows]
            worth = torch.nonzero(log_odds > self._threshold).flip(1)
            worth[:, 1] += start
            return worth

        worth = torch.cat(self._run(estimate, starts))
        if len(worth) * _DEARER > canvas.shape[0] * canvas.shape[1] / STRIDE**2:
            return None

        def look(cells: Tensor) -> Cells:
            x, y = cells.T
            patches = seen[y, x].view(-1, _SEEN, _SEEN, 3)
            padding = patches.new_zeros(-len(cells) % _PATCHES_STEP, *patches.shape[1:])
            below, beside = (torch.nonzero(mask[y, x])[:, 0] for mask in beyond)
            features, log_odds = self._network.cells(torch.cat([patches, padding]), below, beside)
            passed = torch.nonzero(log_odds[: len(cells)] > self._threshold)[:, 0]
            return Cells(cells[passed], log_odds[passed], self._network.offsets(features[passed]))

        return _joined(self._run(look, torch.split(worth, _PATCHES)))


def _seen(canvas: Tensor) -> Tensor:
    """What each cell sees of a canvas `(H, W, 3)`: a view `(h, w, 12, 36)`, rows in one piece."""
    rows = canvas.flatten(1).unfold(0, _SEEN, STRIDE)
    return rows.unfold(1, 3 * _SEEN, 3 * STRIDE)


def _joined(parts: Iterable[Cells]) -> Cells:
    return Cells(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _by_level(found: Cells, levels: Sequence[Level]) -> list[tuple[Level, Cells]]:
    """The cells of each level that has any, placed within it; what lies between levels is left."""
    divided = []
    for level in levels:
        place = found.place - found.place.new_tensor([level.left, level.top]) // STRIDE
        inside = (place >= 0) & (place < place.new_tensor(_extent(level)))
        here = torch.nonzero(inside.all(1))[:, 0]
        if len(here):
            cells = Cells(place[here], found.log_odds[here], found.offsets[here])
            divided.append((level, cells))
    return divided


def _beyond(levels: Sequence[Level], height: int, width: int) -> tuple[Tensor, Tensor]:
    """Masks `(h, w)` of the cells that see a row, and a column, beyond a level of odd size."""
    below, beside = torch.zeros(2, height, width, dtype=torch.bool)
    for level in levels:
        top, left = level.top // STRIDE, level.left // STRIDE
        columns, rows = _extent(level)
        if level.height % 2:
            below[top + rows - 1, left : left + columns] = True
        if level.width % 2:
            beside[top : top + rows, left + columns - 1] = True
    return below, beside


def _extent(level: Level) -> tuple[int, int]:
    """Columns and rows of a level's cells."""
    return _pooled(level.width) - 4, _pooled(level.height) - 4


def _pooled(length: int) -> int:
    return (length - 1) // 2


def _bands(height: int, width: int) -> tuple[int, list[int]]:
    """Rows of scores in a band of the canvas, and the row at which each band starts."""
    rows = max(1, (height - PNet.margin) // STRIDE)
    count = math.ceil(rows * STRIDE * width / _BAND_PIXELS)
    if count > 1:
        count += count % 2  # so that two cores share them evenly
    size = rounded_up(math.ceil(rows / count))
    return size, list(range(0, rows, size))


def _ends(levels: Sequence[Level], start: int, rows: int) -> Iterator[tuple[slice, slice, slice]]:
    """What the first layer computes, in one band, beyond the last pixel of a level of odd size."""
    for level in levels:
        top, left = level.top // STRIDE - start, level.left // STRIDE
        bottom, right = top + _pooled(level.height), left + _pooled(level.width)
        visible = slice(max(top, 0), max(bottom, 0))
        if top >= rows + 4 or bottom <= 0:
            continue
        if level.width % 2:
            for channels in LAST_COLUMN:
                yield channels, visible, slice(right - 1, right)
        if level.height % 2:
            yield LAST_ROW, slice(bottom - 1, bottom), slice(left, right)
