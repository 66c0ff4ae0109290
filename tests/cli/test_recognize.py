"""`facerec recognize image` and `facerec compare` on real portraits."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from facerec.imaging.decode import read_image
from facerec.imaging.draw import write_image
from tests.conftest import ROOT, Run, noise, spawn

NUMBER = {"type": "number"}
CANDIDATE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "similarity": NUMBER, "distance": NUMBER},
    "required": ["name", "similarity", "distance"],
    "additionalProperties": False,
}
FACE = {
    "type": "object",
    "properties": {
        "box": {"type": "array", "items": NUMBER, "minItems": 4, "maxItems": 4},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "landmarks": {
            "type": "array",
            "items": {"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2},
            "minItems": 5,
            "maxItems": 5,
        },
        "quality": {"type": "number", "minimum": 0, "maximum": 1},
        "name": {"type": ["string", "null"]},
        "similarity": {"type": ["number", "null"], "minimum": -1, "maximum": 1},
        "distance": {"type": ["number", "null"], "minimum": 0},
        "probability": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
        "candidates": {"type": "array", "items": CANDIDATE},
    },
    "required": [
        "box",
        "score",
        "landmarks",
        "quality",
        "name",
        "similarity",
        "distance",
        "probability",
        "candidates",
    ],
    "additionalProperties": False,
}
PICTURE = {
    "type": "object",
    "properties": {
        "image": {"type": "string"},
        "width": {"type": "integer", "minimum": 1},
        "height": {"type": "integer", "minimum": 1},
        "faces": {"type": "array", "items": FACE},
    },
    "required": ["image", "width", "height", "faces"],
    "additionalProperties": False,
}
"""The schema of a line that `recognize image --json` prints, as the guide documents it."""


@pytest.fixture
def gallery(run: Run, people: Path, tmp_path: Path) -> Path:
    path = tmp_path / "gallery.h5"
    assert run("embed", people, "-o", path)[0] == 0
    return path


def lines(out: str) -> list[dict]:
    records = [json.loads(line) for line in out.splitlines()]
    for record in records:
        jsonschema.validate(record, PICTURE)
    return records


def names(record: dict) -> list[str | None]:
    return [face["name"] for face in sorted(record["faces"], key=lambda face: face["box"][0])]


def test_both_people_are_named_in_a_new_picture(run: Run, gallery: Path, picture: Path) -> None:
    code, out, _ = run("recognize", "image", picture, "-g", gallery, "--json")
    (record,) = lines(out)
    assert code == 0
    assert names(record) == ["eileen_collins", "grace_hopper"]
    assert (record["width"], record["height"]) == (1260, 560)


def test_a_stranger_has_no_name_but_a_nearest_person(
    run: Run, people: Path, picture: Path, tmp_path: Path
) -> None:
    run("embed", people / "grace_hopper", "-o", tmp_path / "one.h5")
    _, out, _ = run("recognize", "image", picture, "-g", tmp_path / "one.h5", "--json")
    (record,) = lines(out)
    assert names(record) == [None, "grace_hopper"]
    stranger = min(record["faces"], key=lambda face: face["box"][0])
    assert stranger["candidates"][0]["name"] == "grace_hopper"
    assert stranger["distance"] == stranger["candidates"][0]["distance"]


def test_nobody_is_named_below_a_threshold_of_nothing(
    run: Run, gallery: Path, picture: Path
) -> None:
    arguments = ("recognize", "image", picture, "-g", gallery, "--json")
    assert names(lines(run(*arguments, "--threshold", 0)[1])[0]) == [None, None]
    assert None not in names(lines(run(*arguments, "--threshold", 2)[1])[0])


@pytest.mark.parametrize("match", ["template", "exemplar"])
def test_euclidean_distances_follow_from_the_similarities(
    run: Run, gallery: Path, picture: Path, match: str
) -> None:
    arguments = ("recognize", "image", picture, "-g", gallery, "--json", "--match", match)
    for face in lines(run(*arguments, "--metric", "euclidean")[1])[0]["faces"]:
        assert face["distance"] == pytest.approx((2 - 2 * face["similarity"]) ** 0.5, abs=1e-4)
        assert face["name"]


def test_a_folder_a_glob_and_stdin_name_the_same_pictures(
    run: Run, gallery: Path, picture: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a b.jpg", "ünï.jpg"):
        (folder / name).write_bytes(picture.read_bytes())
    by_folder = lines(run("recognize", "image", folder, "-g", gallery, "--json")[1])
    by_glob = lines(run("recognize", "image", f"{folder}/*.jpg", "-g", gallery, "--json")[1])
    assert by_folder == by_glob
    listing = "".join(f"{folder / name}\n" for name in ("a b.jpg", "ünï.jpg"))
    done = spawn("recognize", "image", "-", "-g", gallery, input=listing)
    assert lines(done.stdout) == by_folder


def test_annotated_pictures_are_saved_and_never_overwritten_unasked(
    run: Run, gallery: Path, picture: Path, tmp_path: Path
) -> None:
    arguments = ("recognize", "image", picture, "-g", gallery, "--save", tmp_path / "out")
    assert run(*arguments)[0] == 0
    drawn = read_image(tmp_path / "out" / picture.name, 10**7)
    changed = np.abs(drawn.astype(int) - read_image(picture, 10**7)).max(axis=2) > 40
    assert 0.005 < changed.mean() < 0.3
    code, _, err = run(*arguments)
    assert (code, "--force" in err) == (2, True)
    assert run(*arguments, "--force", "--show-distance", "--font-size", 30)[0] == 0


def test_a_picture_without_faces_is_a_line_without_faces(
    run: Run, gallery: Path, tmp_path: Path
) -> None:
    write_image(tmp_path / "noise.png", noise(90, 120))
    code, out, _ = run("recognize", "image", tmp_path / "noise.png", "-g", gallery, "--json")
    assert code == 0
    assert lines(out) == [
        {"image": str(tmp_path / "noise.png"), "width": 120, "height": 90, "faces": []}
    ]


def test_what_cannot_be_read_is_named_and_the_rest_is_done(
    run: Run, gallery: Path, picture: Path, tmp_path: Path
) -> None:
    code, out, err = run(
        "recognize", "image", tmp_path / "none.jpg", picture, "-g", gallery, "--json"
    )
    assert (code, len(lines(out))) == (3, 1)
    assert f"{tmp_path / 'none.jpg'}: no such file" in err


def test_the_table_says_the_same(run: Run, gallery: Path, picture: Path) -> None:
    _, out, _ = run("recognize", "image", picture, "-g", gallery, "--table", "--unknown", "wer?",
                    "--threshold", 0)  # fmt: skip
    assert out.count("wer?") == 2


def test_a_closed_pipe_is_silent(gallery: Path, picture: Path) -> None:
    command = (
        f"yes {picture} | {sys.executable} -m facerec recognize image - -g {gallery} | head -1"
    )
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, cwd=ROOT
    )
    assert len(lines(done.stdout)) == 1
    assert done.stderr == ""


def test_find_print0_reaches_jq_like_readers(gallery: Path, picture: Path) -> None:
    command = (
        f"find {picture.parent} -name '*.jpg' -print0 | {sys.executable} -m facerec "
        f"recognize image -0 - --json -g {gallery} | {sys.executable} -c "
        "'import json, sys; print(*[len(json.loads(l)[\"faces\"]) for l in sys.stdin])'"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ["2"]


def test_compare_answers_with_its_exit_code(
    run: Run, people: Path, gallery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(people)  # where no gallery is
    grace, eileen = sorted(people.glob("*/*"), reverse=True)
    code, out, _ = run("compare", grace, eileen, "--json")
    assert (code, json.loads(out)["same"]) == (1, False)
    assert run("compare", grace, grace)[0] == 0
    assert run("compare", grace, "grace_hopper", "-g", gallery)[0] == 0
    assert run("compare", grace, "eileen_collins", "-g", gallery)[0] == 1
    assert run("compare", grace, eileen, "--threshold", 2)[0] == 0
    code, _, err = run("compare", grace, "nobody", "-g", gallery)
    assert (code, "neither a photo nor a person" in err) == (2, True)
    code, _, err = run("compare", grace, "nobody")
    assert (code, "-g names one" in err) == (2, True)


@pytest.mark.parametrize("named", ["option", "profile", "milvus"])
def test_a_person_of_a_named_gallery_comes_before_a_file_of_that_name(
    named: str, run: Run, people: Path, gallery: Path, tmp_path: Path, monkeypatch
) -> None:
    photo = (people / "grace_hopper" / "grace_hopper.jpg").resolve()
    address = str(gallery.resolve())
    monkeypatch.chdir(tmp_path)
    if named == "milvus":
        pytest.importorskip("milvus_lite")
        assert run("gallery", "copy", address, "milvus+lite://g.db")[0] == 0
        address = "milvus+lite://g.db"
    if named == "option":
        options = ("-g", address)
    else:
        (tmp_path / "mine.yaml").write_text(f"extends: default\ngallery:\n  path: {address}\n")
        options = ("-p", "mine.yaml")
    (tmp_path / "grace_hopper").mkdir()
    (tmp_path / "eileen_collins").write_bytes(photo.read_bytes())
    for pair in ((photo, "grace_hopper"), ("grace_hopper", photo)):
        assert run("compare", *pair, *options)[0] == 0
    for pair in ((photo, "eileen_collins"), ("eileen_collins", "grace_hopper")):
        assert run("compare", *pair, *options)[0] == 1
    assert run("compare", photo, photo, *options)[0] == 0


def test_a_gallery_that_is_merely_there_gives_way_to_files_but_not_to_folders(
    run: Run, people: Path, gallery: Path, tmp_path: Path, monkeypatch
) -> None:
    photo = (people / "grace_hopper" / "grace_hopper.jpg").resolve()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    shutil.copy(gallery, "gallery.h5")
    Path("grace_hopper").mkdir()
    Path("eileen_collins").write_bytes(photo.read_bytes())
    assert run("compare", photo, "grace_hopper")[0] == 0
    assert run("compare", photo, "eileen_collins")[0] == 0
    Path("gallery.h5").write_bytes(b"damaged")
    assert run("compare", photo, photo)[0] == 0


def test_every_command_measures_the_same_distance(
    run: Run, people: Path, gallery: Path, picture: Path
) -> None:
    photo = people / "grace_hopper" / "grace_hopper.jpg"
    compared = json.loads(run("compare", photo, "eileen_collins", "-g", gallery, "--json")[1])
    (record,) = lines(run("recognize", "image", photo, "-g", gallery, "--json")[1])
    listed = {near["name"]: near["distance"] for near in record["faces"][0]["candidates"]}
    assert listed["eileen_collins"] == pytest.approx(compared["distance"], abs=2e-6)


@pytest.mark.slow
def test_the_right_people_are_named_in_the_shared_photos(
    run: Run, data: Path, tmp_path: Path
) -> None:
    gallery = tmp_path / "g.h5"
    assert run("embed", data / "people", "-o", gallery)[0] == 0
    code, out, _ = run("recognize", "image", data / "photos", "-g", gallery, "--json")
    assert code == 0
    records = {Path(record["image"]).name: record for record in lines(out)}
    named = {
        picture: {face["name"] for face in record["faces"]} - {None}
        for picture, record in records.items()
    }
    assert named == {
        "32bit.png": {"obama"},
        "alex_lacamoire1.jpg": {"alex_lacamoire"},
        "biden.jpg": {"biden"},
        "johnsnow_test1.jpg": {"kit_harington"},
        "kit_with_rose.jpg": {"kit_harington", "rose_leslie"},
        "multiface.jpg": set(),
        "obama.jpg": {"obama"},
        "obama1.jpg": {"obama"},
        "obama2.jpg": {"obama"},
        "obama_and_biden.jpg": {"obama", "biden"},
        "obama_partial_face.jpg": {"obama"},
        "obama_partial_face2.jpg": {"obama"},
        "scientists.png": set(),
        "two_people.jpg": {"obama", "biden"},
    }
    assert len(records["multiface.jpg"]["faces"]) == 6
    assert 29 <= len(records["scientists.png"]["faces"]) <= 30
    for record in records.values():
        for face in record["faces"]:
            assert face["distance"] <= 0.045 if face["name"] else face["distance"] >= 0.09


def test_only_people_enrolled_with_the_metadata_are_recognised(
    run: Run, people: Path, picture: Path, tmp_path: Path
) -> None:
    path = tmp_path / "teams.h5"
    for name, team in {"grace_hopper": "navy", "eileen_collins": "nasa"}.items():
        assert run("embed", people / name, "-o", path, "--meta", f"team={team}")[0] == 0
    _, out, _ = run("recognize", "image", picture, "-g", path, "--where", "team=nasa", "--json")
    assert sorted(name or "" for name in names(lines(out)[0])) == ["", "eileen_collins"]
    recognize = ("recognize", "image", picture, "--json", "-g")
    assert "nobody with team=army is enrolled" in run(*recognize, path, "--where", "team=army")[2]
    photo = next((people / "grace_hopper").iterdir())
    comparison = ("compare", photo, "grace_hopper", "-g", path)
    assert run(*comparison, "--where", "team=navy")[0] == 0
    code, _, err = run(*comparison, "--where", "team=nasa")
    assert (code, "neither a photo nor a person" in err) == (2, True)
