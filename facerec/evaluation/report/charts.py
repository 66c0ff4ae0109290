"""ROC, DET and CMC curves, score histograms and detection curves, by Matplotlib."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from facerec.evaluation.curve import ScoreCurve
from facerec.evaluation.detection import DetectionReport
from facerec.evaluation.metrics import best_threshold, det_points, roc_points, tar_at_far
from facerec.evaluation.verification import Verification
from facerec.faces import Image
from facerec.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE = (5.2, 3.9)
_DET_TICKS = (0.0001, 0.001, 0.01, 0.05, 0.2, 0.5)
_GENUINE, _IMPOSTOR = "#2a7f62", "#b3424a"


def roc_chart(results: Mapping[str, Verification]) -> str:
    """TAR over FAR, FAR on a logarithmic axis; one curve per model."""
    return _svg(_roc_figure({name: result.curve for name, result in results.items()}), "ROC")


def roc_picture(curve: ScoreCurve) -> Image:
    """The same of one curve, `(H, W, 3) uint8` RGB."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(_roc_figure({"validation": curve}))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba(), np.uint8)[..., :3].copy()


def _roc_figure(curves: Mapping[str, ScoreCurve]) -> Figure:
    figure, axes = _axes("False-accept rate", "True-accept rate")
    for name, curve in curves.items():
        points = roc_points(curve)
        lowest = 1 / curve.impostor_total
        shown = points[points[:, 0] >= lowest]
        axes.plot(shown[:, 0], shown[:, 1], label=name, drawstyle="steps-post")
    axes.set_xscale("log")
    axes.legend(loc="lower right")
    return figure


def det_chart(results: Mapping[str, Verification]) -> str:
    """FRR over FAR on normal-deviate axes; one curve per model."""
    figure, axes = _axes("False-accept rate", "False-reject rate")
    deviate = np.vectorize(NormalDist().inv_cdf, otypes=[float])
    for name, result in results.items():
        points = det_points(result.curve)
        if len(points):
            axes.plot(deviate(points[:, 0]), deviate(points[:, 1]), label=name)
    ticks = deviate(np.array(_DET_TICKS))
    labels = [f"{100 * tick:g} %" for tick in _DET_TICKS]
    axes.set_xticks(ticks, labels)
    axes.set_yticks(ticks, labels)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper right")
    else:
        axes.text(0.5, 0.5, "no errors to trade", transform=axes.transAxes, ha="center")
    return _svg(figure, "DET")


def score_histogram(result: Verification) -> str:
    """Histograms of genuine and impostor similarities, with two thresholds."""
    figure, axes = _axes("Cosine similarity", "Share of pairs of its kind")
    edges = np.linspace(float(result.similarities.min()), float(result.similarities.max()), 61)
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
    return _svg(figure, "Score histogram")


def cmc_chart(shares: Mapping[str, list[float]]) -> str:
    """Cumulative match characteristic; percent over rank, one curve per model."""
    figure, axes = _axes("Rank", "Found, %")
    for name, cmc in shares.items():
        axes.plot(range(1, len(cmc) + 1), cmc, marker=".", label=name)
    axes.legend(loc="lower right")
    return _svg(figure, "CMC")


def plot_detectors(path: Path, reports: Mapping[str, DetectionReport]) -> None:
    """Recall over the number of false positives, one curve per detector, as a PNG file.

    Raises:
        UsageError: the file cannot be written.
    """
    figure, axes = _axes("False positives in all pictures", "Recall")
    for name, report in reports.items():
        label = f"{name} (AP {100 * report.average_precision:.1f} %)"
        axes.plot(report.false_positives, report.recalls, label=label)
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


def _svg(figure: Figure, title: str) -> str:
    import matplotlib

    buffer = io.StringIO()
    # A fixed salt makes the SVG reproducible.
    with matplotlib.rc_context({"svg.hashsalt": title, "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = re.sub(r"<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    return svg[svg.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
