"""The probability that a suggested face is a person's."""

from __future__ import annotations

from pathlib import Path

import pytest

from facerec.album.asking import suggest
from facerec.album.certainty import probabilities
from facerec.album.faces import read_columns
from facerec.album.store import open_album
from facerec.evaluation.cohort import measure_cohort
from facerec.gallery.certainty import Certainty
from facerec.gallery.entries import mean_vector
from tests.album.made import Group, make_album
from tests.gallery.test_certainty import card_with, make_people

ANNA = 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Anna with six faces, Ben with five, a face that is hers and one that is nobody's."""
    groups = [
        Group(6, "Anna"),
        Group(5, "Ben"),
        Group(1, nobody=True, like=0),
        Group(1, nobody=True),
    ]
    return make_album(tmp_path / "album.db", groups)


def test_the_suggested_are_likelier_hers_than_others(path: Path) -> None:
    cohort = measure_cohort(*make_people())
    assert cohort is not None
    with open_album(path) as album:
        album.set_meta("card", card_with(cohort).to_json())
        columns = read_columns(album)
        (asked,) = (one.faces for one in suggest(album, ANNA) if one.group == -1)
        told = probabilities(album, columns, ANNA, [asked, (13,), (*asked, 13), (1,), (99,)])
    assert told[0] is not None and told[1] is not None and told[2] is not None
    assert told[0] > 0.9 > told[2] > told[1]
    certainty = Certainty(cohort, {6: 1, 5: 1})
    cosine = columns.vectors[11] @ mean_vector(columns.vectors[:6])
    assert told[0] == pytest.approx(certainty.probability([cosine])[0])
    # A face of hers is compared with the others of hers; one that is gone, with nothing.
    cosine = columns.vectors[0] @ mean_vector(columns.vectors[1:6])
    assert told[3:] == [pytest.approx(certainty.probability([cosine])[0]), None]


def test_a_card_without_a_cohort_tells_none(path: Path) -> None:
    with open_album(path) as album:
        assert probabilities(album, read_columns(album), ANNA, [(12,)]) == [None]
