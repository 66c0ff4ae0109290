"""MTCNN's first stage: its network over all levels of pictures at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facerec.detection.mtcnn.arrays import alike, namespace, on_host
from facerec.detection.mtcnn.chunks import filled_up, in_chunks, in_even_chunks
from facerec.detection.mtcnn.networks import LAST_COLUMN, LAST_ROW, PNet
from facerec.detection.mtcnn.packing import MARGIN, STRIDE, Layout, Level
from facerec.detection.mtcnn.places import Places, Plan, has_end
from facerec.detection.mtcnn.scratch import Empty
from facerec.detection.mtcnn.screening import END_ERROR, Glance, Glances
from facerec.faces import Floats, Image
from facerec.parallel.workers import Map

Pixels = TypeVar("Pixels", Tensor, Floats)

_SEEN = 12
_POOLED_MARGIN = 4
_FEW_PATCHES, _PATCHES = 64, 256
_ALIKE = 16
"""Of what number the cells that are looked at at once are a multiple: matrix products work on
blocks of rows, and only in whole ones do all rows fare alike."""
_PLANS = 4
"""Pictures often come in few sizes: upright and lying, or the frames of a video."""
_DEARER = 20
"""How many times as long a cell by itself takes as one among its neighbours."""


class Cells(NamedTuple):
    """Cells whose score exceeds the threshold, picture after picture, level after level and row
    after row: number of the level among those of all pictures `(N,)`, place `(N, 2)` as x, y in its
    grid of cells, log-odds of a face `(N,)` and offsets `(N, 4)` of its box."""

    level: Any
    place: Any
    log_odds: Any
    offsets: Any


class _Found(NamedTuple):
    """Cells of canvases: their places `(N, 3)` as canvas, x, y."""

    place: Any
    log_odds: Any
    offsets: Any


class Proposer:
    """The first stage, over bands of canvases that hold all of a picture's levels.

    Args:
        network: the first network.
        threshold: log-odds to exceed.
        glances: quicker looks, see `Glances`; None: the network looks everywhere.
        run: applies a function to items, in any order, perhaps in parallel.
        empty: memory for the pictures' pyramids.
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

    def __call__(
        self, images: Sequence[Image], levels: Sequence[Level], device: torch.device
    ) -> Cells:
        """Cells of all levels of pictures `(H, W, 3) uint8` of one size."""
        plan = self._plan(*images[0].shape[:2], tuple(levels))
        size = plan.layout.height, plan.layout.width
        canvases = self._empty("canvases", (len(images), *size, 3))
        plan.pyramid.fill(canvases, images, self._run)
        if self._glances is None:
            found = self._look_everywhere(torch.from_numpy(canvases).to(device), plan)
        else:
            found = self._look_by_glances(self._glances, canvases, plan)
        return _by_level(found, plan.places, len(levels))

    def _look_everywhere(self, canvases: Tensor, plan: Plan) -> _Found:
        layout = plan.layout
        within = torch.from_numpy(plan.places.strip >= 0).to(canvases.device)

        def look(at: tuple[int, int]) -> _Found:
            number, start = at
            features, log_odds = self._network(
                _band(canvases[number], start, layout), list(_ends(layout, start))
            )
            passed = (log_odds > self._threshold) & within[start : start + layout.rows]
            y, x = torch.nonzero(passed, as_tuple=True)
            offsets = self._network.offsets(features[y, x])
            place = torch.stack([torch.full_like(x, number), x, y + start], 1)
            return _Found(*map(on_host, (place, log_odds[y, x], offsets)))

        everywhere = itertools.product(range(len(canvases)), _starts(layout))
        return _joined(self._run(look, list(everywhere)))

    def _look_by_glances(self, glances: Glances, canvases: Floats, plan: Plan) -> _Found:
        count, height, width, _ = canvases.shape
        everywhere = height * width / STRIDE**2
        crowded = np.ones(count, bool)
        near, sure = [_NOTHING.place], [_NOTHING]
        if glances.rough is not None:
            seen = self._glance(glances.rough, canvases, range(count), plan).place
            crowded = np.bincount(seen[:, 0], minlength=count) * _DEARER > everywhere
            near.append(seen[~crowded[seen[:, 0]]])
        if crowded.any():
            exact = self._glance(glances.exact, canvases, np.flatnonzero(crowded).tolist(), plan)
            unsure = plan.places.see_beyond(exact.place[:, 1:]).any(1)
            sure.append(_Found(*(column[~unsure] for column in exact)))
            near.append(exact.place[unsure])
        closely = self._look_closely(canvases, np.concatenate(near), plan.places)
        return _joined([*sure, closely])

    def _glance(
        self, glance: Glance, canvases: Floats, numbers: Sequence[int], plan: Plan
    ) -> _Found:
        """All cells of some of the canvases that may exceed the threshold."""
        layout, error = plan.layout, glance.error
        least = plan.places.least(self._threshold - error, self._threshold - END_ERROR)

        def look(at: tuple[int, int]) -> _Found:
            number, start = at
            log_odds, offsets = glance(_band(canvases[number], start, layout))
            y, x = np.nonzero(log_odds > least[start : start + layout.rows])
            place = np.stack([np.full_like(x, number), x, y + start], 1)
            return _Found(place, log_odds[y, x], offsets[:, y, x].T)

        return _joined(self._run(look, list(itertools.product(numbers, _starts(layout)))))

    def _look_closely(self, canvases: Floats, cells: NDArray[np.intp], places: Places) -> _Found:
        """Those of the cells `(N, 3)`, canvas, x and y, that exceed the threshold."""
        seen = _seen(torch.from_numpy(canvases))

        def look(some: NDArray[np.intp]) -> _Found:
            number, x, y = torch.from_numpy(filled_up(some, _ALIKE)).T
            patches = seen[number, y, x].view(-1, _SEEN, _SEEN, 3)
            beside, below = (
                torch.from_numpy(np.flatnonzero(axis)) for axis in places.see_beyond(some[:, 1:]).T
            )
            features, log_odds = self._network.cells(patches, below, beside)
            passed = np.flatnonzero(log_odds.numpy()[: len(some)] > self._threshold)
            offsets = self._network.offsets(features)
            return _Found(some[passed], log_odds.numpy()[passed], offsets.numpy()[passed])

        few = len(cells) <= _FEW_PATCHES
        chunks = in_chunks(cells, _FEW_PATCHES) if few else in_even_chunks(cells, _PATCHES, _ALIKE)
        return _joined([_NOTHING, *self._run(look, chunks)])


