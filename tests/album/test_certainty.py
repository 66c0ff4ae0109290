"""The probability that a suggested face is a person's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from facerec.album.asking import suggest
from facerec.album.certainty import own_probabilities, probabilities
from facerec.album.faces import read_columns
from facerec.album.store import open_album
from facerec.evaluation.cohort import measure_cohort
from facerec.gallery.certainty import Certainty
from facerec.gallery.entries import mean_vector
from tests.album.made import Group, make_album
from tests.conftest import Run
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
    ben = mean_vector(columns.vectors[6:11])
    cosine = columns.vectors[11] @ mean_vector(columns.vectors[:6])
    rival = columns.vectors[11] @ ben
    assert told[0] == pytest.approx(certainty.probability([cosine], [rival])[0])
    # A face of hers is compared with the others of hers; one that is gone, with nothing.
    cosine = columns.vectors[0] @ mean_vector(columns.vectors[1:6])
    rival = columns.vectors[0] @ ben
    assert told[3:] == [pytest.approx(certainty.probability([cosine], [rival])[0]), None]


def test_of_one_person_under_two_names_neither_is_certain(tmp_path: Path) -> None:
    groups = [Group(6, "Anna"), Group(5, "Anna B", like=0), Group(1, nobody=True, like=0)]
    cohort = measure_cohort(*make_people())
    assert cohort is not None
    with open_album(make_album(tmp_path / "album.db", groups)) as album:
        album.set_meta("card", card_with(cohort).to_json())
        columns = read_columns(album)
        told = [probabilities(album, columns, person, [(12,)])[0] for person in (1, 2)]
        own = own_probabilities(album, columns)
    assert all(one is not None and 0.3 < one < 0.7 for one in told)
    assert sum(one for one in told if one is not None) < 1
    assert all(one < 0.7 for one in own.values())


def test_every_face_of_the_named_tells_how_likely_it_is_theirs(
    path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    cohort = measure_cohort(*make_people())
    assert cohort is not None
    with open_album(path) as album:
        album.set_meta("card", card_with(cohort).to_json())
        columns = read_columns(album)
        told = own_probabilities(album, columns)
        for person, faces in ((ANNA, range(1, 7)), (2, range(7, 12))):
            one_by_one = probabilities(album, columns, person, [(face,) for face in faces])
            assert [told.pop(face) for face in faces] == pytest.approx(one_by_one)
    assert told == {}
    code, out, err = run("album", "show", "-a", path, "--json")
    assert code == 0, err
    records = [json.loads(line) for line in out.splitlines()]
    assert {one["face"] for one in records if one["probability"] is None} == {12, 13}
    assert all(0 < one["probability"] < 1 for one in records if one["name"])
    assert "%" in run("album", "show", "Anna", "-a", path, "--table")[1]
    err = run("album", "show", "Anna", "-a", path)[2]
    assert "face 12 may be Anna (similarity 0." in err
    assert ", probability " in err.partition("face 12")[2].partition(")")[0]


def test_a_card_without_a_cohort_tells_none(path: Path) -> None:
    with open_album(path) as album:
        columns = read_columns(album)
        assert probabilities(album, columns, ANNA, [(12,)]) == [None]
        assert own_probabilities(album, columns) == {}
