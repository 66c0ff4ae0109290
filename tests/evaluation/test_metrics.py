"""Every metric against an independent computation, on random and on tied scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binom
from sklearn.metrics import roc_auc_score, roc_curve

from facerec.errors import UsageError
from facerec.evaluation.curve import score_curve
from facerec.evaluation.folds import (
    accuracy_at,
    fold_accuracy,
    mean_subtracted_accuracy,
    normalised,
    pair_similarities,
)
from facerec.evaluation.metrics import (
    area_under_roc,
    best_threshold,
    d_prime,
    det_points,
    equal_error_rate,
    roc_points,
    supported_fars,
    tar_at_far,
)
from facerec.evaluation.significance import (
    accuracy_interval,
    eer_interval,
    fold_mean_interval,
    mcnemar,
    tar_interval,
)


@st.composite
def labelled_scores(draw):
    size = draw(st.integers(2, 60))
    few = st.sampled_from([-0.25, 0.0, 0.1, 0.1 + 2**-53, 0.5])
    many = st.floats(-1, 1)
    scores = draw(st.lists(draw(st.sampled_from([few, many])), min_size=size, max_size=size))
    same = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    assume(0 < sum(same) < size)
    return np.array(scores), np.array(same)


cases = settings(max_examples=300, deadline=None)


@cases
@given(labelled_scores())
def test_roc_and_auc_agree_with_scikit_learn(case):
    scores, same = case
    curve = score_curve(scores, same)
    far, tar, _ = roc_curve(same, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.far, far, atol=1e-12)
    np.testing.assert_allclose(curve.tar, tar, atol=1e-12)
    assert area_under_roc(curve) == pytest.approx(roc_auc_score(same, scores), abs=1e-9)


@cases
@given(labelled_scores(), st.sampled_from([1e-1, 0.25, 0.29, 0.5, 1.0]))
def test_tar_at_far_is_the_best_that_any_threshold_gives(case, far):
    scores, same = case
    curve = score_curve(scores, same)
    if (~same).sum() * far < 1:
        with pytest.raises(UsageError, match="pairs of different people"):
            tar_at_far(curve, far)
        return
    rates, hits, _ = roc_curve(same, scores, drop_intermediate=False)
    point = tar_at_far(curve, far)
    assert point.tar == pytest.approx(hits[rates <= far + 1e-12].max(), abs=1e-9)
    accepted = scores >= point.threshold
    assert np.mean(accepted[same]) == point.tar
    assert np.mean(accepted[~same]) == point.far <= far + 1e-12


@cases
@given(labelled_scores())
def test_eer_agrees_with_scipy(case):
    scores, same = case
    far, tar, _ = roc_curve(same, scores, drop_intermediate=False)
    # far + tar rises strictly along the curve, so the curve is a function of it.
    place = far + tar
    crossing = brentq(lambda x: x - 1, place[0], place[-1], xtol=1e-15)
    expected = np.interp(crossing, place, far)
    assert equal_error_rate(score_curve(scores, same)) == pytest.approx(expected, abs=1e-9)


@cases
@given(labelled_scores())
def test_best_threshold_beats_every_threshold(case):
    scores, same = case
    threshold, accuracy = best_threshold(score_curve(scores, same))
    candidates = [*scores, 2.0]
    assert accuracy == pytest.approx(max(np.mean((scores >= t) == same) for t in candidates))
    assert np.mean((scores >= threshold) == same) == pytest.approx(accuracy)


@cases
@given(labelled_scores())
def test_drawn_roc_has_the_same_area(case):
    scores, same = case
    curve = score_curve(scores, same)
    points = roc_points(curve)
    area = np.trapezoid(points[:, 1], points[:, 0])
    assert area == pytest.approx(area_under_roc(curve), abs=1e-9)
    for far, tar, threshold in points:
        accepted = np.asarray(scores) >= threshold
        assert far == pytest.approx(np.mean(accepted[~same]))
        assert tar == pytest.approx(np.mean(accepted[same]))


def test_d_prime_agrees_with_its_formula():
    generator = np.random.default_rng(0)
    scores, same = generator.normal(size=500), generator.random(500) < 0.3
    genuine, impostor = scores[same], scores[~same]
    expected = abs(genuine.mean() - impostor.mean()) / np.sqrt(
        (genuine.std() ** 2 + impostor.std() ** 2) / 2
    )
    assert d_prime(scores, same) == pytest.approx(expected, abs=1e-9)
    assert d_prime([1, 1, 0], [True, True, False]) == math.inf
    assert d_prime([1, 1], [True, False]) == 0


def test_a_false_accept_rate_that_repeats_gives_the_highest_tar():
    curve = score_curve([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [False, True, True, False, True, False])
    assert tar_at_far(curve, 0.34).tar == pytest.approx(2 / 3)
    assert tar_at_far(curve, 1.0).tar == 1


def test_a_threshold_parts_neighbouring_floats():
    lower = np.float32(0.5)
    upper = np.nextafter(lower, np.float32(1))
    curve = score_curve(np.array([upper, lower]), [True, False])
    assert (curve.scores >= curve.threshold(1)).tolist() == [True, False]


def test_all_scores_equal_can_only_be_all_or_nothing():
    curve = score_curve([0.5] * 10, [True] * 5 + [False] * 5)
    assert area_under_roc(curve) == 0.5
    assert equal_error_rate(curve) == 0.5
    assert tar_at_far(curve, 0.2).tar == 0
    assert tar_at_far(curve, 0.2).threshold > 0.5
    assert best_threshold(curve)[1] == 0.5


@pytest.mark.parametrize(
    ("scores", "same", "message"),
    [
        ([0.1, 0.2], [True, True], "all 2 pairs show the same person"),
        ([0.1, 0.2], [False, False], "all 2 pairs show different people"),
        ([0.1, np.nan], [True, False], "1 similarities are not finite"),
        ([0.1], [True, False], "do not match"),
        ([], [], "pairs of both kinds"),
    ],
)
def test_unusable_pairs_are_refused(scores, same, message):
    with pytest.raises(UsageError, match=message):
        score_curve(scores, same)


def test_only_rates_that_the_impostors_support_are_reported():
    assert supported_fars(3000) == (1e-1, 1e-2, 1e-3)
    assert supported_fars(1000) == (1e-1, 1e-2, 1e-3)
    assert supported_fars(999) == (1e-1, 1e-2)
    assert supported_fars(1_000_000)[-1] == 1e-6


def test_float32_scores_keep_their_ties():
    scores = np.array([0.1, 0.1, 0.2], dtype=np.float32)
    assert len(score_curve(scores, [True, False, True]).scores) == 2


def test_fold_accuracy_takes_the_threshold_from_the_other_folds():
    generator = np.random.default_rng(1)
    same = np.tile([True, False], 300)
    scores = generator.normal(same * 1.0, 0.5)
    folds = np.repeat(np.arange(10), 60)
    result = fold_accuracy(scores, same, folds)
    for fold in range(10):
        train = folds != fold
        candidates = np.sort(scores[train])[::-1]
        right = [(scores[train] >= t) == same[train] for t in candidates]
        best = int(np.argmax([r.mean() for r in right]))
        lower, upper = candidates[best + 1], candidates[best]
        assert lower < result.thresholds[fold] <= upper
        decided = (scores[~train] >= result.thresholds[fold]) == same[~train]
        assert result.accuracies[fold] == pytest.approx(decided.mean())
    assert result.mean == pytest.approx(result.correct.mean())


def test_one_fold_is_refused():
    with pytest.raises(UsageError, match="two folds"):
        fold_accuracy([0.1, 0.2], [True, False], [0, 0])


def test_mean_subtraction_takes_the_mean_from_the_other_folds():
    generator = np.random.default_rng(2)
    embeddings = normalised((generator.normal(size=(80, 8)) + 2).astype(np.float32))
    pairs = np.column_stack((np.arange(80), np.roll(np.arange(80), 1)))
    same, folds = np.arange(80) % 2 == 0, np.repeat(np.arange(4), 20)
    result = mean_subtracted_accuracy(embeddings, pairs, same, folds)
    centred = normalised(embeddings - embeddings[np.unique(pairs[20:])].mean(axis=0))
    expected = fold_accuracy(pair_similarities(centred, pairs), same, folds)
    assert result.accuracies[0] == expected.accuracies[0]
    assert result.thresholds[0] == expected.thresholds[0]


def plain_bootstrap(scores, same, metric, replicates=2000):
    generator = np.random.default_rng(3)
    genuine, impostor = scores[same], scores[~same]
    values = []
    for _ in range(replicates):
        drawn = np.concatenate(
            (generator.choice(genuine, len(genuine)), generator.choice(impostor, len(impostor)))
        )
        values.append(metric(score_curve(drawn, np.arange(len(drawn)) < len(genuine))))
    return np.percentile(values, (2.5, 97.5))


@pytest.mark.parametrize("tied", [False, True])
def test_intervals_are_those_of_plain_resampling(tied):
    generator = np.random.default_rng(4)
    same = np.arange(1000) < 400
    scores = generator.normal(same * 1.5, 1.0)
    if tied:
        scores = scores.round(1)
    curve = score_curve(scores, same)
    expected = plain_bootstrap(scores, same, equal_error_rate)
    np.testing.assert_allclose(eer_interval(curve), expected, atol=0.006)
    expected = plain_bootstrap(scores, same, lambda drawn: tar_at_far(drawn, 1e-1).tar)
    np.testing.assert_allclose(tar_interval(curve, 1e-1), expected, atol=0.02)


def test_accuracy_interval_contains_the_accuracy():
    generator = np.random.default_rng(5)
    same = np.arange(2000) < 1000
    correct = generator.random(2000) < 0.95
    low, high = accuracy_interval(correct, same)
    assert low < correct.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.05 * 0.95 / 2000), rel=0.1)
    low, high = fold_mean_interval(np.linspace(0.9, 1.0, 10))
    assert low < 0.95 < high


def test_det_has_only_points_that_normal_deviate_axes_can_show():
    generator = np.random.default_rng(6)
    same = np.arange(400) < 200
    points = det_points(score_curve(generator.normal(same * 1.0), same))
    assert ((points > 0) & (points < 1)).all()
    assert (np.diff(points[:, 1]) <= 0).all()


def test_mcnemar_is_the_exact_two_sided_test():
    first = np.array([True] * 20 + [False] * 5 + [True] * 100)
    second = np.array([False] * 20 + [True] * 5 + [True] * 100)
    result = mcnemar(first, second)
    assert (result.only_first, result.only_second) == (20, 5)
    assert result.p_value == pytest.approx(2 * binom.cdf(5, 25, 0.5), abs=1e-9)
    assert mcnemar(first, first).p_value == 1.0


def test_other_similarities_are_judged_by_the_thresholds_that_the_folds_have() -> None:
    folds, same = np.array([0, 0, 1, 1]), np.array([True, False, True, False])
    exact = fold_accuracy([0.9, 0.1, 0.8, 0.2], same, folds)
    shifted = np.array([0.9, 0.1, 0.8, 0.85])
    assert accuracy_at(exact.thresholds, np.array([0.9, 0.1, 0.8, 0.2]), same, folds) == exact.mean
    assert accuracy_at(np.array([0.5, 0.7]), shifted, same, folds) == 0.75
    assert accuracy_at(np.array([0.5, 0.95]), shifted, same, folds) == 0.75
    assert accuracy_at(np.array([0.5, 0.8]), np.array([0.4, 0.6, 0.7, 0.9]), same, folds) == 0