_NOTHING = _Found(np.empty((0, 3), np.intp), np.empty(0, np.float32), np.empty((0, 4), np.float32))


def _by_level(found: _Found, places: Places, levels: int) -> Cells:
    """The cells placed in their levels, of which each picture has so many."""
    number, place = found.place[:, 0], found.place[:, 1:]
    strip = alike(places.strip, place)[place[:, 1], place[:, 0]]
    level, shift = (alike(table, strip)[strip] for table in (places.level, places.shift))
    level = level + number * levels
    place = place + shift
    order = (level << 40 | place[:, 1] << 20 | place[:, 0]).argsort()
    return Cells(level[order], place[order], found.log_odds[order], found.offsets[order])


def _starts(layout: Layout) -> Sequence[int]:
    """The row of cells at which each band starts."""
    return range(0, layout.bands * layout.rows, layout.rows)


def _band(canvas: Pixels, start: int, layout: Layout) -> Pixels:
    return canvas[start * STRIDE :][: layout.rows * STRIDE + MARGIN]


def _seen(canvases: Tensor) -> Tensor:
    """What each cell sees of canvases `(N, H, W, 3)`: a view `(N, h, w, 12, 36)`, rows in one
    piece."""
    rows = canvases.flatten(2).unfold(1, _SEEN, STRIDE)
    return rows.unfold(2, 3 * _SEEN, 3 * STRIDE)


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
