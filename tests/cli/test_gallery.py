"""`facerec gallery`, `facerec profile` and `facerec align` as a user meets them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facerec import Gallery
from facerec.alignment.templates import ARCFACE
from facerec.gallery.files import backend as file
from facerec.gallery.files.journal import journal_of
from facerec.imaging.draw import write_image
from tests.conftest import Run, make_card, make_face, noise


@pytest.fixture
def path(tmp_path: Path) -> Path:
    gallery = Gallery(make_card())
    gallery.add("Ada", [make_face(1, 0, 0, 0)], "a/1.jpg", "1")
    gallery.add("Ada", [make_face(1, 1, 0, 0)], "a/2.jpg", "2")
    gallery.add("Zoë", [make_face(0, 0, 1, 0)], "z/1.jpg", "3")
    gallery.save(tmp_path / "g.h5")
    return tmp_path / "g.h5"


def records(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


def test_list_counts_the_faces(run: Run, path: Path) -> None:
    code, out, _ = run("gallery", "list", "-g", path, "--json")
    assert code == 0
    assert records(out) == [{"person": "Ada", "faces": 2}, {"person": "Zoë", "faces": 1}]


def test_show_lists_a_persons_photos_with_their_distance(run: Run, path: Path) -> None:
    _, out, _ = run("gallery", "show", "Ada", "-g", path, "--json")
    assert [record["source"] for record in records(out)] == ["a/1.jpg", "a/2.jpg"]
    assert records(out)[0]["distance"] == pytest.approx(1 - 0.9238795, abs=1e-5)


def test_show_tells_scores_and_metadata(run: Run, tmp_path: Path) -> None:
    gallery = Gallery(make_card())
    gallery.add("Ada", [replace(make_face(1, 0, 0, 0), score=0.75)], "1.jpg", "1", {"team": "red"})
    gallery.add("Ada", [replace(make_face(0, 1, 0, 0), score=math.nan)], "2.jpg", "2")
    gallery.save(tmp_path / "g.h5")
    shown = "gallery", "show", "Ada", "-g", tmp_path / "g.h5"
    told = [(record["score"], record["meta"]) for record in records(run(*shown, "--json")[1])]
    assert told == [(0.75, {"team": "red"}), (None, {})]
    assert {"metadata", "team=red"} <= set(run(*shown, "--table")[1].split())
    red = records(run(*shown, "--where", "team=red", "--json")[1])
    assert [(record["source"], record["distance"]) for record in red] == [("1.jpg", 0)]
    code, _, err = run(*shown, "--where", "team=blue")
    assert (code, "Ada has no face with team=blue" in err) == (2, True)


def test_show_tells_how_a_photo_was_turned_for_its_face(run: Run, tmp_path: Path) -> None:
    x, y = np.array(ARCFACE.points, np.float32).T
    places = {0: (x, y), 90: (y, 111 - x), 180: (111 - x, 111 - y), 270: (111 - y, x)}
    gallery = Gallery(make_card())
    for turn, place in places.items():
        tilted = np.stack(place, axis=1) @ np.array([[0.9, 0.4], [-0.4, 0.9]], np.float32)
        face = replace(make_face(1, 0, 0, 0), landmarks=tilted.astype(np.float32))
        gallery.add("Ada", [face], f"{turn}.jpg", str(turn))
    gallery.add("Ada", [replace(face, landmarks=np.full((5, 2), np.nan, np.float32))], "c", "c")
    gallery.save(tmp_path / "g.h5")
    _, out, _ = run("gallery", "show", "Ada", "-g", tmp_path / "g.h5", "--json")
    told = {record["source"]: record.get("turn") for record in records(out)}
    assert told == {"0.jpg": None, "90.jpg": 90, "180.jpg": 180, "270.jpg": 270, "c": None}


def test_rename_remove_and_merge_change_the_file(run: Run, path: Path, tmp_path: Path) -> None:
    assert run("gallery", "rename", "Ada", "Eve", "-g", path)[0] == 0
    assert run("gallery", "remove", "Eve", "--photo", "a/2.jpg", "--force", "-g", path)[0] == 0
    assert Gallery.open(path).counts() == {"Eve": 1, "Zoë": 1}
    assert run("gallery", "merge", "Eve", "--into", "Zoë", "-g", path)[0] == 0
    assert Gallery.open(path).counts() == {"Zoë": 2}
    other = Gallery(make_card())
    other.add("Bob", [make_face(0, 0, 0, 1)], "b.jpg", "4")
    other.save(tmp_path / "other.h5")
    assert run("gallery", "merge", tmp_path / "other.h5", "-g", path)[0] == 0
    assert Gallery.open(path).counts() == {"Zoë": 2, "Bob": 1}


def test_a_name_with_decomposed_accents_is_the_same_name(run: Run, path: Path) -> None:
    """As macOS's completion writes it."""
    assert run("gallery", "show", "Zoe\u0308", "-g", path)[0] == 0
    again = run("gallery", "merge", "Zoe\u0308", "Zoë", "--into", "Chloe\u0308", "-g", path)
    assert (again[0], Gallery.open(path).counts()) == (0, {"Ada": 2, "Chloë": 1})
    assert run("gallery", "merge", "Chloe\u0308", "--into", "Ada", "-g", path)[0] == 0
    assert run("gallery", "rename", "Ada", "Rene\u0301", "-g", path)[0] == 0
    assert Gallery.open(path).counts() == {"René": 3}
    assert run("gallery", "remove", "Rene\u0301", "--force", "-g", path)[0] == 0


