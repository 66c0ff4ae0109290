"""MTCNN's first stage on a processor, PNet over all pyramid levels of images at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from facerec.detection.mtcnn.arrays import Empty, in_chunks, in_even_chunks, pad_to_multiple
from facerec.detection.mtcnn.networks import LAST_COLUMN, LAST_ROW, PNet
from facerec.detection.mtcnn.packing import MARGIN, STRIDE, Layout, Level
from facerec.detection.mtcnn.plan import Plan, has_odd_edge
from facerec.detection.mtcnn.screening import EDGE_ERROR, CellScan, CellScans
from facerec.faces import Floats, Image
from facerec.parallel.threads import Map

Pixels = TypeVar("Pixels", Tensor, Floats)

_CELL_SIDE = 12
_POOLED_MARGIN = 4
_SMALL_BATCH, _CELL_BATCH = 64, 256
_ROW_BLOCK = 16
"""Batches of cells are multiples of it: matrix products work on blocks of rows, and only in whole
blocks is a row's result independent of the others."""
_TOGETHER = 4
"""Images of one size in a canvas: of 250x250 each then takes 6 % fewer pixels."""
_PLANS = 8
"""Images mostly come in few sizes: upright and lying, or the frames of a video."""
_CELL_COST = 15
"""Time of one cell by itself, over its share of a scan's time."""

_FEWEST_ROWS = 64
"""Rows of cells that are worth a thread."""


class Cells(NamedTuple):
    """Cells above the threshold, by image, level and row.

    Attributes:
        level: `(N,)`, index among the levels of all images.
        position: `(N, 2)`, x, y in the level's grid of cells.
        log_odds: `(N,)`, of a face.
        offsets: `(N, 4)`, of its box.
    """

    level: Any
    position: Any
    log_odds: Any
    offsets: Any


class _Candidates(NamedTuple):
    """Cells of canvases: position `(N, 3)` as canvas, x, y; log-odds `(N,)`; offsets `(N, 4)`."""

    position: Any
    log_odds: Any
    offsets: Any


_NO_CELLS = _Candidates(
    np.empty((0, 3), np.intp), np.empty(0, np.float32), np.empty((0, 4), np.float32)
)


