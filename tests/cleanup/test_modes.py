"""Piles without labels, evaluation sets to keep away from, the threshold and the plot."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tarfile
from dataclasses import replace

import cv2
import numpy as np
import pytest

from facerec.card import Calibration
from facerec.cleanup.examine import examine
from facerec.cleanup.findings import Kind
from facerec.cleanup.overlap import find_overlap
from facerec.cleanup.plan import plan
from facerec.cleanup.threshold import choose_threshold, distance_at, rate_at
from facerec.cleanup.unlabelled import group
from facerec.errors import UsageError
from facerec.imaging.decode import read_image
from facerec.imaging.draw import write_image
from facerec.profile.loading import Profile
from tests.cleanup_data import make_photos, noise_vectors, outputs, person, snapshot
from tests.conftest import make_card, noise

SECTION = Profile().cleanup


@pytest.fixture
def card():
    calibration = {"data": "made", "pairs": 10, "thresholds": {"1e-2": 0.0952, "1e-3": 0.0850}}
    return make_card(calibration=calibration)


@pytest.fixture
def pile(tmp_path, portraits):
    """Three photos of each of two people with names that collide, and one without a face."""
    folder = tmp_path / "pile"
    for name, file in portraits.items():
        photo = read_image(file, 10**7)
        for number, share in enumerate((1, 0.9, 0.8)):
            smaller = cv2.resize(photo, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
            write_image(folder / name[:1] / f"{number}é.png", smaller)
    write_image(folder / "noise.png", noise(64, 64))
    return folder


@pytest.fixture
def unlistable(monkeypatch):
    """Makes folders that cannot be listed, also for root."""
    locked = set()
    scandir = os.scandir

    def make(folder):
        folder.mkdir()
        locked.add(str(folder))

    def refuse(path):
        if str(path) in locked:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    return make


def test_a_pile_becomes_a_folder_per_person_and_can_be_taken_back(run, pile, tmp_path):
    before = snapshot(pile)
    code, out, err = run("cleanup", pile, "--unlabelled", *outputs(tmp_path), "--json")
    assert code == 0, err
    assert "extended to FAR 1e-06" in err
    groups = [r for r in map(json.loads, out.splitlines()) if r["kind"] == "person"]
    assert sorted(len(group["files"]) for group in groups) == [3, 3]
    clean = [path for path, data in snapshot(tmp_path / "clean").items() if data]
    assert (
        sorted(path.partition("/")[0] for path in clean)
        == ["person-0001"] * 3 + ["person-0002"] * 3
    )
    assert (tmp_path / "dirt/unknown/noise.png").exists()
    rejected = {"decisions": {groups[0]["id"]: "reject"}}
    (tmp_path / "decisions.json").write_text(json.dumps(rejected))
    report = tmp_path / "report"
    assert run("cleanup", "apply", tmp_path / "decisions.json", "--report", report)[0] == 0
    unknown = [data for data in snapshot(tmp_path / "clean/unknown").values() if data]
    assert len(unknown) == 3
    assert run("cleanup", "undo", report / "manifest.jsonl")[0] == 0
    assert not (tmp_path / "clean").exists() and not (tmp_path / "dirt").exists()
    assert snapshot(pile) == before


def test_a_dry_run_of_a_pile_writes_nothing(run, pile, tmp_path):
    before = snapshot(tmp_path)
    assert run("cleanup", pile, "--unlabelled", *outputs(tmp_path), "--dry-run")[0] == 0
    assert snapshot(tmp_path) == before


def test_groups_are_numbered_by_size_and_a_photo_like_no_other_stays_unknown():
    dice = np.random.default_rng(0)
    vectors = np.concatenate([person(dice, 3), person(dice, 8), noise_vectors(dice, 2)])
    order = dice.permutation(len(vectors))
    photos, findings = group(make_photos(vectors[order], [len(order)]), SECTION, 0.5)
    assert [len(found.files) for found in findings if found.kind is Kind.PERSON] == [8, 3]
    assert np.bincount(photos.person).tolist() == [8, 3, 2]
    assert photos.people == ["person-0001", "person-0002", "unknown"]


def test_a_pile_without_any_face_is_all_dirt():
    photos = make_photos(np.full((3, 4), np.nan, np.float32), [3])
    grouped, findings = group(photos, SECTION, 0.7)
    assert grouped.people == ["unknown"] and findings == []


def test_an_evaluation_set_is_found_by_file_by_looks_and_by_person(run, dirty, tmp_path):
    benchmark = tmp_path / "benchmark"
    first = read_image(dirty / "grace_hopper/0.png", 10**7)
    copy = cv2.resize(first, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    write_image(benchmark / "hopper/photo.jpg", copy)
    shutil.copy(dirty / "eileen_collins/0.png", benchmark / "eileen.png")
    with tarfile.open(tmp_path / "benchmark.tar", "w") as tar:
        tar.add(benchmark, "benchmark")
    for excluded in (benchmark, tmp_path / "benchmark.tar"):
        code, out, err = run("cleanup", dirty, *outputs(tmp_path), "--exclude", excluded,
                             "--dry-run", "--json")  # fmt: skip
        assert code == 0, err
        records = [r for r in map(json.loads, out.splitlines()) if r["kind"].startswith("overlap")]
        images = {r["files"][0]: r["evidence"] for r in records if r["kind"] == "overlap"}
        assert images["eileen_collins/0.png"]["how"] == "same file"
        assert images["grace_hopper/0.png"]["how"] == "near-duplicate"
        assert images["grace_hopper/0.png"]["image"].endswith("hopper/photo.jpg")
        people = {r["person"] for r in records if r["kind"] == "overlap-person"}
        assert "grace_hopper" in people


def test_overlap_of_people_is_told_where_one_side_has_two_images():
    dice = np.random.default_rng(1)
    a, b, c, d = (person(dice, 6) for _ in range(4))
    photos = make_photos(np.concatenate([a[:3], b[:3], c[:1], d[:3]]), [3, 3, 1, 3])
    excluded = make_photos(np.concatenate([b[3:], a[3:4], c[3:4]]), [3, 1, 1])
    found = {
        finding.person: finding.evidence["person"]
        for finding in find_overlap(photos, excluded)
        if finding.kind is Kind.OVERLAP_PERSON
    }
    assert found == {"0": "1", "1": "0"}


def test_the_threshold_is_explained_by_the_data_and_the_card(card):
    dice = np.random.default_rng(2)
    vectors = np.concatenate([person(dice, 10) for _ in range(4)])
    choice = choose_threshold(make_photos(vectors, [10] * 4), card, "cosine")
    assert 0.4 < choice.threshold < 0.9
    for part in ("rest of their folder", "random other one", "0.0850 at FAR 1e-3", "about"):
        assert part in choice.reason
    few = choose_threshold(make_photos(vectors[:4], [2, 2]), card, "euclidean")
    assert few.threshold == pytest.approx((2 * 0.0850) ** 0.5)
    bare = card.model_copy(update={"calibration": None})
    assert (
        "not calibrated" in choose_threshold(make_photos(vectors, [10] * 4), bare, "cosine").reason
    )
    with pytest.raises(UsageError, match="--distance-threshold"):
        choose_threshold(make_photos(vectors[:4], [2, 2]), bare, "cosine")


def test_a_card_is_extended_along_the_normal_tail(card):
    thresholds = {"1e-2": 0.30, "1e-3": 0.25, "1e-4": 0.21}
    calibration = Calibration(data="test", pairs=1000, thresholds=thresholds)
    made = card.model_copy(update={"calibration": calibration})
    for rate, distance in thresholds.items():
        assert distance_at(made, float(rate), "cosine") == pytest.approx(distance)
        assert rate_at(made, distance, "cosine") == pytest.approx(float(rate))
    assert distance_at(made, 1e-6, "cosine") < 0.21
    assert rate_at(made, distance_at(made, 1e-6, "cosine"), "cosine") == pytest.approx(1e-6)
    assert distance_at(card.model_copy(update={"calibration": None}), 1e-3, "cosine") is None


def test_a_person_is_drawn_as_svg(run, dirty, tmp_path):
    odd = dirty / "o$d\u00e9"
    (dirty / "grace_hopper").rename(odd)
    code, _, err = run("cleanup", dirty, *outputs(tmp_path), "--plot", odd.name)
    assert code == 0, err
    picture = (tmp_path / "report/plot.svg").read_text()
    assert picture.rstrip().endswith("</svg>") and picture.count("<path") > 20
    code, _, err = run("cleanup", dirty, *outputs(tmp_path), "--plot", "nobody")
    assert code == 2 and "no such person" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--unlabelled", "--auto"], "for folders of people"),
        (["--unlabelled", "--linkage", "single"], "--linkage average"),
        (["--plot", "a", "--dry-run"], "leave out one"),
        (["--exclude", "nowhere"], "no such file or folder"),
        (["--exact-limit", "0"], "exact_limit"),
    ],
)
def test_contradictions_are_one_line(run, tmp_path, arguments, message):
    (tmp_path / "dirty").mkdir()
    code, out, err = run("cleanup", tmp_path / "dirty", *arguments)
    assert code == 2 and not out
    assert message in err and err.count("\n") == 1


def test_folders_and_links_that_lead_nowhere_are_told_and_counted(run, dirty, tmp_path, unlistable):
    unlistable(dirty / "locked")
    (dirty / "grace_hopper/gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    if hasattr(os, "mkfifo"):
        os.mkfifo(dirty / "grace_hopper/pipe.jpg")
    for more in ([], ["--unlabelled"]):
        code, _, err = run("cleanup", dirty, *outputs(tmp_path), "--dry-run", *more)
        assert code == 3
        assert f"{dirty / 'grace_hopper/gone.jpg'}: no such file" in err
        assert f"{dirty / 'locked'}: is a folder that gives no image" in err
        assert "pipe.jpg" not in err
    benchmark = tmp_path / "benchmark"
    shutil.copytree(dirty / "eileen_collins", benchmark / "eileen")
    (benchmark / "gone").symlink_to(tmp_path / "nowhere")
    (benchmark / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (dirty / "grace_hopper/gone.jpg").unlink()
    (dirty / "locked").rmdir()
    exclude = ("--exclude", benchmark, "--dry-run")
    code, _, err = run("cleanup", dirty, *outputs(tmp_path), *exclude)
    assert code == 3 and f"{benchmark / 'gone.jpg'}: no such file" in err


def test_a_person_to_draw_who_is_not_there_is_refused_before_the_work(run, dirty, tmp_path):
    code, _, err = run("cleanup", dirty, *outputs(tmp_path), "--plot", "nobody")
    assert (code, err) == (2, "facerec: --plot nobody: no such person here\n")
    assert not (tmp_path / "report").exists()


def test_what_could_not_be_linked_is_told_as_copied(run, dirty, tmp_path, monkeypatch):
    link, made = os.link, []

    def refuse(source, target):
        if len(made) == 2:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        made.append(target)
        link(source, target)

    monkeypatch.setattr(os, "link", refuse)
    code, _, err = run("cleanup", dirty, *outputs(tmp_path))
    assert code == 0
    assert "no link could be made of 7 images, which became copies" in err
    assert "hold hardlinks" in err
    run("cleanup", "undo", tmp_path / "report/manifest.jsonl")
    code, _, err = run("cleanup", dirty, *outputs(tmp_path))
    assert "of 9 images, which became copies" in err and "hold hardlinks" not in err


def test_findings_without_suggestions_fit_a_terminal(run, dirty, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run("cleanup", dirty, *outputs(tmp_path), "--dry-run", "--table")
    assert code == 0 and "suggestion" not in out
    lines = [line for line in out.splitlines() if "near-duplicate" in line]
    assert lines and all("grace_hopper" in line or "eileen_collins" in line for line in lines)


def test_people_named_by_files_are_told_and_not_renamed():
    dice = np.random.default_rng(5)
    a, b, c, d = (person(dice, 20, 128, spread=0.04) for _ in range(4))
    vectors = np.concatenate([a, b[:1], b[1:], c[:12], d[:8]])
    photos = make_photos(vectors, [21, 19, 20])
    files = np.array([f"{p}_{n}.jpg" for n, p in enumerate(photos.person)], object)
    for by_file in (True, False):
        known = replace(photos, file=files, by_file=by_file)
        findings = examine(known, SECTION, 0.35)
        told = {it.kind: it for it in findings}
        assert told[Kind.WRONG_PERSON].suggestion == ("is 1" if by_file else "to 1")
        assert told[Kind.WRONG_PERSON].target == (None if by_file else "")
        assert told[Kind.MERGED].target == (None if by_file else "2-2")
    findings = examine(replace(photos, file=files, by_file=True), SECTION, 0.35)
    images = [(file, "", file) for file in files]
    placed = plan(images, findings, {it.id: True for it in findings})
    assert [place.to for place in placed] == files.tolist()
    assert [place.file for place in placed if place.decision == "dirt"] == ["0_20.jpg"]
