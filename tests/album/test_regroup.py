"""`facerec album group`: an album's faces grouped, in one step, under all that was decided."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from facerec.album.asking import suggest
from facerec.album.decisions import (
    confirm_faces,
    merge_people,
    name_person,
    read_decisions,
    reject_faces,
    split_faces,
    tell_apart,
)
from facerec.album.faces import add_faces, read_columns
from facerec.album.journal import last_step, undo_step
from facerec.album.people import find_person
from facerec.album.photos import add_photo, place_photo
from facerec.album.records import NewFace, Place
from facerec.album.regroup import regroup
from facerec.album.scan import require_model
from facerec.album.seeds import Seeds
from facerec.album.store import Album, open_album
from facerec.errors import IncompatibleError, UsageError
from facerec.faces import Face
from facerec.gallery import Gallery
from tests.album.test_grouping import CARD, SIZE, same
from tests.album.test_kill import MOST, killed
from tests.cleanup_data import noise_vectors, person
from tests.conftest import make_batch, make_card

SIX = 6


def fill(album: Album, vectors: np.ndarray, photos: np.ndarray) -> list[int]:
    """Add faces as a scan does; photos are numbered."""
    require_model(album, CARD)
    ids = []
    with album.transaction():
        for photo in np.unique(photos).tolist():
            path = f"/photos/{photo}.jpg"
            stored = add_photo(album, f"{photo:064x}", 100, 100, None, None)
            place_photo(album, stored, Place(path, 1, 1))
            rows = np.flatnonzero(photos == photo)
            faces = [
                NewFace(
                    Face(np.array([20 * n, 0, 20 * n + 19, 19], np.float32), 0.9,
                         np.zeros((5, 2), np.float32), vectors[row]), b"jpeg",
                )
                for n, row in enumerate(rows)
            ]  # fmt: skip
            ids += add_faces(album, stored, f"{photo:064x}", faces, CARD.fingerprint())
    return ids


def made(people: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of people with six faces each, and who each is."""
    dice = np.random.default_rng(seed)
    return (
        np.concatenate([person(dice, SIX, SIZE) for _ in range(people)]),
        np.repeat(np.arange(people), SIX),
    )


@pytest.fixture
def album(tmp_path: Path):
    """120 faces of 20 people, a photo each."""
    with open_album(tmp_path / "album.db", create=True) as opened:
        fill(opened, made()[0], np.arange(20 * SIX))
        yield opened


def people(album: Album) -> np.ndarray:
    return read_columns(album).person


def test_faces_get_people_in_one_step(album):
    report = regroup(album)
    assert (report.faces, report.people, report.unnamed, report.nobody) == (120, 0, 20, 0)
    assert (report.joined, report.left, report.moved) == (120, 0, 0)
    assert same(people(album), made()[1]) and last_step(album).command == "group"
    undo_step(album)
    assert (people(album) == -1).all() and last_step(album) is None


def test_a_second_run_changes_nothing(album):
    regroup(album)
    name_person(album, 3, "Anna")
    before, steps = people(album).tolist(), last_step(album)
    report = regroup(album)
    assert people(album).tolist() == before and last_step(album) == steps
    assert (report.people, report.unnamed) == (1, 19)
    assert (report.joined, report.left, report.moved) == (0, 0, 0)


def test_nothing_corrected_comes_undone_when_photos_are_added(album):
    """Ten corrections, then new photos of old and of new people."""
    _, who = made()
    regroup(album)
    first = people(album)
    by = {number: int(first[who == number][0]) for number in range(20)}
    faces = np.arange(1, 121)
    name_person(album, by[0], "Anna")
    name_person(album, by[1], "Ben")
    merge_people(album, [by[2]], by[0])
    merge_people(album, [by[3]], by[1])
    reject_faces(album, faces[who == 0][:1].tolist(), by[0])
    reject_faces(album, faces[who == 4][:1].tolist(), by[4])
    new = split_faces(album, faces[who == 5][:3].tolist())
    confirm_faces(album, faces[who == 6][:2].tolist(), by[7])
    tell_apart(album, by[8], by[9])
    name_person(album, by[10], "Carl")
    decided, kept = read_decisions(album), people(album)
    more = np.concatenate([made()[0][::3] + 0.01, made(5, seed=8)[0]])
    more /= np.linalg.norm(more, axis=1, keepdims=True)
    fill(album, more.astype(np.float32), 1000 + np.arange(len(more)))
    regroup(album)
    after = dict(zip(read_columns(album).ids.tolist(), people(album).tolist(), strict=True))
    assert read_decisions(album) == decided
    assert all(after[face] == person for face, person in decided.fixed.items())
    assert all(after[face] != person for face, person in decided.forbidden)
    assert {after[face] for face in faces[who == 5][:3]} == {new}
    # People of whom nothing was said keep their ids, and their new photos join them.
    for number in range(11, 20):
        assert {after[face] for face in faces[who == number]} == {by[number]}
    assert (people(album)[120:160].reshape(20, 2)[11:] == kept[::6][11:, None]).all()
    assert same(people(album)[160:], np.repeat(np.arange(5), SIX))
    assert people(album)[160:].min() > max(first.max(), new)


def test_two_who_are_told_apart_never_become_one(album):
    vectors = person(np.random.default_rng(4), 8, SIZE)
    ids = fill(album, vectors, 500 + np.arange(8))
    regroup(album)
    ours = people(album)[-1]
    new = split_faces(album, ids[:4])
    regroup(album)
    assert (people(album)[-8:-4] == new).all() and (people(album)[-4:] == ours).all()
    tell_apart(album, int(ours), new)
    more = person(np.random.default_rng(4), 12, SIZE)[8:]
    fill(album, more, 600 + np.arange(4))
    regroup(album)
    assert (people(album)[120:124] == new).all() and (people(album)[124:128] == ours).all()


