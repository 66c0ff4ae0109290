"""`facerec embed` on real portraits."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from facerec import Gallery
from facerec.imaging.decode import read_image
from facerec.imaging.draw import write_image
from tests.conftest import Run, noise, spawn


def summary(out: str) -> dict:
    (line,) = out.splitlines()
    return json.loads(line)


def test_a_folder_per_person_becomes_a_gallery(run: Run, people: Path, tmp_path: Path) -> None:
    code, out, _ = run("embed", people, "-o", tmp_path / "g.h5", "--json")
    assert code == 0
    assert summary(out)["people"] == {"eileen_collins": 1, "grace_hopper": 1}
    gallery = Gallery.open(tmp_path / "g.h5")
    assert gallery.entries.source.tolist() == [
        "people/eileen_collins/astronaut.png",
        "people/grace_hopper/grace_hopper.jpg",
    ]
    assert np.linalg.norm(gallery.entries.embeddings, axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert (gallery.entries.box[:, 2:] - gallery.entries.box[:, :2] > 50).all()


def test_a_photo_that_is_there_is_skipped_and_a_changed_one_replaced(
    run: Run, people: Path, tmp_path: Path
) -> None:
    gallery = tmp_path / "g.h5"
    run("embed", people, "-o", gallery)
    photo = people / "grace_hopper" / "grace_hopper.jpg"
    write_image(photo, np.ascontiguousarray(read_image(photo, 10**7)[:, ::-1]))
    report = summary(run("embed", people, "-o", gallery, "--json")[1])
    assert (report["enrolled"], report["replaced"], report["skipped"]) == (1, 1, 1)
    assert report["people"] == {"eileen_collins": 1, "grace_hopper": 1}


def test_a_copy_of_a_photo_under_another_name_is_skipped(
    run: Run, people: Path, tmp_path: Path
) -> None:
    folder = people / "grace_hopper"
    shutil.copy(folder / "grace_hopper.jpg", folder / "copy.jpg")
    report = summary(run("embed", people, "-o", tmp_path / "g.h5", "--json")[1])
    assert (report["enrolled"], report["skipped"]) == (2, 1)


def test_people_are_added_to_an_existing_gallery(run: Run, people: Path, tmp_path: Path) -> None:
    gallery = tmp_path / "g.h5"
    run("embed", people / "grace_hopper", "-o", gallery)
    report = summary(run("embed", people / "eileen_collins", "-o", gallery, "--json")[1])
    assert report["people"] == {"grace_hopper": 1, "eileen_collins": 1}


def test_single_photos_need_a_name(run: Run, portraits: dict[str, Path], tmp_path: Path) -> None:
    photo = portraits["grace_hopper"]
    code, _, err = run("embed", photo, "-o", tmp_path / "g.h5")
    assert (code, "give --name" in err) == (2, True)
    code, out, _ = run("embed", photo, "-o", tmp_path / "g.h5", "--name", "Grace Ω", "--json")
    assert (code, summary(out)["people"]) == (0, {"Grace Ω": 1})


def test_a_list_on_stdin_takes_the_person_from_the_parent_folder(
    people: Path, tmp_path: Path
) -> None:
    photos = sorted(people.glob("*/*"))
    done = spawn(
        "embed", "-", "-0", "-o", tmp_path / "g.h5", input="\0".join(map(str, photos)) + "\0"
    )
    assert done.returncode == 0, done.stderr
    assert summary(done.stdout)["people"] == {"eileen_collins": 1, "grace_hopper": 1}


def test_what_shows_no_face_or_is_no_image_is_listed_and_the_rest_is_done(
    run: Run, people: Path, tmp_path: Path
) -> None:
    write_image(people / "grace_hopper" / "noise.png", noise(80, 80))
    (people / "grace_hopper" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0" + b"0" * 16)
    code, out, err = run("embed", people, "-o", tmp_path / "g.h5", "--json")
    report = summary(out)
    assert code == 3
    assert [Path(name).name for name in report["no_face"]] == ["noise.png"]
    assert [Path(name).name for name in report["failed"]] == ["broken.jpg"]
    assert report["enrolled"] == 2
    assert "noise.png: no face found" in err
    assert "broken.jpg: " in err


@pytest.mark.parametrize(("policy", "faces"), [("central", 1), ("all", 2), ("refuse", 0)])
def test_which_of_several_faces_is_enrolled(
    run: Run, picture: Path, tmp_path: Path, policy: str, faces: int
) -> None:
    code, out, _ = run(
        "embed", picture, "--name", "both", "--faces", policy, "-o", tmp_path / "g.h5", "--json"
    )
    assert summary(out)["faces"] == faces
    assert (code, len(summary(out)["several_faces"])) == ((3, 1) if policy == "refuse" else (0, 0))


def test_chips_are_kept_and_enrolled_again_alike(run: Run, people: Path, tmp_path: Path) -> None:
    raw, again = tmp_path / "raw.h5", tmp_path / "again.h5"
    run("embed", people, "-o", raw, "--chips", tmp_path / "chips")
    chips = sorted((tmp_path / "chips").glob("*/*.png"))
    assert [chip.parent.name for chip in chips] == ["eileen_collins", "grace_hopper"]
    assert read_image(chips[0], 10**6).shape == (150, 150, 3)
    assert run("embed", tmp_path / "chips", "--aligned", "-o", again)[0] == 0
    one, other = Gallery.open(raw).entries, Gallery.open(again).entries
    assert np.abs(one.embeddings - other.embeddings).max() < 1e-5


def test_aligned_images_that_are_not_square_fail_one_by_one(
    run: Run, people: Path, tmp_path: Path
) -> None:
    square = people / "eileen_collins" / "astronaut.png"
    write_image(square, read_image(square, 10**7)[:-1])
    code, _, err = run("embed", people, "--aligned", "-o", tmp_path / "g.h5")
    assert code == 3
    assert err.count("leave out `aligned`") == 2


def test_an_arcface_chip_is_recognised_as_the_raw_photo(
    run: Run, people: Path, tmp_path: Path
) -> None:
    run("align", people, tmp_path / "chips", "--template", "arcface")
    assert read_image(next((tmp_path / "chips").rglob("*.png")), 10**6).shape == (112, 112, 3)
    run("embed", people, "-o", tmp_path / "raw.h5")
    run("embed", tmp_path / "chips", "--aligned", "-o", tmp_path / "chips.h5")
    one = Gallery.open(tmp_path / "raw.h5").templates()
    other = Gallery.open(tmp_path / "chips.h5").templates()
    assert ((one * other).sum(axis=1) > 0.97).all()


def test_a_gallery_in_the_seeds_layout_is_not_rewritten_in_place_unasked(
    run: Run, people: Path, tmp_path: Path
) -> None:
    import h5py

    with h5py.File(tmp_path / "old.h5", "w") as file:
        file["Arya/embedding"] = np.eye(128, dtype=np.float32)[0]
    code, _, err = run("gallery", "list", "-g", tmp_path / "old.h5")
    assert (code, "facerec gallery convert" in err) == (2, True)
    code, _, _ = run("gallery", "convert", tmp_path / "old.h5", "-g", tmp_path / "new.h5")
    assert code == 0
    assert Gallery.open(tmp_path / "new.h5").people == ["Arya"]


def test_a_cut_off_png_is_not_taken_for_a_face(run: Run, people: Path, tmp_path: Path) -> None:
    photo = people / "eileen_collins" / "astronaut.png"
    whole = cv2.imencode(".png", read_image(photo, 10**7))[1].tobytes()
    photo.write_bytes(whole[: len(whole) // 2])
    code, out, _ = run("embed", people, "-o", tmp_path / "g.h5", "--json")
    assert (code, list(summary(out)["failed"])) == (3, [str(photo)])


@pytest.mark.skipif(os.name == "nt", reason="no such names there")
def test_a_folder_whose_name_is_unusable_is_passed_over_and_named(
    run: Run, people: Path, tmp_path: Path
) -> None:
    for name in (b"new\nline", b"J\xfcrgen"):
        shutil.copytree(people / "grace_hopper", people / os.fsdecode(name))
    code, out, err = run("embed", people, "-o", tmp_path / "g.h5", "--json")
    assert (code, list(summary(out)["people"])) == (3, ["eileen_collins", "grace_hopper"])
    assert len(summary(out)["failed"]) == 2
    assert err.count("is no usable name") == 2


def test_a_tar_that_is_cut_off_is_named_as_such(run: Run, people: Path, tmp_path: Path) -> None:
    whole = tmp_path / "people.tar"
    with tarfile.open(whole, "w") as archive:
        archive.add(people / "eileen_collins", "eileen_collins")
        archive.add(people / "grace_hopper", "grace_hopper")
    whole.write_bytes(whole.read_bytes()[:-20_000])
    code, out, err = run("embed", whole, "-o", tmp_path / "g.h5", "--json")
    assert (code, list(summary(out)["people"])) == (3, ["eileen_collins"])
    assert summary(out)["failed"][str(whole)].endswith(
        "is cut off, or damaged; photos may be missing"
    )
    assert "no usable name" not in err


@pytest.mark.parametrize("inside", ["", "chips"])
def test_chips_are_not_saved_among_the_photos(
    run: Run, people: Path, tmp_path: Path, inside: str
) -> None:
    code, _, err = run("embed", people, "-o", tmp_path / "g.h5", "--chips", people / inside)
    assert (code, "lies inside" in err) == (2, True)
    assert not (tmp_path / "g.h5").exists()
