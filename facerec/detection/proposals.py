"""MTCNN's first stage: its network over all levels of a picture at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facerec.detection.arrays import alike, namespace, on_host
from facerec.detection.chunks import in_chunks, in_even_chunks
from facerec.detection.mtcnn_networks import LAST_COLUMN, LAST_ROW, PNet
from facerec.detection.packing import MARGIN, STRIDE, Layout, Level
from facerec.detection.places import Places, Plan, has_end
from facerec.detection.scratch import Empty
from facerec.detection.screening import END_ERROR, Glance, Glances
from facerec.detection.workers import Map
from facerec.faces import Floats, Image

Pixels = TypeVar("Pixels", Tensor, Floats)

_SEEN = 12
_POOLED_MARGIN = 4
_FEW_PATCHES, _PATCHES = 64, 256
_PLANS = 4
"""Pictures often come in few sizes: upright and lying, or the frames of a video."""
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
        glances: quicker looks, see `Glances`; None: the network looks everywhere.
        run: applies a function to items, in any order, perhaps in parallel.
        empty: memory for a picture's pyramid.
    """

    def __init__(
        self, network: PNet, threshold: float, *, glances: Glances | None, run: Map, empty: Empty
    ) -> None:
        self._network = network
        self._threshold = threshold
        self._glances = glances
        self._run = run
        self._empty = empty
        self._plan = lru_cache(_PLANS)(Plan)

    def __call__(self, image: Image, levels: Sequence[Level], device: torch.device) -> Cells:
        """Cells of all levels of a picture `(H, W, 3) uint8`."""
        plan = self._plan(*image.shape[:2], tuple(levels))
        canvas = self._empty("canvas", (plan.layout.height, plan.layout.width, 3))
        plan.pyramid.fill(canvas, image, self._run)
        if self._glances is None:
            found = self._look_everywhere(torch.from_numpy(canvas).to(device), plan)
        else:
            found = self._look_by_glances(self._glances, canvas, plan)
        return _by_level(found, plan.places)

    def _look_everywhere(self, canvas: Tensor, plan: Plan) -> _Found:
        layout = plan.layout
        within = torch.from_numpy(plan.places.strip >= 0).to(canvas.device)

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

    def _look_by_glances(self, glances: Glances, canvas: Floats, plan: Plan) -> _Found:
        rough = glances.rough
        if rough is not None:
            seen = self._glance(rough, canvas, plan)
            if len(seen.place) * _DEARER <= canvas.shape[0] * canvas.shape[1] / STRIDE**2:
                return self._look_closely(canvas, seen.place, plan.places)
        seen = self._glance(glances.exact, canvas, plan)
        unsure = plan.places.see_beyond(seen.place).any(1)
        sure = _Found(*(column[~unsure] for column in seen))
        return _joined([sure, self._look_closely(canvas, seen.place[unsure], plan.places)])

    def _glance(self, glance: Glance, canvas: Floats, plan: Plan) -> _Found:
        """All cells that may exceed the threshold."""
        layout, error = plan.layout, glance.error
        least = plan.places.least(self._threshold - error, self._threshold - END_ERROR)

        def look(start: int) -> _Found:
            log_odds, offsets = glance(_band(canvas, start, layout))
            y, x = np.nonzero(log_odds > least[start : start + layout.rows])
            return _Found(np.stack([x, y + start], 1), log_odds[y, x], offsets[:, y, x].T)

        return _joined(self._run(look, _starts(layout)))

    def _look_closely(self, canvas: Floats, cells: NDArray[np.intp], places: Places) -> _Found:
        """Those of the cells `(N, 2)`, x and y, that exceed the threshold."""
        seen = _seen(torch.from_numpy(canvas))

        def look(some: NDArray[np.intp]) -> _Found:
            x, y = torch.from_numpy(some).T
            patches = seen[y, x].view(-1, _SEEN, _SEEN, 3)
            beside, below = (
                torch.from_numpy(np.flatnonzero(axis)) for axis in places.see_beyond(some).T
            )
            features, log_odds = self._network.cells(patches, below, beside)
            passed = np.flatnonzero(log_odds.numpy() > self._threshold)
            offsets = self._network.offsets(features[torch.from_numpy(passed)])
            return _Found(some[passed], log_odds.numpy()[passed], offsets.numpy())

        nothing = _Found(cells[:0], np.empty(0, np.float32), np.empty((0, 4), np.float32))
        few = len(cells) <= _FEW_PATCHES
        chunks = in_chunks(cells, _FEW_PATCHES) if few else in_even_chunks(cells, _PATCHES)
        return _joined([nothing, *self._run(look, chunks)])


def _by_level(found: _Found, places: Places) -> Cells:
    """The cells placed in their levels."""
    strip = alike(places.strip, found.place)[found.place[:, 1], found.place[:, 0]]
    level, shift = (alike(table, strip)[strip] for table in (places.level, places.shift))
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


def _ends(layout: Layout, start: int) -> Iterator[tuple[slice, slice, slice]]:
    """What the first layer computes, in one band, beyond the last pixel of a level of odd size."""
    for strip in layout.strips:
        top, left = strip.top - start, strip.left
        bottom, right = top + strip.rows + _POOLED_MARGIN, left + strip.columns + _POOLED_MARGIN
        visible = slice(max(top, 0), max(bottom, 0))
        if top >= layout.rows + _POOLED_MARGIN or bottom <= 0:
            continue
        level = layout.levels[strip.level]
        if has_end(level, strip):
            for channels in LAST_COLUMN:
                yield channels, visible, slice(right - 1, right)
        if level.height % 2:
            yield LAST_ROW, slice(bottom - 1, bottom), slice(left, right)
