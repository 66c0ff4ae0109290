"""Suggestions: "is this Anna?"."""

from __future__ import annotations

import numpy as np

from facerec.album.known import NOBODY, Known
from facerec.album.suggesting import suggestions
from tests.album.test_grouping import faces

ANNA, BEN = 1, 2


def album(**changes):
    """Anna with two confirmed faces, three of hers not yet; a group without a name that is her
    too; and Ben, who looks like her."""
    vectors, who, photos = faces(people=6, each=5, spread=0.05)
    vectors[5:15] = faces(people=1, each=10, spread=0.05)[0]
    vectors[5:10] = vectors[0:5] + 0.01
    vectors[10:15] = vectors[0:5] - 0.01
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    fixed = np.full(len(who), NOBODY)
    fixed[:2], fixed[10] = ANNA, BEN
    person = np.array([ANNA] * 3 + [NOBODY] * 2 + [7] * 5 + [BEN] * 5 + [8] * 5 + [NOBODY] * 10)
    return vectors, Known.of(photos, fixed=fixed, **changes), person


def suggested(vectors, known, person, **options):
    return suggestions(
        vectors, known, person, ANNA, named=frozenset({ANNA, BEN}), least=0.7, **options
    )


def test_faces_and_groups_that_may_be_hers():
    found = suggested(*album())
    assert {one.faces for one in found if one.group == NOBODY} == {(3,), (4,)}
    assert [one.faces for one in found if one.group == ANNA] == [(2,)]
    (whole,) = [one for one in found if one.group == 7]
    assert sorted(whole.faces) == [5, 6, 7, 8, 9]
    assert [one.similarity for one in found] == sorted(
        (one.similarity for one in found), reverse=True
    )


def test_what_she_is_not_is_not_suggested():
    found = suggested(*album(forbidden=[(3, ANNA), (6, ANNA)]))
    assert {one.group for one in found} == {NOBODY, ANNA}
    assert (3,) not in {one.faces for one in found}


def test_whom_she_is_told_apart_from_is_not_suggested():
    assert 7 not in {one.group for one in suggested(*album(different=[(ANNA, 7)]))}


def test_another_face_in_a_photo_of_hers_is_not_suggested():
    vectors, known, person = album()
    known.photos[3] = known.photos[0]
    assert (3,) not in {one.faces for one in suggested(vectors, known, person)}


def test_the_likeliest_come_first_and_few():
    assert len(suggested(*album(), limit=2)) == 2
    assert suggestions(*album(), 99, named=frozenset(), least=0.0) == []
