"""Whose five points a gallery's faces were aligned by: recorded, carried everywhere, told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from facerec.card import ModelCard
from facerec.detection.creation import points_of
from facerec.gallery import Gallery
from facerec.gallery.addresses import changing, extend, open_gallery
from facerec.gallery.copying import continue_copy, in_memory
from facerec.gallery.exchange import ENDINGS, export_gallery, import_gallery
from facerec.gallery.files import backend as file
from facerec.gallery.points import record_points
from facerec.imaging.draw import write_image
from facerec.profile.loading import Profile
from tests.conftest import Run, make_card, make_face, noise


def gallery_of(*points: str) -> Gallery:
    """A face for each of some points; "" for one that nothing is recorded of."""
    gallery = Gallery(make_card())
    for number, one in enumerate(points):
        add(gallery, f"{number}.jpg", one)
    return gallery


def add(gallery: Gallery, source: str, points: str) -> None:
    if points:
        record_points(gallery, [points])
    gallery.add("Ada", [make_face(1, 0, 0, 0)], source, source)


@pytest.mark.parametrize(
    ("points", "recorded"),
    [
        ((), ()),
        (("",), ()),
        (("mtcnn", "mtcnn"), ("mtcnn",)),
        (("mtcnn", "yunet", "mtcnn"), ("mtcnn", "yunet")),
        (("", "mtcnn"), ("unknown", "mtcnn")),
        (("none",), ("none",)),
        (("unknown",), ()),
        (("mtcnn", "unknown"), ("mtcnn", "unknown")),
    ],
)
def test_points_are_recorded_in_order(points: tuple[str, ...], recorded: tuple[str, ...]) -> None:
    assert gallery_of(*points).card.points == recorded


def test_an_emptied_gallery_begins_anew() -> None:
    gallery = gallery_of("yunet")
    gallery.remove("Ada")
    add(gallery, "new.jpg", "mtcnn")
    assert gallery.card.points == ("mtcnn",)


@pytest.mark.parametrize("place", ["{}/g.h5", "milvus+lite://{}/g.db", "{}/journal.h5"])
def test_every_backend_keeps_them(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place.startswith("milvus"):
        pytest.importorskip("milvus_lite")
    if "journal" in place:
        monkeypatch.setattr(file, "_WHOLE", 0)
    address = place.format(tmp_path)
    with changing(address, create=make_card()) as store:
        record_points(store, ["mtcnn"])
        store.add("Ada", [make_face(1, 0, 0, 0)], "a.jpg", "1")
    with changing(address, create=make_card()) as store:
        record_points(store, ["yunet"])
        store.add("Ada", [make_face(0, 1, 0, 0)], "b.jpg", "2")
    assert open_gallery(address).card.points == ("mtcnn", "yunet")


@pytest.mark.parametrize("form", ENDINGS)
def test_what_is_exported_and_imported_keeps_them(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"g{ENDINGS[form]}"
    export_gallery(gallery_of("yunet"), path, form)
    assert import_gallery(path).card.points == ("yunet",)


def test_copies_and_what_is_merged_keep_them(tmp_path: Path) -> None:
    source = gallery_of("mtcnn", "yunet")
    assert in_memory(source).card.points == ("mtcnn", "yunet")
    with changing(tmp_path / "copy.h5", create=source.card) as copied:
        continue_copy(source, copied)
    assert open_gallery(tmp_path / "copy.h5").card.points == ("mtcnn", "yunet")
    target = gallery_of("mtcnn")
    extend(target, gallery_of("", "yunet"))
    assert target.card.points == ("mtcnn", "unknown", "yunet")
    extend(target, Gallery(make_card(points=["centerface"])))
    assert "centerface" not in target.card.points


def test_a_copy_that_is_up_to_date_takes_the_record_too(tmp_path: Path) -> None:
    old = gallery_of("")
    old.save(tmp_path / "copy.h5")
    record_points(old, ["mtcnn"])
    with changing(tmp_path / "copy.h5", create=old.card) as copied:
        assert continue_copy(old, copied) == 0
    assert open_gallery(tmp_path / "copy.h5").card.points == ("unknown", "mtcnn")


def test_a_card_without_points_is_written_as_before() -> None:
    card = make_card()
    assert "points" not in json.loads(card.to_json())
    assert "points" in json.loads(make_card(points=["mtcnn"]).to_json())
    assert ModelCard.from_json(card.to_json(), "it") == card
    assert card.fingerprint() == make_card(points=["mtcnn"]).fingerprint()


@pytest.mark.parametrize(
    ("changes", "points"),
    [
        ({}, "mtcnn"),
        ({"name": "mtcnn-tensorflow"}, "mtcnn"),
        ({"name": "yunet"}, "mtcnn"),
        ({"name": "yunet", "landmarks": "own"}, "yunet"),
        ({"name": "centerface", "landmarks": "own"}, "centerface"),
    ],
)
def test_a_detector_aligns_by_its_own_points_or_by_mtcnns(
    changes: dict[str, str], points: str
) -> None:
    assert points_of(Profile().detector.model_copy(update=changes)) == points


def test_what_is_enrolled_is_recorded_and_shown(
    run: Run, people: Path, portraits: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "g.h5"
    assert run("embed", people, "-o", path)[0] == 0
    assert open_gallery(path).card.points == ("mtcnn",)
    chip = tmp_path / "chip.png"
    write_image(chip, noise(150, 150))
    assert run("embed", chip, "--name", "Chip", "--aligned", "-o", path)[0] == 0
    _, out, _ = run("gallery", "verify", "-g", path, "--json")
    assert json.loads(out)["points"] == ["mtcnn", "none"]
    _, out, _ = run("gallery", "show", "Chip", "-g", path, "--table")
    assert "aligned by: mtcnn, none" in out
