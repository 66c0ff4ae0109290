"""The learning rate range test (Smith 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facerec.files.writing import replacing

LOWEST, HIGHEST = 1e-6, 10.0
STEPS = 100
_SMOOTHING = 0.9
_DIVERGED = 4.0
# The first steps' average is of few losses.
_UNSETTLED = 10


@dataclass(frozen=True, slots=True)
class RateCurve:
    """Loss while the learning rate rises.

    Attributes:
        rates: of the steps, rising.
        losses: of the steps.
    """

    rates: Sequence[float]
    losses: Sequence[float]

    @property
    def smoothed(self) -> list[float]:
        """The losses' exponential moving average, corrected for its start."""
        average, smooth = 0.0, []
        for number, loss in enumerate(self.losses, 1):
            average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
            smooth.append(average / (1 - _SMOOTHING**number))
        return smooth

    @property
    def diverged(self) -> bool:
        """Whether the last loss is not finite, or four times the lowest."""
        smooth = self.smoothed
        return not np.isfinite(smooth[-1]) or smooth[-1] > _DIVERGED * min(smooth)

    @property
    def suggestion(self) -> float | None:
        """The rate at which the loss falls fastest per decade on its way to the lowest; None: it
        never fell."""
        smooth = np.array(self.smoothed)
        finite = smooth[np.isfinite(smooth)]
        lowest = int(finite.argmin()) if len(finite) else 0
        if lowest <= _UNSETTLED + 1:
            return None
        slopes = np.gradient(finite, np.log10(self.rates[: len(finite)]))
        return float(self.rates[_UNSETTLED + int(slopes[_UNSETTLED:lowest].argmin())])


def rate_at(number: int, steps: int = STEPS) -> float:
    """Learning rate of a step of the test, counted from 0: rising geometrically."""
    return float(LOWEST * (HIGHEST / LOWEST) ** (number / (steps - 1)))


def draw_curve(curve: RateCurve, path: Path) -> None:
    """Draw loss over learning rate into a PNG, with the suggestion.

    Raises:
        UsageError: it cannot be written.
    """
    # Not pyplot: it looks for a display, and keeps figures alive.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.9), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(curve.rates, curve.losses, alpha=0.3)
    axes.plot(curve.rates, curve.smoothed)
    if curve.suggestion is not None:
        axes.axvline(curve.suggestion, linestyle="--", color="grey")
        axes.set_title(f"steepest at {curve.suggestion:.2g}", fontsize=10)
    axes.set_xscale("log")
    axes.set_xlabel("Learning rate")
    axes.set_ylabel("Loss")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
