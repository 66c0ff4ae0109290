"""ROC, DET and CMC curves, score histograms and detection curves, by Matplotlib."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facerec.evaluation.curve import ScoreCurve
from facerec.evaluation.detection import DetectionReport
from facerec.evaluation.discard import SHARES, DiscardCurve
from facerec.evaluation.metrics import best_threshold, det_points, roc_points, tar_at_far
from facerec.evaluation.reliability import Reliability
from facerec.evaluation.verification import Verification
from facerec.faces import Image
from facerec.files.writing import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

_SIZE = (5.2, 3.9)
_DET_TICKS = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999)
_DET_MARGIN = 0.15
_LOG_MARGIN = 1.1
_LEAST_RANGE = 0.1
_FEW_POINTS = 40
_GENUINE, _IMPOSTOR = "#2a7f62", "#b3424a"


def roc_picture(curve: ScoreCurve) -> Image:
    """The ROC of one curve, `(H, W, 3) uint8` RGB."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(roc_figure({"validation": curve}))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba(), np.uint8)[..., :3].copy()


def roc_figure(curves: Mapping[str, ScoreCurve]) -> Figure:
    """TAR over FAR, on a logarithmic axis from one accepted impostor on; one curve per model."""
    figure, axes = _axes("False-accept rate", "True-accept rate")
    left = lowest_tar = 1.0
    for name, curve in curves.items():
        points = roc_points(curve)
        lowest = 1 / curve.impostor_total
        first = int(np.flatnonzero(points[:, 0] <= lowest)[-1])
        # At the lowest FAR the rate of the last corner before it still holds.
        far = np.concatenate(([lowest], points[first + 1 :, 0], [1.0]))
        tar = np.concatenate((points[first:, 1], [1.0]))
        axes.plot(far, tar, label=name, drawstyle="steps-post", **_marks(far))
        left, lowest_tar = min(left, lowest), min(lowest_tar, float(tar[0]))
    axes.set_xscale("log")
    # A single impostor leaves no range of rates.
    axes.set_xlim(min(left, 0.5) / _LOG_MARGIN, _LOG_MARGIN)
    room = 0.05 * max(1 - lowest_tar, 0.2)
    axes.set_ylim(lowest_tar - room, 1 + room)
    axes.legend(loc="lower right")
    return figure


def det_figure(results: Mapping[str, Verification]) -> Figure:
    """FRR over FAR on normal-deviate axes; one curve per model.

    A rate without errors is drawn as half an error, where the axes would be infinite.
    """
    figure, axes = _axes("False-accept rate", "False-reject rate")
    drawn = []
    for name, result in results.items():
        points = det_points(result.curve)
        drawn.append(points)
        axes.plot(*_deviates(points).T, label=name, drawstyle="steps-post", **_marks(points))
    if all(
        (result.curve.tar[result.curve.impostor == 0] == 1).any() for result in results.values()
    ):
        axes.set_title("no errors: a threshold parts all pairs rightly", fontsize="small")
    # A model's two ends, all accepted and all rejected, say nothing.
    inner = [points[1:-1] if len(points) > 2 else points for points in drawn]
    rates = np.concatenate(inner)
    _show_rates(axes.xaxis, rates[:, 0])
    _show_rates(axes.yaxis, rates[:, 1])
    axes.tick_params(axis="x", labelrotation=45)
    axes.legend(loc="upper right")
    return figure


def _show_rates(axis: Axis, rates: NDArray[np.float64]) -> None:
    """Limit a normal-deviate axis to some rates and the ticks around them."""
    low, high = float(rates.min()), float(rates.max())
    below = max((tick for tick in _DET_TICKS if tick <= low), default=_DET_TICKS[0])
    above = min((tick for tick in _DET_TICKS if tick > high), default=_DET_TICKS[-1])
    ticks = [tick for tick in _DET_TICKS if below <= tick <= above]
    axis.set_ticks(list(_deviates(np.array(ticks))), [f"{100 * tick:g} %" for tick in ticks])
    left, right = _deviates(np.array([min(below, low), max(above, high)]))
    axis.set_view_interval(left - _DET_MARGIN, right + _DET_MARGIN, True)


