"""Grouping an album's faces: what the vectors say, and what overrules them."""

from __future__ import annotations

import numpy as np
import pytest

from facerec.album.grouping import group
from facerec.album.impostors import Cohort
from facerec.album.known import NOBODY, Known
from facerec.errors import UsageError
from tests.cleanup_data import noise_vectors, person
from tests.conftest import make_card

SIZE = 64
CARD = make_card(SIZE)


def faces(people: int = 20, each: int = 5, spread: float = 0.08, seed: int = 0):
    """Vectors of people, their numbers, and photos of one face each."""
    dice = np.random.default_rng(seed)
    vectors = np.concatenate([person(dice, each, SIZE, spread) for _ in range(people)])
    return vectors, np.repeat(np.arange(people), each), np.arange(people * each)


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two labellings make the same groups."""
    pairs = np.unique(np.stack([one, other], 1), axis=0)
    return len(pairs) == len(np.unique(one)) == len(np.unique(other))


def test_people_are_found():
    vectors, who, photos = faces()
    found = group(vectors, Known.of(photos), CARD, 1)
    assert same(found.person, who)
    assert sorted(np.unique(found.person)) == list(range(1, 21))
    assert found.reason == "measured on the album's faces"


def test_no_faces_are_no_people():
    assert len(group(np.empty((0, SIZE), np.float32), Known.of([]), CARD, 1).person) == 0


def test_a_single_face_is_nobody():
    assert group(faces(1, 1)[0], Known.of([1]), CARD, 1).person.tolist() == [NOBODY]


def test_fifty_copies_of_one_face_are_one_person():
    vectors = np.repeat(faces(1, 1)[0], 50, 0)
    assert group(vectors, Known.of(np.arange(50)), CARD, 1).person.tolist() == [1] * 50


def test_few_faces_are_grouped_by_the_card():
    vectors, who, photos = faces(people=2, each=3)
    found = group(vectors, Known.of(photos), CARD, 1)
    assert same(found.person, who) and "card" in found.reason


def test_few_faces_of_an_uncalibrated_model_need_a_threshold():
    vectors, who, photos = faces(people=2, each=3)
    card = make_card(SIZE, calibration=None)
    with pytest.raises(UsageError, match="too few to measure a threshold; give --distance-thr"):
        group(vectors, Known.of(photos), card, 1)
    assert same(group(vectors, Known.of(photos), card, 1, distance=0.5).person, who)


def test_many_faces_of_an_uncalibrated_model_need_none():
    vectors, who, photos = faces()
    assert same(group(vectors, Known.of(photos), make_card(SIZE, calibration=None), 1).person, who)


def test_a_face_like_nobody_joins_nobody():
    vectors, _, photos = faces()
    alone = noise_vectors(np.random.default_rng(9), 1, SIZE)
    found = group(np.concatenate([vectors, alone]), Known.of([*photos, 999]), CARD, 1)
    assert found.person[-1] == NOBODY


def test_two_faces_of_one_photo_are_two_people():
    vectors, _, photos = faces()
    photos[1] = photos[0]
    found = group(vectors, Known.of(photos), CARD, 1)
    assert found.person[0] != found.person[1]
    assert same(found.person[5:], np.repeat(np.arange(19), 5))


def test_the_more_alike_of_two_faces_in_a_photo_is_the_person():
    """Twins side by side: greedy by similarity, not by order."""
    dice = np.random.default_rng(1)
    vectors, _, photos = faces(spread=0.06)
    centre = vectors[:5].mean(0)
    twin = person(dice, 1, SIZE, 0.02, near=centre + 0.5 * noise_vectors(dice, 1, SIZE)[0])
    anna = person(dice, 1, SIZE, 0.02, near=centre)
    every = np.concatenate([twin, vectors, anna])
    apart = group(every, Known.of([500, *photos, 501]), CARD, 1).person
    assert apart[-1] == apart[1] == apart[0]
    found = group(every, Known.of([500, *photos, 500]), CARD, 1).person
    assert found[-1] == found[1] and found[0] != found[1]


def test_siblings_side_by_side_do_not_set_where_linking_begins():
    """Each of 40 people is photographed beside the one they resemble."""
    dice = np.random.default_rng(6)
    vectors = []
    for _ in range(20):
        anna = person(dice, 1, SIZE)[0]
        ben = anna + 1.1 * noise_vectors(dice, 1, SIZE)[0]
        vectors += [person(dice, 4, SIZE, near=one / np.linalg.norm(one)) for one in (anna, ben)]
    every, who = np.concatenate(vectors), np.repeat(np.arange(40), 4)
    photos = np.tile(np.arange(4), 40) + 4 * (who // 2)
    cohort = Cohort(every, lambda _: None)
    assert cohort.floor(photos) == cohort.floor(np.arange(160))


def test_twins_told_apart_do_not_raise_the_threshold_for_all():
    """Each has as many faces as all others together."""
    vectors, _, _photos = faces()
    dice = np.random.default_rng(2)
    twins = person(dice, 120, SIZE)
    every = np.concatenate([vectors, twins])
    fixed = np.full(len(every), NOBODY)
    fixed[100:110], fixed[160:170] = 40, 41
    known = Known.of(np.arange(len(every)), fixed=fixed)
    found = group(every, known, CARD, 100)
    assert same(found.person[:100], np.repeat(np.arange(20), 5))
    assert set(found.person[100:].tolist()) == {40, 41}


def test_a_user_may_say_that_two_faces_of_one_photo_are_one_person():
    """A mirror, or a collage."""
    vectors, _, photos = faces()
    photos[1] = photos[0]
    fixed = np.full(len(photos), NOBODY)
    fixed[:2] = 7
    found = group(vectors, Known.of(photos, fixed=fixed), CARD, 100)
    assert (found.person[:5] == 7).all()


def test_what_is_fixed_stays_and_draws_its_like():
    vectors, who, photos = faces()
    fixed = np.full(len(photos), NOBODY)
    fixed[0], fixed[7] = 40, 30  # of the first person, and of the second
    found = group(vectors, Known.of(photos, fixed=fixed), CARD, 100)
    assert (found.person[who == 0] == 40).all() and (found.person[who == 1] == 30).all()
    assert (found.person[who > 1] >= 100).all()


def test_two_people_who_look_alike_stay_two_once_named():
    vectors, _who, photos = faces()
    fixed = np.full(len(photos), NOBODY)
    fixed[0], fixed[1] = 40, 41
    found = group(vectors, Known.of(photos, fixed=fixed), CARD, 100).person
    assert found[0] == 40 and found[1] == 41
    assert set(found[2:5]) <= {40, 41, NOBODY}


def test_one_person_of_two_looks_is_one():
    vectors, who, photos = faces()
    fixed = np.full(len(photos), NOBODY)
    fixed[0], fixed[5] = 40, 40
    found = group(vectors, Known.of(photos, fixed=fixed), CARD, 100)
    assert (found.person[who < 2] == 40).all()


def test_looks_of_one_person_share_their_photos():
    """The person is in a photo once, whichever look it shows."""
    vectors, _who, photos = faces()
    fixed = np.full(len(photos), NOBODY)
    fixed[0], fixed[5] = 40, 40
    photos[9] = photos[0]
    found = group(vectors, Known.of(photos, fixed=fixed), CARD, 100)
    assert found.person[9] != 40 and (found.person[:6] == 40).all()


def test_a_younger_sibling_is_not_whom_the_older_was():
    """Anna, confirmed at four and at eight; another child of four, when she is eight."""
    vectors, _, photos = faces()
    fixed = np.full(len(photos), NOBODY)
    fixed[[0, 1, 5, 6]] = 40
    taken = [None] * len(photos)
    taken[0:2] = ["2014-05-01T12:00:00"] * 2
    taken[5:7] = ["2018-05-01T12:00:00"] * 2
    taken[2:5] = ["2018-07-01T10:00:00", "2018-06-30T10:00:00", "0000-00-00"]
    found = group(vectors, Known.of(photos, fixed=fixed, taken=taken), CARD, 100).person
    assert 40 not in found[2:4] and found[2] == found[3] != NOBODY
    assert (found[[0, 1, 4, 5, 6, 7, 8, 9]] == 40).all()
    taken[2:4] = ["2010-01-01T00:00:00"] * 2  # when she is known from no photo
    found = group(vectors, Known.of(photos, fixed=fixed, taken=taken), CARD, 100).person
    assert (found[:10] == 40).all()


def test_a_face_never_joins_whom_it_is_not():
    vectors, _who, photos = faces()
    fixed = np.full(len(photos), NOBODY)
    fixed[0] = 40
    found = group(vectors, Known.of(photos, fixed=fixed, forbidden=[(3, 40)]), CARD, 100)
    assert found.person[3] != 40 and (found.person[[0, 1, 2, 4]] == 40).all()


def test_a_face_never_joins_the_unnamed_group_it_was_taken_from():
    vectors, who, photos = faces()
    previous = who + 1
    previous[3] = NOBODY
    known = Known.of(photos, previous=previous, forbidden=[(3, 1)])
    found = group(vectors, known, CARD, 100)
    assert found.person[3] != 1 and (found.person[[0, 1, 2, 4]] == 1).all()


def test_unnamed_people_who_are_different_stay_two():
    """Two groups that would be one by their vectors."""
    vectors, who, photos = faces(people=20, each=6)
    previous = np.where(who == 0, np.arange(len(who)) % 2 + 1, who + 2)
    known = Known.of(photos, previous=previous, different=[(1, 2)])
    found = group(vectors, known, CARD, 100).person
    ones, twos = found[(previous == 1)], found[(previous == 2)]
    assert not set(ones.tolist()) & set(twos.tolist()) - {NOBODY}


def test_people_keep_their_ids_when_photos_are_added():
    vectors, who, photos = faces(people=25)
    old = who < 20
    before = group(vectors[old], Known.of(photos[old]), CARD, 1).person
    previous = np.full(len(who), NOBODY)
    previous[old] = before
    after = group(vectors, Known.of(photos, previous=previous), CARD, 21)
    assert (after.person[old] == before).all()
    assert sorted(np.unique(after.person[~old])) == [21, 22, 23, 24, 25]


def test_grouping_again_changes_nothing():
    dice = np.random.default_rng(3)
    vectors, _, photos = faces(people=60, each=4, spread=0.13)
    vectors = np.concatenate([vectors, noise_vectors(dice, 30, SIZE)])
    photos = np.concatenate([photos // 2, 1000 + np.arange(30)])
    once = group(vectors, Known.of(photos), CARD, 1).person
    again = group(vectors, Known.of(photos, previous=once), CARD, int(once.max()) + 1).person
    assert (once == again).all()


def test_a_group_that_falls_apart_leaves_its_id_with_the_larger_part():
    vectors, who, photos = faces(people=20, each=5)
    previous = np.where(who <= 1, 1, who + 1)
    previous[9] = NOBODY
    found = group(vectors, Known.of(photos, previous=previous), CARD, 100).person
    assert (found[:5] == 1).all() and (found[5:10] == 100).all()


def test_the_order_of_faces_does_not_matter():
    vectors, _, photos = faces(people=60, each=4, spread=0.13)
    photos //= 3
    straight = group(vectors, Known.of(photos), CARD, 1)
    order = np.random.default_rng(5).permutation(len(photos))
    shuffled = group(vectors[order], Known.of(photos[order]), CARD, 1)
    assert same(straight.person[order], shuffled.person)
    assert straight.threshold == shuffled.threshold


def test_late_faces_join_but_never_begin_a_group():
    vectors, _who, photos = faces()
    quality = np.full(len(photos), 0.9)
    quality[[0, 95, 96, 97, 98, 99]] = 0.01  # one of the first person, all of the last
    found = group(vectors, Known.of(photos, quality=quality), CARD, 1).person
    assert found[0] == found[1] and (found[95:] == NOBODY).all()


def test_an_album_beyond_the_exact_limit_has_the_same_groups(monkeypatch):
    vectors, who, photos = faces(people=40, each=8, spread=0.1)
    exact = group(vectors, Known.of(photos), CARD, 1)
    for module in ("grouping", "similarity"):
        monkeypatch.setattr(f"facerec.album.{module}.EXACT", 10)
    monkeypatch.setattr("facerec.album.similarity.NEIGHBOURS", 4)
    graph = group(vectors, Known.of(photos), CARD, 1)
    assert (exact.person == graph.person).all() and same(exact.person, who)
