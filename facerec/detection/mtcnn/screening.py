"""Screening in OpenVINO: which of PNet's cells and RNet's crops need exact float32 scores.

Most candidates are negatives; bf16 rejects them twice as fast where the CPU multiplies it. Only
log-odds are estimated, and whatever lies within an error bound of the threshold is scored again in
float32, so that results are float32's. PNet in float32 over a canvas of many levels errs only at
the levels' edges.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from facerec.detection.mtcnn.networks import Arrays
from facerec.detection.mtcnn.openvino import build_pnet, build_rnet, build_rough_pnet
from facerec.faces import Floats
from facerec.parallel.openvino import Network, has_bfloat16, is_installed

ERROR = 0.35
"""Error bound of bf16 log-odds. Over the 48,000 cells of five photos whose log-odds exceed -2 the
largest error is 0.27, its standard deviation 0.04."""

EDGE_ERROR = 2.0
"""Error bound for cells that see past the edge of a level of odd size, where the repeated last
pixel stands for none: the largest error there is 1.8."""


class CellScan(NamedTuple):
    """PNet over a whole image; it takes the pixel repeated at the edge of a level of odd size for a
    real one.

    Attributes:
        network: see `build_pnet` and `build_rough_pnet`.
        error: bound of its log-odds' error, but for cells at such edges.
    """

    network: Network
    error: float

    def __call__(self, pixels: Floats) -> tuple[Floats, Floats]:
        """Log-odds `(h, w)` and offsets `(4 or 0, h, w)` for an image `(H, W, 3)` less 127.5, valid
        until this thread's next call."""
        output = self.network.view(pixels[None])[0]
        offsets = output[: min(4, len(output) - 1)]
        return output[len(offsets)], offsets


class CellScans(NamedTuple):
    """PNet's scans of all cells.

    Attributes:
        exact: in float32, with offsets.
        rough: in bf16, log-odds alone; None where the CPU does not multiply it.
    """

    exact: CellScan
    rough: CellScan | None


def open_cell_scans(weights: Mapping[str, Arrays]) -> CellScans | None:
    """The scans, if OpenVINO is installed.

    Args:
        weights: arrays of `pnet`, as in the `mtcnn` package's files.
    """
    if not is_installed():
        return None
    pnet = weights["pnet"]
    exact = CellScan(Network(partial(build_pnet, pnet), "f32"), 0)
    if not has_bfloat16():
        return CellScans(exact, None)
    rough = CellScan(Network(partial(build_rough_pnet, pnet), "bf16"), ERROR)
    return CellScans(exact, rough)


class Screen:
    """RNet in bf16: log-odds within `ERROR`.

    Args:
        weights: arrays of `rnet`, as in the `mtcnn` package's files.
    """

    def __init__(self, weights: Mapping[str, Arrays]) -> None:
        build = partial(build_rnet, weights["rnet"], scores_only=True)
        self._network = Network(build, "bf16")

    def __call__(self, crops: Floats) -> Floats:
        """Log-odds `(N,)` for crops `(N, 3, 24, 24)` less 127.5, as `RNet` gives them."""
        return self._network(crops).reshape(-1)


def open_screen(weights: Mapping[str, Arrays]) -> Screen | None:
    """The screen, if OpenVINO is installed and this CPU multiplies bf16."""
    return Screen(weights) if is_installed() and has_bfloat16() else None