def _deviates(rates: NDArray[np.float64]) -> NDArray[np.float64]:
    deviates: NDArray[np.float64] = np.vectorize(NormalDist().inv_cdf, otypes=[float])(rates)
    return deviates


def _marks(points: NDArray[np.float64]) -> dict[str, Any]:
    """Marks on the corners of a curve that has few, which may lie along an edge or in one place."""
    return {"marker": "."} if len(points) <= _FEW_POINTS else {}


def histogram_figure(result: Verification) -> Figure:
    """Histograms of genuine and impostor similarities, with two thresholds."""
    figure, axes = _axes("Cosine similarity", "Share of pairs of its kind")
    low, high = float(result.similarities.min()), float(result.similarities.max())
    # Scores that are all but equal would give bars without a width.
    spare = max(_LEAST_RANGE - (high - low), 0) / 2
    edges = np.linspace(low - spare, high + spare, 61)
    for kind, colour, label in (
        (result.same, _GENUINE, "same person"),
        (~result.same, _IMPOSTOR, "different people"),
    ):
        values = result.similarities[kind]
        weights = np.full(len(values), 1 / len(values))
        axes.hist(values, bins=list(edges), weights=weights, color=colour, alpha=0.6, label=label)
    axes.axvline(best_threshold(result.curve)[0], color="#333333", linewidth=1, label="best")
    if result.curve.impostor_total >= 1000:
        strict = tar_at_far(result.curve, 1e-3).threshold
        axes.axvline(strict, color="#333333", linewidth=1, linestyle="--", label="FAR 1e-3")
    figure.legend(loc="outside upper center", ncols=4, fontsize="small")
    return figure


def cmc_figure(shares: Mapping[str, list[float]]) -> Figure:
    """Cumulative match characteristic; percent over rank, one curve per model."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = _axes("Rank", "Found, %")
    for name, cmc in shares.items():
        axes.plot(range(1, len(cmc) + 1), cmc, marker=".", label=name)
    axes.set_xlim(0.5, max(map(len, shares.values())) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(loc="lower right")
    return figure


def discard_figure(curves: Mapping[str, DiscardCurve]) -> Figure:
    """False-reject rate over the share of genuine pairs discarded, percent; one curve per model."""
    figure, axes = _axes("Discarded, % of genuine pairs", "False rejects, % of genuine pairs kept")
    for name, curve in curves.items():
        label = f"{name}, FAR {curve.far:g}"
        axes.plot(100 * np.array(SHARES), 100 * curve.rejects, label=label)
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower left")
    return figure


def reliability_figure(curves: Mapping[str, Reliability]) -> Figure:
    """Share of right answers over the probability told; one curve per model, and the diagonal. A
    point's area is its share of the answers, as a bin of few says little."""
    figure, axes = _axes("Probability told", "Share that is right")
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--")
    for name, curve in curves.items():
        label = f"{name}, calibration error {curve.error:.4f}"
        (line,) = axes.plot(curve.told, curve.right, linewidth=1, label=label)
        share = curve.answers / curve.answers.sum()
        axes.scatter(curve.told, curve.right, s=2 + 200 * share, color=line.get_color())
    axes.legend(loc="upper left", fontsize="small")
    return figure


def plot_detectors(path: Path, reports: Mapping[str, DetectionReport]) -> None:
    """Recall over the number of false positives, one curve per detector, as a PNG file.

    Raises:
        UsageError: the file cannot be written.
    """
    figure, axes = _axes("False positives in all pictures", "Recall")
    for name, report in reports.items():
        label = f"{name} (AP {100 * report.average_precision:.1f} %)"
        axes.plot(report.false_positives, report.recalls, label=label)
        if len(report.recalls) == 0:
            axes.text(0.5, 0.5, "nothing was detected", transform=axes.transAxes, ha="center")
    axes.set_ylim(0, 1.02)
    axes.legend(loc="lower right")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


def _axes(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    # Not pyplot: it looks for a display, and keeps figures alive.
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def as_svg(figure: Figure, title: str) -> str:
    """A figure as an SVG element of a page, the same for the same figure."""
    import matplotlib

    buffer = io.StringIO()
    # A fixed salt makes the SVG reproducible.
    with matplotlib.rc_context({"svg.hashsalt": title, "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = re.sub(r"<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    return svg[svg.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
