"""A gallery beside its folders: what moved, what is shared, what looks wrong, and `--sync`."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facerec import Engine
from facerec.faces import face_label
from facerec.gallery.addresses import changing, open_gallery
from facerec.gallery.enrol import enrol_photos
from facerec.gallery.people import check_name
from facerec.gallery.places import Places
from facerec.gallery.remarks import (
    Remark,
    fold_name,
    remark_on_loose,
    remark_on_mixtures,
    remark_on_names,
)
from facerec.gallery.sync import compare, plan
from facerec.imaging.draw import write_image
from facerec.imaging.photos import Photo, normalise_person
from facerec.imaging.sources import list_people
from facerec.profile.loading import Profile
from tests.conftest import Run, make_batch, make_card, make_face

KEYS = ("ann/1.jpg", "ann/2.jpg", "bob/1.jpg", "bob/2.jpg")


@pytest.fixture(params=["g.h5", "milvus+lite://g.db"])
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch) -> str:
    monkeypatch.chdir(tmp_path)
    if request.param.startswith("milvus"):
        pytest.importorskip("milvus_lite")
    return request.param


@pytest.fixture
def tree(tmp_path: Path, address: str) -> Path:
    """Two people's photos, and a gallery of them; the contents are hashes."""
    for key in KEYS:
        (tmp_path / "all" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "all" / key).write_bytes(key.encode())
    with changing(address, create=make_card()) as gallery:
        for number, (person, photo) in enumerate(listed()):
            gallery.add(person, [make_face(1, number, 0, 0)], str(photo), hash_of(photo))
        gallery.add("eve", [make_face(0, 0, 1, 0)], "elsewhere/1.jpg", "e")
    return tmp_path / "all"


def listed(*places: str) -> list[tuple[str, Photo]]:
    return list(list_people(places or ["all"]))


def hash_of(photo: Photo) -> str:
    return hashlib.sha256(photo.read()).hexdigest()


def stale(address: str, photos: Sequence[tuple[str, Photo]]) -> set[tuple[str, str]]:
    found = compare(open_gallery(address), photos, {}, Path())
    return {(one.person, one.source) for one in found.stale}


def test_a_gallery_of_its_folders_is_not_stale(tree: Path, address: str) -> None:
    assert stale(address, listed()) == set()
    assert stale(address, listed("all/ann", "all/bob")) == set()


def test_photos_that_were_moved_deleted_or_renamed_are_told(tree: Path, address: str) -> None:
    (tree / "ann/1.jpg").rename(tree / "bob/3.jpg")
    (tree / "bob/1.jpg").unlink()
    (tree / "bob").rename(tree / "rob")
    expected = {("ann", "all/ann/1.jpg"), ("bob", "all/bob/1.jpg"), ("bob", "all/bob/2.jpg")}
    assert stale(address, listed()) == expected


def test_only_entries_below_the_folders_given_are_looked_at(tree: Path, address: str) -> None:
    (tree / "ann/1.jpg").unlink()
    (tree / "bob/1.jpg").unlink()
    assert stale(address, listed("all/ann")) == {("ann", "all/ann/1.jpg")}
    assert stale(address, []) == set()


def test_a_folder_that_holds_no_photos_may_be_a_drive_that_is_not_there(
    tree: Path, address: str
) -> None:
    shutil.rmtree(tree / "bob")
    (tree / "bob").mkdir()
    assert stale(address, listed("all/ann", "all/bob")) == set()


