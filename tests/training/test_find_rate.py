"""The learning rate range test's curve."""

from __future__ import annotations

import math

import numpy as np
import pytest

from facerec.training.find_rate import STEPS, RateCurve, rate_at

RATES = [rate_at(number) for number in range(STEPS)]


def test_rates_rise_geometrically_from_a_millionth_to_ten():
    assert (RATES[0], RATES[-1]) == (pytest.approx(1e-6), pytest.approx(10))
    assert np.diff(np.log(RATES)) == pytest.approx(math.log(1e7) / 99)


def test_the_suggestion_is_where_the_loss_falls_fastest():
    # A logistic fall, steepest at 1e-3, and then an explosion.
    losses = [5 - 4 / (1 + (1e-3 / rate) ** 2) + (rate > 1) * rate**2 for rate in RATES]
    curve = RateCurve(RATES, losses)
    # Smoothing over ten steps of a fourteenth of a decade shifts it by less than a decade.
    assert 1e-3 < curve.suggestion < 1e-2
    assert curve.diverged
    assert not RateCurve(RATES[:50], losses[:50]).diverged


def test_a_loss_that_only_rises_gives_no_suggestion():
    assert RateCurve(RATES, list(range(STEPS))).suggestion is None
    assert RateCurve(RATES[:1], [1.0]).suggestion is None
