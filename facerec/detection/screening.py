"""A first look in bfloat16: which of MTCNN's many cells and crops are worth an exact one.

Nearly all that the first two networks see is no face. Processors that multiply bfloat16 say so in
half the time. Only the log-odds are estimated, and whatever comes within a margin of the threshold
is computed again in float32, so that results are float32's.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from facerec.detection.mtcnn_networks import Arrays
from facerec.detection.openvino_networks import (
    Network,
    build_pnet_scores,
    build_rnet,
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


class Screen:
    """Estimated log-odds of a face.

    Args:
        weights: arrays of `pnet` and `rnet`, as in the `mtcnn` package's files.
        threads: how many threads may ask at a time.
    """

    def __init__(self, weights: Mapping[str, Arrays], threads: int) -> None:
        self._proposals = Network(partial(build_pnet_scores, weights["pnet"]), "bf16", threads)
        self._refinement = Network(
            partial(build_rnet, weights["rnet"], scores_only=True), "bf16", threads
        )

    def cells(self, pixels: Floats) -> Floats:
        """Log-odds `(h, w)` for a picture `(H, W, 3)` less 127.5, as `PNet` has them."""
        estimate: Floats = self._proposals(pixels[None])[0, 0]
        return estimate

    def crops(self, crops: Floats) -> Floats:
        """Log-odds `(N,)` for crops `(N, 24, 24, 3)` less 127.5, as `RNet` has them."""
        return self._refinement(crops).reshape(-1)


def open_screen(weights: Mapping[str, Arrays], threads: int) -> Screen | None:
    """A screen, where this processor multiplies bfloat16 and OpenVINO is installed."""
    if not is_installed():
        return None
    import openvino

    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return None
    return Screen(weights, threads)