def test_a_photo_that_is_not_there_cannot_be_removed(run: Run, path: Path) -> None:
    code, _, err = run("gallery", "remove", "Ada", "--photo", "x.jpg", "--force", "-g", path)
    assert (code, "has no photo x.jpg" in err) == (2, True)
    assert Gallery.open(path).counts() == {"Ada": 2, "Zoë": 1}


def test_verify_finds_a_sound_gallery_sound(run: Run, path: Path) -> None:
    code, out, err = run("gallery", "verify", "-g", path, "--json")
    assert (code, records(out)[0]["faces"], "sound" in err) == (0, 3, True)


@pytest.fixture
def teams(tmp_path: Path) -> Path:
    gallery = Gallery(make_card())
    gallery.add("Ada", [make_face(1, 0, 0, 0)], "a.jpg", "1", {"team": "red"})
    gallery.add("Zoë", [make_face(0, 0, 1, 0)], "z.jpg", "2", {"team": "blue", "shift": "night"})
    gallery.save(tmp_path / "g.h5")
    return tmp_path / "g.h5"


def test_list_can_be_filtered_by_metadata(run: Run, teams: Path) -> None:
    _, out, _ = run("gallery", "list", "-g", teams, "--where", "team=blue", "--json")
    assert records(out) == [{"person": "Zoë", "faces": 1}]
    _, out, _ = run(
        "gallery", "list", "-g", teams, "--where", "team=red", "--where", "shift=night", "--json"
    )
    assert records(out) == []


@pytest.mark.parametrize("pair", ["team", "=red", ""])
def test_metadata_that_are_no_pair_are_refused(run: Run, teams: Path, pair: str) -> None:
    code, _, err = run("gallery", "list", "-g", teams, "--where", pair)
    assert (code, "give KEY=VALUE, such as team=red" in err) == (2, True)


def test_compact_leaves_one_file(run: Run, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "_WHOLE", 0)
    assert run("gallery", "remove", "Zoë", "--force", "-g", path)[0] == 0
    assert journal_of(path).exists()
    code, _, err = run("gallery", "compact", "-g", path)
    assert (code, "2 faces of 1 person, in one file" in err) == (0, True)
    assert not journal_of(path).exists()
    assert Gallery.open(path).counts() == {"Ada": 2}


def test_profile_show_says_where_each_value_came_from(run: Run) -> None:
    code, out, _ = run("profile", "show", "default", "--set", "runtime.batch=7", "--json")
    values = {record["key"]: record for record in records(out)}
    assert code == 0
    assert values["runtime.batch"]["value"] == 7
    assert values["runtime.batch"]["from"] == "--set runtime.batch=7"
    assert values["detector.name"] == {"key": "detector.name", "value": "mtcnn", "from": "default"}


def test_profile_schema_is_a_schema(run: Run) -> None:
    _, out, _ = run("profile", "schema")
    assert "detector" in json.loads(out)["properties"]


@pytest.fixture
def nested(people: Path) -> Path:
    """CFP's layout: a person's photos one folder deeper."""
    for photo in sorted(people.glob("*/*")):
        photo.parent.joinpath("frontal").mkdir()
        photo.rename(photo.parent / "frontal" / photo.name)
    write_image(people / "noise.png", noise(64, 64))
    return people


def test_align_keeps_the_tree_and_puts_failures_aside(
    run: Run, nested: Path, tmp_path: Path
) -> None:
    out = tmp_path / "chips"
    code, printed, err = run("align", nested, out, "--json")
    assert (code, records(printed)) == (
        3,
        [{"out": str(out), "aligned": 2, "skipped": 0, "failed": 1, "took_one": 0}],
    )
    assert sorted(str(chip.relative_to(out)) for chip in out.rglob("*.png")) == [
        "eileen_collins/frontal/astronaut.png",
        "grace_hopper/frontal/grace_hopper.png",
    ]
    assert (tmp_path / "chips_failed" / "no-face" / "noise.png").is_file()
    assert "noise.png: no face" in err
    header, *listed = records((out / "manifest.jsonl").read_text())
    assert header["settings"]["size"] == [150, 150]
    face = listed[0]["faces"][0]
    assert (len(face["box"]), len(face["landmarks"]), face["score"] > 0.9) == (4, 5, True)


def test_align_goes_on_where_it_stopped(run: Run, nested: Path, tmp_path: Path) -> None:
    out = tmp_path / "chips"
    run("align", nested, out)
    manifest = out / "manifest.jsonl"
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(lines[:2]) + lines[2][:9])
    _, printed, _ = run("align", nested, out, "--json")
    assert (records(printed)[0]["aligned"], records(printed)[0]["failed"]) == (1, 1)
    assert records(printed)[0]["skipped"] == 1
    _, printed, _ = run("align", nested, out, "--json")
    assert records(printed)[0]["skipped"] == 3


def test_align_can_cut_boxes_and_keep_all_faces(run: Run, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "both.jpg").write_bytes(picture.read_bytes())
    arguments = ("--crop", "box", "--size", "96", "--margin", "0.2", "--faces", "all")
    assert run("align", tmp_path / "in", tmp_path / "out", *arguments)[0] == 0
    from facerec.imaging.decode import read_image

    names = sorted(chip.name for chip in (tmp_path / "out").glob("*.png"))
    assert names == ["both-2.png", "both.png"]
    assert read_image(tmp_path / "out" / "both.png", 10**6).shape == (96, 96, 3)
