"""MTCNN's first stage on a GPU: the pyramid is made there, from all images of a batch at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from facerec.detection.mtcnn.networks import LAST_COLUMN, LAST_ROW, PNet
from facerec.detection.mtcnn.packing import Level
from facerec.detection.mtcnn.proposals import Cells
from facerec.detection.mtcnn.pyramid import resampling_matrix

_PLANS = 4
"""Image sizes whose matrices are kept; see `proposals`."""


class _Plan(NamedTuple):
    """What the levels of one image size need, on the device.

    Attributes:
        down, across: of each level, matrices `(h, H)` and `(w, W)` that resample rows and columns.
        level: `(C,)`, index of each cell's level, by level and row.
        position: `(C, 2)`, x, y in its level's grid of cells.
    """

    down: list[Tensor]
    across: list[Tensor]
    level: Tensor
    position: Tensor


class DeviceProposer:
    """PNet over the levels of images, each level of all images in one pass.

    Nothing but the number of candidates crosses to the host, once for all images and levels.
    Memory: some 100 bytes per pixel.

    Args:
        network: PNet on the device.
        threshold: log-odds to exceed.
        device: where the images are.
    """

    def __init__(self, network: PNet, threshold: float, device: torch.device) -> None:
        self._network = network
        self._threshold = threshold
        self._device = device
        self._plan = lru_cache(_PLANS)(self._make_plan)

    def __call__(self, pixels: Tensor, levels: Sequence[Level]) -> Cells:
        """Cells of all levels of images `(N, H, W, 3) float32` less 127.5."""
        plan = self._plan(*pixels.shape[1:3], tuple(levels))
        log_odds, offsets = [], []
        for level, down, across in zip(levels, plan.down, plan.across, strict=True):
            resized = _resampled(pixels, down, across)
            even = pad(resized, (0, 0, 0, level.width % 2, 0, level.height % 2))
            features, scores = self._network(even, list(_odd_edges(level)))
            log_odds.append(scores.flatten(1))
            offsets.append(self._network.offsets(features).flatten(1, 2))
        scores = torch.cat(log_odds, 1)
        image, cell = torch.nonzero(scores > self._threshold, as_tuple=True)
        return Cells(
            plan.level[cell] + image * len(levels),
            plan.position[cell],
            scores[image, cell],
            torch.cat(offsets, 1)[image, cell],
        )

    def _make_plan(self, height: int, width: int, levels: tuple[Level, ...]) -> _Plan:
        level = np.repeat(np.arange(len(levels)), [level.rows * level.columns for level in levels])
        grids = [np.mgrid[: level.rows, : level.columns][::-1].reshape(2, -1) for level in levels]
        return _Plan(
            [self._there(resampling_matrix(height, level.height)) for level in levels],
            [self._there(resampling_matrix(width, level.width)) for level in levels],
            self._there(level),
            self._there(np.ascontiguousarray(np.concatenate(grids, 1).T)),
        )

    def _there(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self._device)


def _resampled(pixels: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Images `(N, H, W, 3)` at a level's size, `(N, h, w, 3)`."""
    rows = (down @ pixels.flatten(2)).view(len(pixels), -1, *pixels.shape[2:])
    return torch.einsum("vw,nhwc->nhvc", across, rows)


def _odd_edges(level: Level) -> Iterator[tuple[slice, slice, slice]]:
    """Outputs of the first layer past the last pixel of a level of odd size."""
    every, last = slice(None), slice(-1, None)
    if level.height % 2:
        yield LAST_ROW, last, every
    if level.width % 2:
        for channels in LAST_COLUMN:
            yield channels, every, last