def test_a_folder_that_cannot_be_listed_keeps_its_entries(
    tree: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = os.scandir

    def forbid(path: Path) -> object:
        if Path(path).name == "bob":
            raise PermissionError(13, "Permission denied")
        return listing(path)

    monkeypatch.setattr(os, "scandir", forbid)
    assert stale(address, listed()) == set()


def test_the_lost_part_of_an_archive_keeps_its_entries(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    where = Path("s.tar")

    def pack(*keys: str) -> bytes:
        with tarfile.open(where, "w") as archive:
            for key in keys:
                Path(key).parent.mkdir(exist_ok=True)
                Path(key).write_bytes(key.encode() * 500)
                archive.add(key)
        return where.read_bytes()

    whole = pack(*KEYS)
    with changing("g.h5", create=make_card()) as gallery:
        for person, photo in listed("s.tar"):
            gallery.add(person, [make_face(1, 0, 0, 0)], str(photo), hash_of(photo))
    pack(*KEYS[:2])
    assert len(stale("g.h5", listed("s.tar"))) == 2
    # Within the header of a member.
    where.write_bytes(whole[: whole.index(b"bob/1.jpg") + 50])
    assert stale("g.h5", listed("s.tar")) == set()


def test_the_plan_removes_what_moved_and_enrols_it_where_it_is(tree: Path, address: str) -> None:
    (tree / "ann/1.jpg").rename(tree / "bob/3.jpg")
    (tree / "bob/1.jpg").rename(tree / "bob/4.jpg")
    removed, added = plan(open_gallery(address), listed(), Path())
    assert [one.source for one in removed] == ["all/ann/1.jpg", "all/bob/1.jpg"]
    assert added == [("bob", "all/bob/3.jpg"), ("bob", "all/bob/4.jpg")]


def test_who_is_stored_decomposed_keeps_their_photos(tree: Path, address: str) -> None:
    (tree / "ann").rename(tree / "josé")
    with changing(address) as gallery:
        gallery.remove("ann")
        name = unicodedata.normalize("NFD", "josé")
        batch = make_batch(np.eye(4, dtype=np.float32)[:2], [name, name])
        photos = [photo for person, photo in listed() if person == "josé"]
        gallery.append(replace(batch, source=[*map(str, photos)], sha256=[*map(hash_of, photos)]))
    assert plan(open_gallery(address), listed(), Path()) == ([], [])


def test_the_same_content_under_two_people_is_told(tree: Path, address: str) -> None:
    shared = hash_of(listed()[0][1])
    with changing(address) as gallery:
        gallery.add("bob", [make_face(1, 0, 0, 0)], "all/bob/copy.jpg", shared)
    (remark,) = compare(open_gallery(address), [], {("ann", "1.jpg"): shared}, Path()).remarks("x")
    assert remark.kind == "two_people"
    assert remark.facts["photos"] == {"ann": "all/ann/1.jpg", "bob": "all/bob/copy.jpg"}


@pytest.fixture
def linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`link` to `real/deep/x`, which holds p/ann/1.jpg, and is the working folder."""
    (tmp_path / "real/deep/x/p/ann").mkdir(parents=True)
    (tmp_path / "real/deep/x/p/ann/1.jpg").write_bytes(b"one")
    (tmp_path / "link").symlink_to("real/deep/x")
    monkeypatch.chdir(tmp_path / "link")
    return tmp_path


SPELLED = ("p", "../x/p", "{}/link/p", "{}/real/deep/x/p", "{}/link/../x/p")


@pytest.mark.parametrize("photos", SPELLED)
@pytest.mark.parametrize("gallery", ["", "{}/link", "{}/real/deep/x"])
def test_a_photo_has_one_name_however_its_folder_is_reached(
    linked: Path, photos: str, gallery: str
) -> None:
    folder = Path(gallery.format(linked))
    assert Places(folder).source(f"{photos.format(linked)}/ann/1.jpg") == "p/ann/1.jpg"


@pytest.mark.parametrize("photos", SPELLED)
@pytest.mark.parametrize(
    ("gallery", "source"),
    [("", "p/ann/{}"), ("", "../../../link/p/ann/{}"), ("{}/link", "../real/deep/x/p/ann/{}")],
    ids=["now", "older, photos by the link", "older, gallery by the link"],
)
def test_an_entry_of_a_linked_folder_is_known_however_it_was_spelled(
    linked: Path, photos: str, gallery: str, source: str
) -> None:
    with changing("g.h5", create=make_card()) as store:
        for name, content in (("1.jpg", b"one"), ("2.jpg", b"two")):
            sha256 = hashlib.sha256(content).hexdigest()
            store.add("ann", [make_face(1, 0, 0, 0)], source.format(name), sha256)
    folder = Path(gallery.format(linked))
    removed, added = plan(open_gallery("g.h5"), listed(photos.format(linked)), folder)
    assert [one.source for one in removed] == [source.format("2.jpg")]
    assert added == []


def test_a_link_to_a_photo_is_a_photo_of_its_own(linked: Path) -> None:
    Path("p/ann/2.jpg").symlink_to("1.jpg")
    assert Places(Path()).source("p/ann/2.jpg") == "p/ann/2.jpg"


def test_a_changed_photo_replaces_what_it_gave_by_another_path(
    linked: Path, portraits: dict[str, Path], engine: Engine
) -> None:
    photo = Path("p/ann/1.jpg")
    photo.write_bytes(portraits["grace_hopper"].read_bytes())
    with changing("g.h5", create=engine.card) as store:
        vector = np.eye(engine.card.embedding_size)[0]
        store.add("ann", [make_face(*vector)], "../../../link/p/ann/1.jpg", "old")
    report = enrol_photos("g.h5", listed(f"{linked}/link/p"), engine, Profile.load())
    assert report is not None
    assert (report.enrolled, report.replaced, report.remarks) == (1, 1, [])
    new = hashlib.sha256(photo.read_bytes()).hexdigest()
    assert list(open_gallery("g.h5").photos()) == [("ann", "p/ann/1.jpg", new)]


def test_a_gallery_is_made_with_the_models_thresholds(two_photos: Path, engine: Engine) -> None:
    assert open_gallery("g.h5").card.calibrated_for == "model"


def copied_over(folder: Path) -> None:
    (folder / "1.jpg").write_bytes((folder / "2.jpg").read_bytes())


def copied_over_beside_a_new_one(folder: Path) -> None:
    copied_over(folder)
    (folder / "0.jpg").write_bytes((folder / "2.jpg").read_bytes() + b" ")


def without_a_face(folder: Path) -> None:
    write_image(folder / "1.jpg", np.full((200, 200, 3), 99, np.uint8))


def changed(folder: Path) -> None:
    (folder / "1.jpg").write_bytes((folder / "2.jpg").read_bytes() + b" ")


def swapped(folder: Path) -> None:
    (folder / "1.jpg").rename(folder / "3")
    (folder / "2.jpg").rename(folder / "1.jpg")
    (folder / "3").rename(folder / "2.jpg")


def moved_over(folder: Path) -> None:
    (folder / "2.jpg").rename(folder / "1.jpg")


def made_room_for_a_new_one(folder: Path) -> None:
    (folder / "1.jpg").rename(folder / "3.jpg")
    changed(folder)


def twice_more(folder: Path) -> None:
    for name in ("3.jpg", "4.jpg"):
        (folder / name).write_bytes((folder / "1.jpg").read_bytes() + b" ")


CHANGES = (
    copied_over, copied_over_beside_a_new_one, without_a_face, changed, swapped, moved_over,
    made_room_for_a_new_one, twice_more,
)  # fmt: skip


@pytest.fixture
def two_photos(
    tmp_path: Path, portraits: dict[str, Path], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """all/ann, whose photos 1.jpg and 2.jpg are enrolled in g.h5."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "all" / "ann"
    folder.mkdir(parents=True)
    for number, portrait in enumerate(portraits.values(), start=1):
        (folder / f"{number}.jpg").write_bytes(portrait.read_bytes())
    enrol_photos("g.h5", listed(), engine, Profile.load())
    return folder


def contents(folder: Path) -> set[str]:
    """The hashes of the photos that show a face."""
    data = {photo.read_bytes() for photo in folder.iterdir()}
    return {hashlib.sha256(one).hexdigest() for one in data if len(one) > 5000}


@pytest.mark.numeric
@pytest.mark.parametrize("change", CHANGES)
def test_sync_does_what_its_plan_says(
    change: Callable[[Path], None], two_photos: Path, engine: Engine
) -> None:
    change(two_photos)
    removed, added = plan(open_gallery("g.h5"), listed(), Path())
    report = enrol_photos("g.h5", listed(), engine, Profile.load(), sync=True)
    assert report is not None
    assert report.removed == len(removed)
    assert report.enrolled + len(report.no_face) == len(added)
    assert {sha256 for *_, sha256 in open_gallery("g.h5").photos()} == contents(two_photos)
    assert plan(open_gallery("g.h5"), listed(), Path())[0] == []


@pytest.mark.numeric
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_photo_takes_its_old_face_along_without_sync(
    change: Callable[[Path], None], two_photos: Path, engine: Engine
) -> None:
    change(two_photos)
    enrol_photos("g.h5", listed(), engine, Profile.load())
    enrolled = [sha256 for *_, sha256 in open_gallery("g.h5").photos()]
    assert sorted(enrolled) == sorted(contents(two_photos))


@pytest.mark.numeric
def test_a_photo_that_can_no_longer_be_read_keeps_its_face(
    two_photos: Path, engine: Engine
) -> None:
    before = list(open_gallery("g.h5").photos())
    (two_photos / "1.jpg").write_bytes((two_photos / "1.jpg").read_bytes()[:3000])
    assert plan(open_gallery("g.h5"), listed(), Path()) == ([], [])
    report = enrol_photos("g.h5", listed(), engine, Profile.load(), sync=True)
    assert report is not None
    assert (report.removed, len(report.failed)) == (0, 1)
    assert list(open_gallery("g.h5").photos()) == before


def test_photos_of_one_name_from_two_galleries_are_both_kept(tree: Path, address: str) -> None:
    with changing(address) as gallery:
        one = make_batch(np.eye(4, dtype=np.float32)[:1], ["ann"])
        gallery.append(replace(one, source=["all/ann/1.jpg"], sha256=["other"]))
    assert plan(open_gallery(address), listed(), Path()) == ([], [])


def mixed(vectors: np.ndarray, address: str = "g.h5") -> list[Remark]:
    with changing(address, create=make_card()) as gallery:
        for number, vector in enumerate(vectors):
            gallery.add("ann", [make_face(*vector)], f"{number}.jpg")
    return list(remark_on_mixtures(open_gallery(address), ["ann"], make_card()))


def test_a_persons_own_faces_are_not_told(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert mixed(np.array([[1, 0, 0, 0], [1, 0.3, 0, 0], [1, 0, 0.3, 0]])) == []


@pytest.mark.parametrize(
    "vectors",
    [np.eye(4), [[1, 0, 0, 0], [1, 0.1, 0, 0], [1, 0, 0.1, 0], [0, 0, 0, 1]]],
    ids=["a pile", "one stranger"],
)
def test_a_pile_of_people_names_its_nearest_and_farthest_pair(
    vectors: np.ndarray, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (remark,) = mixed(np.asarray(vectors))
    assert remark.kind == "not_one_person"
    assert remark.facts["farthest"]["distance"] == pytest.approx(1, abs=1e-3)
    assert "cleanup FOLDER --unlabelled" in remark.message
    assert remark.facts["limit"] == 0.4


def test_without_thresholds_nothing_can_be_told(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with changing("g.h5", create=make_card(calibration=None)) as gallery:
        gallery.add("ann", [make_face(1, 0, 0, 0), make_face(0, 1, 0, 0)], "1.jpg")
    store = open_gallery("g.h5")
    assert list(remark_on_mixtures(store, ["ann"], store.card)) == []


@pytest.mark.parametrize("other", ["ann", "ANN", "Ann ", " Ann", "Ann.", "Ann\u200d", "Ａnn"])
def test_names_that_look_alike_are_told_with_what_merges_them(other: str) -> None:
    (remark,) = remark_on_names({"Ann": 3, other: 1, "Bob": 1}, [other, "Bob"], "unknown", "g.h5")
    assert remark.kind == "names_alike"
    assert "facerec gallery merge" in remark.message
    assert remark.message.endswith("--into Ann -g g.h5")


@pytest.mark.parametrize(("one", "other"), [("Ann", "Anna"), ("José", "Jose"), ("s1", "s11")])
def test_other_names_are_other_people(one: str, other: str) -> None:
    assert fold_name(one) != fold_name(other)


def test_a_person_called_as_strangers_are_is_told(tmp_path: Path) -> None:
    (remark,) = remark_on_names({"Unknown": 1}, ["Unknown"], "unknown", "g.h5")
    assert remark.kind == "called_as_strangers"
    assert face_label("Unknown", "unknown") == "Unknown (enrolled)"
    assert face_label(None, "unknown") == "unknown"
    assert face_label("ann", "unknown") == "ann"


def test_photos_beside_peoples_folders_are_told() -> None:
    photos = [("all", "ann/1.jpg", "ann"), ("all", "2.jpg", "all"), ("bob", "3.jpg", "bob")]
    (remark,) = remark_on_loose(photos)
    assert "2.jpg lies beside people's folders, and counts as 'all'" in remark.message
    (remark,) = remark_on_loose([*photos, ("all", "4.jpg", "all")])
    assert "2 photos lie beside people's folders, and count as 'all'" in remark.message


def test_of_two_faces_apart_the_one_distance_is_told(tmp_path: Path) -> None:
    with changing(tmp_path / "g.h5", create=make_card()) as gallery:
        gallery.add("ann", [make_face(1, 0, 0, 0)], "1.jpg")
        gallery.add("ann", [make_face(0, 1, 0, 0)], "2.jpg")
    (remark,) = remark_on_mixtures(open_gallery(tmp_path / "g.h5"), ["ann"], make_card())
    assert ": 1.jpg and 2.jpg are 1.0000 apart, one person's at most" in remark.message


def enrolled(run: Run, *arguments: object) -> tuple[dict, str]:
    code, out, err = run("embed", *arguments, "--json")
    assert code == 0, err
    return json.loads(out), err


def test_sync_makes_the_gallery_equal_to_the_folder(run: Run, people: Path, tmp_path: Path) -> None:
    gallery = tmp_path / "g.h5"
    enrolled(run, people, "-o", gallery)
    (people / "grace_hopper").rename(people / "grace")
    report, err = enrolled(run, people, "-o", gallery)
    assert report["people"] == {"eileen_collins": 1, "grace_hopper": 1, "grace": 1}
    assert {warning["kind"] for warning in report["warnings"]} == {"stale", "two_people"}
    assert "1 enrolled photo of 1 person moved away" in err
    code, out, err = run("embed", people, "-o", gallery, "--sync", "--json")
    assert code == 0
    assert [json.loads(line)["would"] for line in out.splitlines()] == ["remove"]
    assert "nothing is changed yet; --sync --force does it" in err
    assert len(open_gallery(gallery)) == 3
    report, _ = enrolled(run, people, "-o", gallery, "--sync", "--force")
    assert report["people"] == {"eileen_collins": 1, "grace": 1}
    assert (report["removed"], report["warnings"]) == (1, [])


def test_one_of_several_faces_is_told(run: Run, picture: Path, tmp_path: Path) -> None:
    options = ("--name", "ann", "-o", tmp_path / "g.h5")
    report, err = enrolled(run, picture, *options)
    (warning,) = report["warnings"]
    assert (warning["kind"], warning["faces"]) == ("took_one", 2)
    assert "picture.jpg: 2 faces, took one (--all-faces takes all)" in err
    report, err = enrolled(run, picture, "--name", "eve", "--all-faces", "-o", tmp_path / "a.h5")
    assert [warning["kind"] for warning in report["warnings"]] == ["not_one_person"]


@pytest.mark.parametrize("name", ["A\u200bnn", "\ufeffAnn", "Ann\u200e", "A\u00adnn"])
def test_characters_that_cannot_be_seen_are_no_part_of_a_name(name: str) -> None:
    assert normalise_person(name) == "Ann"


def test_joiners_are_part_of_a_name() -> None:
    name = "علی\u200cرضا"
    check_name(normalise_person(name))
    assert normalise_person(name) == name
