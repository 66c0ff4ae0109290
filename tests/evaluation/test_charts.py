"""The report's charts show their curves, however few the pairs and however they are scored."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from facerec.errors import UsageError
from facerec.evaluation.curve import score_curve
from facerec.evaluation.report.charts import (
    as_svg,
    cmc_figure,
    det_figure,
    histogram_figure,
    roc_figure,
)
from facerec.evaluation.verification import Verification


def verified(genuine: list[float], impostor: list[float]) -> Verification:
    scores = np.array([*genuine, *impostor], np.float32)
    same = np.arange(len(scores)) < len(genuine)
    return Verification(scores, same, score_curve(scores, same), None, None)


def drawn_from(seed: int, genuine: int, impostor: int, apart: float) -> Verification:
    random = np.random.default_rng(seed)
    return verified(
        random.normal(apart, 0.1, genuine).tolist(), random.normal(0, 0.1, impostor).tolist()
    )


SETS = {
    "120 pairs, few errors": drawn_from(0, 60, 60, 0.4),
    "120 pairs, many errors": drawn_from(1, 60, 60, 0.05),
    "perfect separation": verified([0.8, 0.9], [0.1, 0.2]),
    "perfect separation, 6,000 pairs": drawn_from(2, 3000, 3000, 2.0),
    "one pair of each kind": verified([0.9], [0.1]),
    "one pair of each kind, wrongly": verified([0.1], [0.9]),
    "identical scores": verified([0.5, 0.5], [0.5, 0.5, 0.5]),
    "all wrong": verified([0.1, 0.2], [0.8, 0.9]),
    "one impostor": drawn_from(3, 100, 1, 0.1),
    "one genuine": drawn_from(4, 1, 100, 0.1),
    "100,000 pairs": drawn_from(5, 2000, 98_000, 0.35),
}


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def inside(axes, lines) -> list[np.ndarray]:
    """The corners of each line that the axes show."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    assert left < right and low < high
    shown = []
    for line in lines:
        x, y = line.get_xdata(), line.get_ydata()
        edge = 1e-9
        kept = (x >= left - edge) & (x <= right + edge) & (y >= low - edge) & (y <= high + edge)
        shown.append(np.column_stack((x, y))[kept])
    return shown


@pytest.mark.parametrize("name", SETS)
def test_a_roc_spans_one_accepted_impostor_to_all(name: str) -> None:
    result = SETS[name]
    figure = roc_figure({"model": result.curve})
    (axes,) = figure.axes
    (shown,) = inside(axes, axes.lines)
    lowest = 1 / result.curve.impostor_total
    left, right = axes.get_xlim()
    assert min(lowest, 0.5) / 1.2 < left < min(lowest, 0.5)
    assert 1 < right < 1.2
    assert shown[0][0] == pytest.approx(lowest)
    assert tuple(shown[-1]) == (1, 1)
    assert len(shown) == len(axes.lines[0].get_xdata())
    best = result.curve.tar[result.curve.far <= lowest].max()
    assert shown[shown[:, 0] <= lowest + 1e-12][:, 1].max() == pytest.approx(best)
    assert (np.diff(shown, axis=0) >= 0).all()
    assert as_svg(figure, "ROC").startswith("<svg")


@pytest.mark.parametrize("name", SETS)
def test_a_det_shows_its_curve_or_says_that_nothing_is_wrong(name: str) -> None:
    figure = det_figure({"model": SETS[name]})
    (axes,) = figure.axes
    (shown,) = inside(axes, axes.lines)
    assert len(shown)
    assert len(axes.get_xticks()) >= 2
    assert len(axes.get_yticks()) >= 2
    assert np.isfinite(axes.lines[0].get_xydata()).all()
    perfect = name.startswith("perfect") or name == "one pair of each kind"
    assert bool(axes.get_title()) == perfect
    assert as_svg(figure, "DET").startswith("<svg")


@pytest.mark.parametrize("name", SETS)
def test_a_histogram_has_bars_of_some_width(name: str) -> None:
    figure = histogram_figure(SETS[name])
    (axes,) = figure.axes
    bars = [bar for bar in axes.patches if bar.get_height() > 0]
    assert bars
    assert min(bar.get_width() for bar in bars) > 1e-4
    assert sum(bar.get_height() for bar in bars) == pytest.approx(2)
    as_svg(figure, "Scores")


def test_curves_of_several_models_share_the_axes() -> None:
    results = {name: SETS[name] for name in ("120 pairs, few errors", "100,000 pairs")}
    curves = {name: result.curve for name, result in results.items()}
    for figure in (roc_figure(curves), det_figure(results)):
        (axes,) = figure.axes
        assert all(len(shown) > 1 for shown in inside(axes, axes.lines))


@pytest.mark.parametrize("ranks", [1, 2, 50])
def test_a_cmc_has_whole_ranks(ranks: int) -> None:
    figure = cmc_figure({"model": np.linspace(80, 100, ranks).tolist()})
    (axes,) = figure.axes
    as_svg(figure, "CMC")
    assert axes.get_xlim() == (0.5, ranks + 0.5)
    assert all(tick == round(tick) for tick in axes.get_xticks())


@pytest.mark.parametrize(
    ("genuine", "impostor", "told"),
    [([0.5], [], "pairs of both kinds"), ([], [0.5], "pairs of both kinds"),
     ([np.nan], [0.5], "not finite")],
)  # fmt: skip
def test_what_no_chart_can_show_is_told(genuine: list, impostor: list, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        verified(genuine, impostor)
