"""What the cosines of a data set say about whose an image is."""

from __future__ import annotations

import numpy as np
import pytest

from facerec.cleanup.evidence import weigh
from facerec.cleanup.examine import examine
from facerec.cleanup.findings import Kind
from facerec.profile.loading import Profile
from tests.cleanup_data import make_photos, noise_vectors, person


def scores(dice, own, strangers, spread=0.04):
    """Cosines of a person's own images and of strangers, to the own person and to others."""
    mine = np.concatenate([dice.normal(0.8, spread, own), dice.normal(0.4, spread, strangers)])
    others = dice.normal(0.4, spread, (own + strangers, 20))
    return mine.astype(np.float32), others.max(1).astype(np.float32), others.astype(np.float32)


@pytest.mark.parametrize("strangers", [5, 20, 80])
def test_the_limit_lies_between_a_persons_images_and_strangers(strangers):
    mine, highest, others = scores(np.random.default_rng(0), 100, strangers)
    nobody = np.zeros(len(mine), bool)
    evidence = weigh(mine, highest, others, ~nobody, nobody)
    assert mine[100:].max() < evidence.own_limit < mine[:100].min()
    assert evidence.shares[2] == pytest.approx(strangers / len(mine), abs=0.03)


def test_where_kinds_overlap_the_rarer_one_needs_more():
    limits = []
    for strangers in (10, 100):
        mine, highest, others = scores(np.random.default_rng(1), 200, strangers, spread=0.12)
        nobody = np.zeros(len(mine), bool)
        limits.append(weigh(mine, highest, others, ~nobody, nobody).own_limit)
    assert limits[0] < limits[1]


def test_nothing_exceeds_an_image_without_company():
    mine, highest, others = scores(np.random.default_rng(2), 100, 10)
    nobody = np.zeros(len(mine), bool)
    evidence = weigh(mine, highest, others, ~nobody, nobody)
    alone, unlike, alike = evidence.least_other(np.array([np.nan, 0.4, 0.8], np.float32))
    assert unlike < alike < alone == np.inf


def test_at_either_limit_no_kind_leads_and_without_company_none_is_known():
    mine, highest, others = scores(np.random.default_rng(2), 100, 10)
    nobody = np.zeros(len(mine), bool)
    evidence = weigh(mine, highest, others, ~nobody, nobody)
    own = np.array([evidence.own_limit, 0.3, 0.8, 0.3, np.nan], np.float32)
    other = np.array([0, *evidence.least_other(own[1:3]), 0, 0], np.float32)
    *limits, far, alone = evidence.lead(own, other)
    assert max(limits) < 0.01 < 5 < far
    assert np.isnan(alone)


def test_cosines_that_tell_nothing_are_no_evidence():
    same = np.full(30, 0.5, np.float32)
    assert weigh(same, same, same[:, None], np.ones(30, bool), np.zeros(30, bool)) is None


def hard_image(dice, own):
    """An image of a person at the edge of what their images are like."""
    middle = own.mean(0) / np.linalg.norm(own.mean(0))
    away = dice.normal(size=len(middle))
    away -= (away @ middle) * middle
    away /= np.linalg.norm(away)
    return (0.6 * middle + 0.8 * away).astype(np.float32)


@pytest.mark.parametrize(("given", "told"), [(None, set()), (0.35, {"0/19.jpg"})])
def test_an_own_image_outside_the_cluster_stays_unless_the_threshold_is_given(given, told):
    dice = np.random.default_rng(3)
    people = [person(dice, 20, 128, spread=0.04) for _ in range(8)]
    people[0][19] = hard_image(dice, people[0][:19])
    photos = make_photos(np.concatenate(people), [20] * 8)
    section = Profile().cleanup.model_copy(update={"threshold": given})
    found = examine(photos, section, 0.35)
    assert {file for it in found if it.kind is Kind.OUTLIER for file in it.files} == told


def test_a_folder_of_strangers_alone_keeps_an_image():
    dice = np.random.default_rng(4)
    photos = make_photos(
        np.concatenate([person(dice, 30), person(dice, 30), noise_vectors(dice, 3)]), [30, 30, 3]
    )
    found = examine(photos, Profile().cleanup, 0.5)
    told = {file for it in found if it.kind is Kind.OUTLIER for file in it.files}
    assert len({"2/60.jpg", "2/61.jpg", "2/62.jpg"} - told) == 1