class Proposer:
    """PNet over bands of canvases, each of which holds all levels of an image or of several.

    Args:
        network: PNet in float32.
        threshold: log-odds to exceed.
        scans: screening in OpenVINO; None: the network scans everything.
        run: applies a function to items, perhaps in parallel.
        empty: allocates the canvases.
        free: threads that `run` has at this moment.
    """

    def __init__(
        self,
        network: PNet,
        threshold: float,
        *,
        scans: CellScans | None,
        run: Map,
        empty: Empty,
        free: Callable[[], int] = lambda: 1,
    ) -> None:
        self._network = network
        self._threshold = threshold
        self._scans = scans
        self._run = run
        self._empty = empty
        self._free = free
        self._plan = lru_cache(_PLANS)(Plan)

    def __call__(self, images: Sequence[Image], levels: Sequence[Level]) -> Cells:
        """Cells of all levels of images `(H, W, 3) uint8` of one size."""
        found, rest = [], np.arange(len(images))
        if self._scans is not None and self._scans.rough is not None:
            # Images with many candidates are left for an exact scan.
            dense = [rest[:0]]
            for numbers in _packed(rest):
                plan, canvases = self._fill(images, numbers, levels)
                candidates, many = self._screen(
                    self._scans.rough, self._scans.exact, canvases, plan
                )
                found.append(_by_level(candidates, plan, numbers))
                dense.append(numbers[many])
            rest = np.concatenate(dense)
        for numbers in _packed(rest):
            plan, canvases = self._fill(images, numbers, levels)
            if self._scans is None:
                candidates = self._scan_in_full(torch.from_numpy(canvases), plan)
            else:
                candidates = self._scan_exactly(self._scans.exact, canvases, plan)
            found.append(_by_level(candidates, plan, numbers))
        return _sorted(found)

    def _fill(
        self, images: Sequence[Image], numbers: NDArray[np.intp], levels: Sequence[Level]
    ) -> tuple[Plan, Floats]:
        """The canvases of the numbered images, valid until the next call, and their plan."""
        together = _TOGETHER if len(numbers) >= _TOGETHER else 1
        plan = self._plan(*images[0].shape[:2], tuple(levels), together)
        size = plan.layout.height, plan.layout.width
        canvases = self._empty("canvases", (len(numbers) // together, *size, 3))
        plan.pyramid.fill(canvases, [images[number] for number in numbers], self._run)
        return plan, canvases

    def _scan_in_full(self, canvases: Tensor, plan: Plan) -> _Candidates:
        layout = plan.layout
        inside = torch.from_numpy(plan.cells.strip >= 0)

        def scan_band(at: tuple[int, tuple[int, int]]) -> _Candidates:
            canvas, (start, rows) = at
            band = _band(canvases[canvas], start, rows)
            (features,), (log_odds,) = self._network(band[None], list(_odd_edges(layout, start)))
            passed = (log_odds > self._threshold) & inside[start : start + rows]
            y, x = torch.nonzero(passed, as_tuple=True)
            offsets = self._network.offsets(features[y, x])
            position = torch.stack([torch.full_like(x, canvas), x, y + start], 1)
            return _Candidates(position.numpy(), log_odds[y, x].numpy(), offsets.numpy())

        bands = itertools.product(range(len(canvases)), _bands(layout, self._free()))
        return _joined(self._run(scan_band, list(bands)))

    def _screen(
        self, rough: CellScan, exact: CellScan, canvases: Floats, plan: Plan
    ) -> tuple[_Candidates, NDArray[np.bool_]]:
        """A rough scan, then its candidates one by one; and which images, `(N,)`, are left out,
        since these are so many that an exact scan takes less time."""
        position = self._scan(rough, canvases, plan).position
        image = plan.image_of(position)
        counts = np.bincount(image, minlength=len(canvases) * plan.images)
        many: NDArray[np.bool_] = counts * _CELL_COST > plan.cells_of_an_image
        if many.all():  # the canvases need not be filled again
            return self._scan_exactly(exact, canvases, plan), ~many
        return self._evaluate(canvases, position[~many[image]], plan), many

    def _scan_exactly(self, scan: CellScan, canvases: Floats, plan: Plan) -> _Candidates:
        exact = self._scan(scan, canvases, plan)
        at_edge = plan.cells.past_edge(exact.position[:, 1:]).any(1)
        sure = _Candidates(*(column[~at_edge] for column in exact))
        return _joined([sure, self._evaluate(canvases, exact.position[at_edge], plan)])

    def _scan(self, scan: CellScan, canvases: Floats, plan: Plan) -> _Candidates:
        """Cells that may exceed the threshold."""
        layout, error = plan.layout, scan.error
        thresholds = plan.cells.thresholds(self._threshold - error, self._threshold - EDGE_ERROR)

        def scan_band(at: tuple[int, tuple[int, int]]) -> _Candidates:
            canvas, (start, rows) = at
            log_odds, offsets = scan(_band(canvases[canvas], start, rows))
            y, x = np.nonzero(log_odds > thresholds[start : start + rows])
            position = np.stack([np.full_like(x, canvas), x, y + start], 1)
            return _Candidates(position, log_odds[y, x], offsets[:, y, x].T)

        bands = itertools.product(range(len(canvases)), _bands(layout, self._free()))
        return _joined(self._run(scan_band, list(bands)))

    def _evaluate(self, canvases: Floats, positions: NDArray[np.intp], plan: Plan) -> _Candidates:
        """The cells at `(N, 3)`, canvas, x and y, whose float32 score exceeds the threshold."""
        patches = _patches(canvases)

        def evaluate(chunk: NDArray[np.intp]) -> _Candidates:
            canvas, x, y = pad_to_multiple(chunk, _ROW_BLOCK).T
            batch = patches[canvas, y, x].reshape(-1, _CELL_SIDE, _CELL_SIDE, 3)
            beside, below = (
                torch.from_numpy(np.flatnonzero(axis))
                for axis in plan.cells.past_edge(chunk[:, 1:]).T
            )
            features, log_odds = self._network.cells(torch.from_numpy(batch), below, beside)
            passed = np.flatnonzero(log_odds.numpy()[: len(chunk)] > self._threshold)
            offsets = self._network.offsets(features)
            return _Candidates(chunk[passed], log_odds.numpy()[passed], offsets.numpy()[passed])

        chunks = (
            in_chunks(positions, _SMALL_BATCH)
            if len(positions) <= _SMALL_BATCH
            else in_even_chunks(positions, _CELL_BATCH, _ROW_BLOCK)
        )
        return _joined([_NO_CELLS, *self._run(evaluate, chunks)])


def _packed(numbers: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """The images that are packed together, then the rest."""
    packed = len(numbers) // _TOGETHER * _TOGETHER
    return [part for part in (numbers[:packed], numbers[packed:]) if len(part)]


def _by_level(found: _Candidates, plan: Plan, numbers: NDArray[np.intp]) -> Cells:
    """Cells of the numbered images' canvases as cells of levels."""
    position, cells = found.position[:, 1:], plan.cells
    strip = cells.strip[position[:, 1], position[:, 0]]
    levels = len(plan.layout.levels) // plan.images
    level = numbers[plan.image_of(found.position)] * levels + cells.level[strip] % levels
    return Cells(level, position + cells.shift[strip], found.log_odds, found.offsets)


def _sorted(parts: Sequence[Cells]) -> Cells:
    """The cells by level, row and column."""
    cells = Cells(*map(np.concatenate, zip(*parts, strict=True)))
    order = (cells.level << 40 | cells.position[:, 1] << 20 | cells.position[:, 0]).argsort()
    return Cells(*(column[order] for column in cells))


def _bands(layout: Layout, threads: int) -> list[tuple[int, int]]:
    """Start and number of each band's rows of cells; as many bands as threads, at least."""
    every = layout.bands * layout.rows
    rows = min(layout.rows, max(_FEWEST_ROWS, math.ceil(every / threads)))
    return [(start, min(rows, every - start)) for start in range(0, every, rows)]


def _band(canvas: Pixels, start: int, rows: int) -> Pixels:
    return canvas[start * STRIDE :][: rows * STRIDE + MARGIN]


def _patches(canvases: Floats) -> Floats:
    """The patch of each cell of canvases `(N, H, W, 3)`: a view `(N, h, w, 12, 36)` with contiguous
    rows."""
    rows = canvases.reshape(*canvases.shape[:2], -1)
    windows = sliding_window_view(rows, (_CELL_SIDE, 3 * _CELL_SIDE), (1, 2))
    patches: Floats = windows[:, ::STRIDE, :: 3 * STRIDE]
    return patches


def _joined(parts: Iterable[_Candidates]) -> _Candidates:
    columns = list(zip(*parts, strict=True))
    return _Candidates(*map(np.concatenate, columns))


def _odd_edges(layout: Layout, start: int) -> Iterator[tuple[slice, slice, slice]]:
    """Outputs of the first layer, in one band, past the last pixel of a level of odd size."""
    for strip in layout.strips:
        top, left = strip.top - start, strip.left
        bottom, right = top + strip.rows + _POOLED_MARGIN, left + strip.columns + _POOLED_MARGIN
        visible = slice(max(top, 0), max(bottom, 0))
        if top >= layout.rows + _POOLED_MARGIN or bottom <= 0:
            continue
        level = layout.levels[strip.level]
        if has_odd_edge(level, strip):
            for channels in LAST_COLUMN:
                yield channels, visible, slice(right - 1, right)
        if level.height % 2:
            yield LAST_ROW, slice(bottom - 1, bottom), slice(left, right)
