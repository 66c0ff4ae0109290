"""Error versus discard: what leaving out the worst faces does to false rejects."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from facerec.engine.cache import EmbeddingCache
from facerec.evaluation.discard import SHARES, discard_curve
from facerec.evaluation.protocols.pairs import PairProtocol
from facerec.evaluation.reliability import reliability
from facerec.evaluation.report.charts import as_svg, discard_figure, reliability_figure
from facerec.evaluation.verification import verify_scores

COUNT = 1000


def crowd(quality: np.ndarray) -> tuple:
    """As many genuine as impostor pairs, of which the genuine are rejected where quality is low."""
    same = np.repeat([True, False], COUNT)
    scores = np.where(same, np.where(np.tile(quality, 2) < 0.05, 0.1, 0.9), 0.0)
    scores = scores + np.linspace(0, 0.01, 2 * COUNT)
    pairs = np.arange(4 * COUNT).reshape(2, -1).T
    protocol = PairProtocol("x", (), pairs, same, np.zeros(2 * COUNT, np.int64))
    scores[same & (scores < 0.5)] -= 0.2
    return verify_scores(scores, same, None), protocol, np.tile(quality, 4).astype(np.float32)


def test_false_rejects_fall_as_the_worst_pairs_are_left_out() -> None:
    curve = discard_curve(*crowd(np.linspace(0, 1, COUNT)))
    assert curve is not None
    assert curve.far == 1e-3
    assert curve.rejects[0] == pytest.approx(0.05, abs=0.005)
    assert curve.rejects[SHARES.index(0.05)] < 0.005
    assert curve.told()["0.1"] == 0
    assert "<svg" in as_svg(discard_figure({"model": curve}), "EDC")


def test_a_quality_that_says_nothing_changes_nothing() -> None:
    result, protocol, quality = crowd(np.linspace(0, 1, COUNT))
    curve = discard_curve(result, protocol, np.random.default_rng(0).permutation(quality))
    assert curve is not None
    assert curve.rejects[-1] == pytest.approx(curve.rejects[0], abs=0.01)


@pytest.mark.parametrize("poor", [0.0, 0.5, 1.0])
def test_strangers_pairs_are_not_among_those_discarded(poor: float) -> None:
    result, protocol, quality = crowd(np.linspace(0, 1, COUNT))
    wanted = discard_curve(result, protocol, quality)
    quality = quality.copy()
    quality[protocol.pairs[~protocol.same]] = poor
    curve = discard_curve(result, protocol, quality)
    assert curve is not None and wanted is not None
    assert curve.rejects.tolist() == wanted.rejects.tolist()
    # By hand: 50 of 1,000 are rejected, and the worst are discarded first.
    assert curve.rejects[:4] == pytest.approx([50 / 1000, 40 / 990, 30 / 980, 20 / 970])


def test_unknown_quality_and_few_strangers_give_no_curve() -> None:
    result, protocol, quality = crowd(np.linspace(0, 1, COUNT))
    assert discard_curve(result, protocol, np.full_like(quality, np.nan)) is None
    few = np.r_[0:COUNT, COUNT : COUNT + 5]
    fewer = PairProtocol("x", (), protocol.pairs[few], protocol.same[few], protocol.folds[few])
    less = verify_scores(result.similarities[few], protocol.same[few], None)
    assert discard_curve(less, fewer, quality) is None


def test_reliability_is_drawn_beside_the_diagonal() -> None:
    curve = reliability([0.1, 0.9, 0.8], [False, True, True])
    assert "<svg" in as_svg(reliability_figure({"model": curve}), "Reliability")


def test_vectors_kept_without_quality_are_known_as_such(tmp_path: Path) -> None:
    with EmbeddingCache(tmp_path / "c.sqlite", "x", remedy="") as cache:
        cache.put("old", np.zeros(2, np.float32))
        cache.put("new", np.zeros(2, np.float32), json.dumps({"quality": 0.5}))
    with EmbeddingCache(tmp_path / "c.sqlite", "x", remedy="") as cache:
        assert cache.without_facts() == {"old"}