def test_names_come_from_a_gallery(album):
    vectors, who = made()
    names = ["Anna"] * 3 + ["Ben"] * 3 + ["Nobody here"]
    stranger = noise_vectors(np.random.default_rng(77), 1, SIZE)
    gallery = Gallery(CARD)
    gallery.append(make_batch(np.concatenate([vectors[:3], vectors[6:9], stranger]), names))
    report = regroup(album, seeds=Seeds.of(gallery, CARD, "friends.h5"))
    assert (report.people, report.unnamed) == (2, 18)
    assert (people(album)[who == 0] == find_person(album, "Anna")).all()
    assert (people(album)[who == 1] == find_person(album, "ben")).all()
    with pytest.raises(UsageError, match="knows nobody called Nobody here"):
        find_person(album, "Nobody here")
    again = regroup(album, seeds=Seeds.of(gallery, CARD, "friends.h5"))
    assert (again.joined, again.left, again.moved) == (0, 0, 0)


def test_a_gallery_of_another_model_is_refused(album):
    with pytest.raises(IncompatibleError, match=r"friends\.h5"):
        Seeds.of(Gallery(make_card(SIZE, sha256="1" * 64)), CARD, "friends.h5")


def test_what_was_decided_meanwhile_binds_too(album, monkeypatch):
    import facerec.album.regroup as module

    regroup(album)
    group, calls = module.group, []

    def slow(*arguments, **options):
        calls.append(1)
        if len(calls) == 1:
            with open_album(album.path) as other:
                split_faces(other, [1, 2], "Eve")
        return group(*arguments, **options)

    monkeypatch.setattr(module, "group", slow)
    regroup(album)
    assert len(calls) == 2 and (people(album)[:2] == find_person(album, "Eve")).all()


def test_nobody_joins_whom_an_undo_takes_away_meanwhile(album, monkeypatch):
    import facerec.album.regroup as module

    regroup(album)
    group, calls = module.group, []

    def slow(*arguments, **options):
        calls.append(1)
        if len(calls) == 1:
            with open_album(album.path) as other:
                undo_step(other)
        return group(*arguments, **options)

    monkeypatch.setattr(module, "group", slow)
    assert regroup(album).unnamed == 20
    assert len(calls) == 2
    known = {person for (person,) in album.rows("SELECT id FROM people")}
    assert set(people(album).tolist()) <= known


def test_killed_it_is_done_or_not(tmp_path):
    path = tmp_path / "album.db"
    outcomes = set()
    for last in range(1, 400, 400 // (2 * MOST)):
        path.unlink(missing_ok=True)
        with open_album(path, create=True) as opened:
            fill(opened, *(lambda v, w: (v, np.arange(len(v))))(*made(10)))
        alive = not killed(path, last, regroup)
        with open_album(path) as opened:
            there = people(opened)
            assert (there == -1).all() or same(there, made(10)[1])
            assert (last_step(opened) is None) == (there == -1).all()
            outcomes.add((there == -1).all())
        if alive:
            break
    assert outcomes == {True, False}


def test_suggestions_are_faces_of_the_album(album):
    regroup(album)
    anna = int(people(album)[0])
    reject_faces(album, [3], anna)
    confirm_faces(album, [1, 2], anna)
    found = suggest(album, anna)
    assert [one.faces for one in found if one.group == anna] and all(
        face not in one.faces for one in found for face in (1, 2, 3)
    )
    assert {face for one in found for face in one.faces} == {4, 5, 6}


def test_an_empty_album_has_nothing_to_group(tmp_path):
    with (
        open_album(tmp_path / "album.db", create=True) as empty,
        pytest.raises(UsageError, match="is empty; fill it: facerec album scan"),
    ):
        regroup(empty)


def test_the_command_counts(album, run):
    code, out, err = run("album", "group", "-a", album.path, "--json")
    (line,) = map(json.loads, out.splitlines())
    assert code == 0 and line["unnamed"] == 20 and line["joined"] == line["faces"] == 120
    assert "0 people with a name, 20 groups without one, 0 of 120 faces belong to nobody" in err
    code, out, _ = run("album", "group", "-a", album.path, "--json", "--distance-threshold", "0.01")
    assert json.loads(out)["nobody"] == 120


def test_the_command_remembers_the_gallery(album, run, tmp_path):
    gallery = Gallery(CARD)
    gallery.append(make_batch(made()[0][:3], ["Anna"] * 3))
    path = tmp_path / "friends.h5"
    gallery.save(path)
    code, out, _ = run("album", "group", "-a", album.path, "-g", path, "--json")
    assert code == 0 and json.loads(out)["people"] == 1
    code, out, _ = run("album", "group", "-a", album.path, "--json")
    assert (json.loads(out)["people"], json.loads(out)["left"]) == (1, 0)
    Gallery(make_card(SIZE, sha256="1" * 64)).save(path)
    code, out, err = run("album", "group", "-a", album.path, "--json")
    assert (code, json.loads(out)["people"]) == (0, 1) and "; grouped without it" in err
    assert run("album", "group", "-a", album.path, "-g", path)[0] != 0
    path.unlink()
    code, out, err = run("album", "group", "-a", album.path, "--json")
    assert code == 0 and "friends.h5: is no longer there; grouped without it" in err
    code, _, err = run("album", "group", "-a", album.path, "-g", tmp_path / "no.h5")
    assert code == 4 and "no.h5" in err
