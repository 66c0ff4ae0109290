"""Quicker looks at MTCNN's many cells and crops: which of them are worth an exact one.

Nearly all that the first two networks see is no face. Processors that multiply bfloat16 say so in
half the time. Only the log-odds are estimated, and whatever comes within a margin of the threshold
is computed again in float32, so that results are float32's. A float32 network that takes a canvas
of many levels for one picture errs at their ends only.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from facerec.detection.mtcnn.networks import Arrays
from facerec.detection.mtcnn.openvino import (
    Network,
    build_pnet,
    build_rnet,
    has_bfloat16,
    is_installed,
)
from facerec.faces import Floats

ERROR = 0.35
"""How much lower than the threshold an estimate may be and still be looked at again. Over the
48,000 cells of five photos whose log-odds exceed -2 the largest error is 0.27, its deviation 0.04.
"""

END_ERROR = 2.0
"""The same for cells that see beyond a level of odd size, where the last pixel, repeated, stands
for none: there the largest error is 1.8."""


class Glance(NamedTuple):
    """One look at all cells of a picture, which takes the pixel repeated at the end of a level of
    odd size for a real one.

    Attributes:
        network: see `build_pnet`.
        error: how much too low its log-odds may be, but for the cells at such ends.
    """

    network: Network
    error: float

    def __call__(self, pixels: Floats) -> tuple[Floats, Floats]:
        """Log-odds `(h, w)` and offsets `(4 or 0, h, w)` for a picture `(H, W, 3)` less 127.5."""
        seen = self.network(pixels[None])[0]
        return seen[-1], seen[:-1]


class Glances(NamedTuple):
    """OpenVINO's looks at all cells of a picture.

    Attributes:
        exact: in float32, with offsets.
        rough: in bfloat16, the log-odds alone; None where the processor does not multiply it.
    """

    exact: Glance
    rough: Glance | None


def open_glances(weights: Mapping[str, Arrays], threads: int) -> Glances | None:
    """Looks at cells, where OpenVINO is installed.

    Args:
        weights: arrays of `pnet`, as in the `mtcnn` package's files.
        threads: how many threads may look at a time.
    """
    if not is_installed():
        return None
    build = partial(build_pnet, weights["pnet"])
    exact = Glance(Network(build, "f32", threads), 0)
    if not has_bfloat16():
        return Glances(exact, None)
    rough = Network(partial(build, scores_only=True), "bf16", threads)
    return Glances(exact, Glance(rough, ERROR))


class Screen:
    """Estimated log-odds of a face.

    Args:
        weights: arrays of `rnet`, as in the `mtcnn` package's files.
        threads: how many threads may ask at a time.
    """

    def __init__(self, weights: Mapping[str, Arrays], threads: int) -> None:
        build = partial(build_rnet, weights["rnet"], scores_only=True)
        self._network = Network(build, "bf16", threads)

    def __call__(self, crops: Floats) -> Floats:
        """Log-odds `(N,)` for crops `(N, 3, 24, 24)` less 127.5, as `RNet` has them."""
        return self._network(crops).reshape(-1)


def open_screen(weights: Mapping[str, Arrays], threads: int) -> Screen | None:
    """A screen, where OpenVINO is installed and this processor multiplies bfloat16."""
    return Screen(weights, threads) if is_installed() and has_bfloat16() else None
