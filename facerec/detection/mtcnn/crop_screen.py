"""A small network that rejects most crops before RNet.

Distilled from RNet (Hinton et al. 2015, arXiv:1503.02531) by `python -m tests.train_crop_screen`:
it estimates RNet's log-odds with a third of its multiplications. What it does not reject is scored
by RNet itself in float32, so that results are RNet's.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from facerec.detection.mtcnn.openvino import build_crop_screen
from facerec.errors import MissingError
from facerec.faces import Floats
from facerec.parallel.openvino import Network, has_bfloat16, is_installed

WEIGHTS = Path(__file__).with_suffix(".npz")

CHANNELS = (16, 48, 48, 32)
"""Of the four hidden layers, where RNet has 28, 48, 64 and 128."""


class ScreenWeights(NamedTuple):
    """What `crop_screen.npz` holds.

    Attributes:
        arrays: as RNet's: kernels `(height, width, in, out)`, each followed by its bias `(out,)`
            and, but for the last, by its PReLU's slopes `(out,)`; float32.
        threshold: RNet's, a probability, that the screen was distilled for: it may reject crops
            that exceed a lower one.
        margin: a crop is rejected if its estimated log-odds lie so far below the threshold's.
    """

    arrays: list[NDArray[np.float32]]
    threshold: float
    margin: float


class CropScreen:
    """Which crops may pass RNet.

    Args:
        weights: the network's, and what it rejects.
        threads: that call it at a time, at most.
    """

    def __init__(self, weights: ScreenWeights, threads: int) -> None:
        build = partial(build_crop_screen, weights.arrays)
        self._network = Network(build, "bf16" if has_bfloat16() else "f32", threads)
        odds = weights.threshold / (1 - weights.threshold)
        self._least = math.log(odds) - weights.margin

    def estimate(self, crops: Floats) -> Floats:
        """RNet's log-odds `(N,)`, roughly, for contiguous crops `(N, 3, 24, 24)` less 127.5."""
        return self._network(crops)

    def __call__(self, crops: Floats) -> NDArray[np.bool_]:
        """Mask `(N,)` of the crops that RNet must score."""
        passes: NDArray[np.bool_] = self.estimate(crops) >= self._least
        return passes


def load_screen_weights(path: Path) -> ScreenWeights:
    """The weights in an `.npz` file.

    Raises:
        MissingError: it is absent or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = [file[name] for name in array_names()]
            threshold, margin = (float(file[name].item()) for name in ("threshold", "margin"))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise _damaged(path) from error
    found = [(array.shape, array.dtype) for array in arrays]
    expected = [(shape, np.float32) for shape in _shapes()]
    if found != expected or not (0 < threshold < 1 and math.isfinite(margin)):
        raise _damaged(path)
    return ScreenWeights(arrays, threshold, margin)


def array_names() -> list[str]:
    """Names of the arrays in the file, in the network's order."""
    kinds = ("kernel", "bias", "slopes")
    return [f"{kind}{layer}" for layer in range(5) for kind in kinds][:-1]


def _shapes() -> list[tuple[int, ...]]:
    first, second, third, fourth = CHANNELS
    shapes: list[tuple[int, ...]] = []
    for kernel in (
        (3, 3, 3, first),
        (3, 3, first, second),
        (2, 2, second, third),
        (3, 3, third, fourth),
        (1, 1, fourth, 1),
    ):
        shapes += [kernel, kernel[3:], kernel[3:]]
    return shapes[:-1]


def open_crop_screen(threshold: float, threads: int) -> CropScreen | None:
    """The screen, if OpenVINO is installed and it was distilled for so low a threshold.

    Args:
        threshold: probability that RNet's are to exceed.
        threads: that call it at a time, at most.

    Raises:
        MissingError: its weights are absent or damaged.
    """
    if not is_installed():
        return None
    weights = load_screen_weights(WEIGHTS)
    return CropScreen(weights, threads) if threshold >= weights.threshold else None


def _damaged(path: Path) -> MissingError:
    return MissingError(
        f"{path}: missing or damaged; try: pip install --force-reinstall --no-deps facerec"
    )
