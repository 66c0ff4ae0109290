from __future__ import annotations

import errno
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score

from facerec.cleanup import linkage as linkage_module
from facerec.cleanup import trees
from facerec.cleanup.examine import examine
from facerec.cleanup.findings import Finding, Kind
from facerec.cleanup.folders import find_outliers
from facerec.cleanup.label_noise import judge
from facerec.cleanup.linkage import cut, link
from facerec.cleanup.plan import plan
from facerec.cleanup.threshold import choose_threshold
from facerec.cleanup.trees import LEFT, Manifest, change, place_all, prepare, renew, undo
from facerec.errors import MissingError, UsageError
from facerec.files.writing import replacing
from facerec.profile.loading import Profile
from tests.cleanup_data import make_photos, noise_vectors, outputs, person, snapshot
from tests.conftest import make_card, spawn
from tests.killing import kill_before, random_operations


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("linkage", ["average", "complete", "single", "ward"])
def test_the_clusters_are_scikit_learns(linkage, small, monkeypatch):
    monkeypatch.setattr(linkage_module, "_SMALL", 1000 if small else 1)
    dice = np.random.default_rng(1)
    vectors = np.concatenate([person(dice, 60), person(dice, 30), noise_vectors(dice, 20)])
    metric = "euclidean" if linkage == "ward" else "cosine"
    tree = link(vectors, metric, linkage)
    for threshold in (0.2, 0.3, 0.5, 0.7, 0.9, 1.1):
        theirs = AgglomerativeClustering(
            n_clusters=None, metric=metric, linkage=linkage, distance_threshold=threshold
        ).fit(vectors)
        assert adjusted_rand_score(cut(tree, threshold), theirs.labels_) == 1


@pytest.mark.parametrize(
    ("metric", "linkage"), [("Cosine", "average"), ("l2", "single"), ("cosine", "averge")]
)
def test_a_misspelt_metric_or_linkage_is_refused(metric, linkage):
    vectors = noise_vectors(np.random.default_rng(0), 3)
    with pytest.raises(UsageError, match=r"no (metric|linkage) is called (Cosine|l2|averge)"):
        link(vectors, metric, linkage)


def test_one_image_is_kept():
    vectors = noise_vectors(np.random.default_rng(0), 1)
    tree = link(vectors, "cosine", "average")
    assert len(find_outliers(vectors, tree, 0.7, vectors, 0, np.array(["a"], object))) == 0


def test_of_equal_clusters_the_one_unlike_other_people_is_kept_in_any_order():
    dice = np.random.default_rng(3)
    other = person(dice, 10)
    mine, theirs = person(dice, 3), person(dice, 3, near=other.mean(0))
    for vectors, expected in (
        (np.concatenate([mine, theirs]), [3, 4, 5]),
        (np.concatenate([theirs, mine]), [0, 1, 2]),
    ):
        hashes = np.array([f"{n}" for n in range(6)], object)
        tree = link(vectors, "cosine", "average")
        people = np.stack([vectors.mean(0), other.mean(0)])
        assert find_outliers(vectors, tree, 0.7, people, 0, hashes).tolist() == expected


def test_swapped_merged_and_split_people_are_told_apart():
    dice = np.random.default_rng(5)
    a, b, c, d, e = (person(dice, 10) for _ in range(5))
    folders = [
        np.concatenate([a[:9], b[:1]]),  # an image of b
        b[1:],
        np.concatenate([c, d]),  # two people
        e[:5],
        np.concatenate([e[5:], a[9:]]),  # the other half of e, and an image of a
    ]
    rows = np.repeat(np.arange(5), [len(folder) for folder in folders])
    trees = [link(folder, "cosine", "average") for folder in folders]
    judgement = judge(np.concatenate(folders), rows, trees)
    wrong = np.flatnonzero(judgement.other >= 0)
    assert wrong.tolist() == [9, len(rows) - 1]
    assert judgement.folder[judgement.other[wrong]].tolist() == [1, 0]
    assert judgement.folder.tolist() == [0, 1, 2, 3, 4, 2]
    merged = judgement.part[rows == 2]
    assert sorted(np.bincount(merged)[np.unique(merged)]) == [10, 10]
    assert [pair[:2] for pair in judgement.same] == [(3, 4)]


def test_strangers_are_no_part_of_a_split_or_merged_person():
    dice = np.random.default_rng(1)
    a, b, c, d = (person(dice, 20, 128, spread=0.04) for _ in range(4))
    stray = noise_vectors(dice, 3, 128)
    folders = [np.concatenate([a[:8], stray[:2]]), a[8:], np.concatenate([b, c[:8], stray[2:]]), d]
    photos = make_photos(np.concatenate(folders), [len(folder) for folder in folders])
    found = examine(photos, Profile().cleanup, 0.35)
    told = {kind: {file for it in found if it.kind is kind for file in it.files} for kind in Kind}
    assert told[Kind.OUTLIER] == {"0/8.jpg", "0/9.jpg", "2/50.jpg"}
    assert told[Kind.SPLIT] == {f"0/{n}.jpg" for n in range(8)}
    assert told[Kind.MERGED] == {f"2/{n}.jpg" for n in range(42, 50)}


@pytest.fixture
def images(tmp_path):
    """Files with names that are hard to keep apart, and what `plan` takes of each."""
    names = [b"a/one.jpg", b"a/One.jpg", "b/\u00e9.jpg".encode(), "b/e\u0301.jpg".encode(),
             b"b/\xff.jpg", "c/\u540d \n.jpg".encode(), b"c/.jpg"]  # fmt: skip
    result = []
    for number, name in enumerate(map(os.fsdecode, names)):
        path = tmp_path / "dirty" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * 10)
        result.append((str(path), "", name))
    return result


def finding(kind, *files, target=None, confidence=0.9):
    return Finding(kind, files, files[0].partition("/")[0], confidence, target, {})


@pytest.mark.parametrize("means", ["hardlink", "copy", "symlink"])
def test_undo_restores_exactly(images, tmp_path, means):
    before = snapshot(tmp_path)
    placements = plan(images, [finding(Kind.OUTLIER, "b/\u00e9.jpg")], {})
    manifest = prepare(tmp_path / "clean", tmp_path / "dirt", means, placements)
    path = tmp_path / "report" / "manifest.jsonl"
    manifest.write(path)
    assert place_all(Manifest.read(path)) == []
    assert snapshot(tmp_path / "dirt").keys() == {"b", "b/\u00e9.jpg"}
    assert len([1 for data in snapshot(tmp_path / "clean").values() if data]) == 6
    assert undo(path) == []
    shutil.rmtree(tmp_path / "report")
    assert snapshot(tmp_path) == before
    with pytest.raises(MissingError):
        undo(path)


def test_undo_leaves_what_was_changed_and_what_has_lost_its_original(images, tmp_path):
    manifest = prepare(tmp_path / "clean", tmp_path / "dirt", "copy", plan(images, [], {}))
    path = tmp_path / "manifest.jsonl"
    manifest.write(path)
    place_all(manifest)
    (tmp_path / "clean/a/one.jpg").write_bytes(b"edited")
    Path(images[1][0]).unlink()
    left = undo(path)
    assert {Path(name).name for name in left} == {"one.jpg", "One.jpg"}
    assert all(Path(name).exists() for name in left)


def test_what_was_left_while_the_originals_were_away_is_undone_once_they_are_back(
    run, images, tmp_path
):
    before = snapshot(tmp_path)
    manifest = prepare(tmp_path / "clean", tmp_path / "dirt", "copy", plan(images, [], {}))
    path = tmp_path / "report" / "manifest.jsonl"
    manifest.write(path)
    place_all(manifest)
    (tmp_path / "dirty/a").rename(tmp_path / "away")
    code, _, err = run("cleanup", "undo", path)
    assert code == 3 and "2 images left" in err and "undone" not in err
    assert {name for name, data in snapshot(tmp_path / "clean").items() if data} == {
        "a/one.jpg", "a/One.jpg",
    }  # fmt: skip
    (tmp_path / "away").rename(tmp_path / "dirty/a")
    code, _, err = run("cleanup", "undo", path)
    assert code == 0 and err.endswith("undone\n")
    shutil.rmtree(tmp_path / "report")
    assert snapshot(tmp_path) == before


def test_other_decisions_replace_those_whose_change_failed(images, tmp_path, monkeypatch):
    before = snapshot(tmp_path)
    outliers = [finding(Kind.OUTLIER, file) for file in ("a/one.jpg", "c/.jpg")]
    everything = plan(images, outliers, {it.id: False for it in outliers})
    manifest = prepare(tmp_path / "clean", tmp_path / "dirt", "copy", everything)
    path = tmp_path / "report" / "manifest.jsonl"
    manifest.write(path)
    place_all(manifest)

    def fill_disk(target):
        if target.name == ".jpg":
            raise UsageError("No space left on device")
        return replacing(target)

    monkeypatch.setattr(trees, "replacing", fill_disk)
    with pytest.raises(UsageError, match="No space"):
        change(path, renew(manifest, plan(images, outliers, {})))
    monkeypatch.undo()
    assert (tmp_path / "dirt/a/one.jpg").exists()
    decided = plan(images, outliers, {outliers[0].id: False})
    assert change(path, renew(Manifest.read(path), decided)) == []
    dirt = {name for name, data in snapshot(tmp_path / "dirt").items() if data}
    assert dirt == {"c/.jpg"} and (tmp_path / "clean/a/one.jpg").exists()
    assert undo(path) == []
    shutil.rmtree(tmp_path / "report")
    assert snapshot(tmp_path) == before


def test_an_image_gets_the_place_that_another_leaves(tmp_path):
    images = []
    for number, file in enumerate(("a/1.jpg", "b/1.jpg", "c/1.jpg")):
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).write_bytes(bytes([number]))
        images.append((str(tmp_path / file), "", file))
    moves = [finding(Kind.SPLIT, file, target="b") for file in ("a/1.jpg", "c/1.jpg")]
    placements = plan(images, moves, {moves[0].id: True})
    manifest = prepare(tmp_path / "clean", tmp_path / "dirt", "copy", placements)
    path = tmp_path / "manifest.jsonl"
    manifest.write(path)
    place_all(manifest)
    assert (tmp_path / "clean/b/1-2.jpg").read_bytes() == b"\0"
    assert change(path, renew(manifest, plan(images, moves, {moves[1].id: True}))) == []
    files = {name: data for name, data in snapshot(tmp_path / "clean").items() if data}
    assert files == {"a/1.jpg": b"\0", "b/1.jpg": b"\1", "b/1-2.jpg": b"\2"}


def test_a_change_names_and_keeps_what_it_cannot_remove(images, tmp_path):
    outlier = finding(Kind.OUTLIER, "a/one.jpg")
    manifest = prepare(tmp_path / "clean", tmp_path / "dirt", "copy", plan(images, [], {}))
    path = tmp_path / "manifest.jsonl"
    manifest.write(path)
    place_all(manifest)
    edited = tmp_path / "clean/a/one.jpg"
    edited.write_bytes(b"edited")
    decided = plan(images, [outlier], {outlier.id: True})
    for _ in range(2):
        assert change(path, renew(manifest, decided)) == [f"{edited}: {LEFT}"]
    assert (tmp_path / "dirt/a/one.jpg").exists()
    assert undo(path) == [str(edited)]
    assert edited.read_bytes() == b"edited"


@pytest.mark.parametrize("failing", ["open", "read"])
def test_an_image_that_cannot_be_copied_is_told_and_the_others_are_placed(
    images, tmp_path, monkeypatch, failing
):
    hidden, opened = Path(images[2][0]), Path.open

    class Failing(io.BytesIO):
        def read(self, *_):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def refuse(path, *arguments, **options):
        if path != hidden:
            return opened(path, *arguments, **options)
        if failing == "read":
            return Failing()
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "open", refuse)
    manifest = prepare(tmp_path / "clean", tmp_path / "dirt", "copy", plan(images, [], {}))
    (problem,) = place_all(manifest)
    assert problem.startswith(f"{hidden}: cannot be copied: ")
    assert len([data for data in snapshot(tmp_path / "clean").values() if data]) == 6


def test_a_name_without_room_for_a_number_is_shortened(tmp_path):
    name = "\u00e9" * 125 + "x.jpg"
    images = [(f"/{n}/{name}", "", f"{n}/{name}") for n in "abc"]
    split = finding(Kind.SPLIT, f"a/{name}", f"b/{name}", target="c")
    places = [place.to for place in plan(images, [split], {split.id: True})]
    assert places[2] == f"c/{name}" and len(set(places)) == 3
    for place in places:
        assert place.startswith("c/") and place.endswith(".jpg")
        assert len(os.fsencode(place.removeprefix("c/"))) <= 255


def test_a_tree_that_holds_something_is_refused(images, tmp_path):
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        prepare(tmp_path / "clean", tmp_path / "dirt", "copy", plan(images, [], {}))


def test_decisions_move_images_and_undo_still_restores(images, tmp_path):
    before = snapshot(tmp_path)
    wrong = finding(Kind.WRONG_PERSON, "a/one.jpg", target="b")
    outlier = finding(Kind.OUTLIER, "b/\u00e9.jpg")
    split = finding(Kind.SPLIT, "a/One.jpg", target="b")
    findings = [wrong, outlier, split]
    path = tmp_path / "report" / "manifest.jsonl"
    manifest = prepare(tmp_path / "clean", tmp_path / "dirt", "copy", plan(images, findings, {}))
    manifest.write(path)
    place_all(manifest)
    decided = plan(images, findings, {wrong.id: True, outlier.id: False, split.id: True})
    for _ in range(2):  # a change that was killed is repeated
        assert change(path, renew(manifest, decided)) == []
    clean = snapshot(tmp_path / "clean")
    # Names that a file system without case would take for one are kept apart.
    assert {"b/one.jpg", "b/One-2.jpg"} <= clean.keys() or {"b/One.jpg"} <= clean.keys()
    assert "b/\u00e9.jpg" in clean and "a/one.jpg" not in clean
    assert [data for data in snapshot(tmp_path / "dirt").values() if data] == []
    undo(path)
    shutil.rmtree(tmp_path / "report")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("kind", [Kind.SPLIT, Kind.MERGED, Kind.PERSON, Kind.WRONG_PERSON])
@pytest.mark.parametrize("problem", [Kind.OUTLIER, Kind.EXACT_DUPLICATE, Kind.OVERLAP])
def test_an_accepted_move_does_not_take_what_is_dirt_along(images, kind, problem):
    group = finding(kind, "a/one.jpg", "a/One.jpg", target="z", confidence=1.0)
    odd = finding(problem, "a/One.jpg", confidence=0.6)
    for decisions, second in (
        ({group.id: True}, ("dirt", "a/One.jpg")),
        ({group.id: True, odd.id: False}, ("clean", "z/One-2.jpg")),
    ):
        placed = plan(images[:2], [group, odd], decisions)
        assert [(place.decision, place.to) for place in placed] == [("clean", "z/one.jpg"), second]


def test_a_folder_is_cleaned_and_everything_can_be_taken_back(run, dirty, tmp_path):
    before = snapshot(dirty)
    code, out, err = run("cleanup", dirty, *outputs(tmp_path), "--json")
    assert code == 0, err
    kinds = {(r["kind"], r["files"][0]) for r in map(json.loads, out.splitlines())}
    assert ("no-face", "eileen_collins/noise.png") in kinds
    assert ("exact-duplicate", "grace_hopper/wrong.png") in kinds
    assert ("near-duplicate", "grace_hopper/small.jpg") in kinds
    assert (tmp_path / "dirt/eileen_collins/noise.png").exists()
    assert (tmp_path / "clean/grace_hopper/small.jpg").exists()
    again, same, _ = run("cleanup", dirty, *outputs(tmp_path), "--json")
    assert (again, same) == (0, out)
    assert run("cleanup", "undo", tmp_path / "report/manifest.jsonl")[0] == 0
    assert not (tmp_path / "clean").exists() and not (tmp_path / "dirt").exists()
    assert snapshot(dirty) == before


def test_of_too_few_images_the_cards_threshold_is_taken_and_it_is_said(run, dirty, tmp_path):
    code, out, err = run("cleanup", dirty, *outputs(tmp_path), "--dry-run", "--auto", "--json")
    assert code == 0
    assert "threshold 0.0850" in err and "too few to measure" in err and "FAR 1e-3" in err
    outliers = [r for r in map(json.loads, out.splitlines()) if r["kind"] == "outlier"]
    assert ["grace_hopper/wrong.png"] in [r["files"] for r in outliers]


def test_a_dry_run_writes_nothing(run, dirty, tmp_path):
    before = snapshot(tmp_path)
    code, out, err = run("cleanup", dirty, *outputs(tmp_path), "--dry-run")
    assert code == 0 and "would be clean" in err and out
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no such file or folder"),
        (["{dirty}", "--clean", "{dirty}/clean"], "lies inside"),
        (["{dirty}", "--auto", "--distance-threshold", "0.5"], "chooses the threshold"),
        (["{dirty}", "--by", "magic"], "choose hardlink"),
        (["{dirty}", "--linkage", "ward"], "euclidean"),
        (["{dirty}", "--clean", "x", "--dirt", "x"], "three different"),
        (["undo", "nothing.jsonl"], "No such file"),
        (["apply", "nothing.json"], "No such file"),
    ],
)
def test_bad_usage_is_one_line(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dirty").mkdir()
    code, out, err = run("cleanup", *(part.format(dirty="dirty") for part in arguments))
    assert code in (2, 4) and not out
    assert message in err and err.count("\n") == 1


@pytest.mark.slow
def test_killing_a_cleanup_at_any_point_harms_nothing(dirty, tmp_path):
    before = snapshot(dirty)
    # Each in a folder of its own: an operation on a folder is counted once.
    counted, out = tmp_path / "counted", tmp_path / "out"
    counted.mkdir()
    out.mkdir()
    points = random_operations(12, tmp_path, "cleanup", dirty, *outputs(counted))
    command = ["cleanup", dirty, *outputs(out)]
    for operation in sorted(points):
        kill_before(operation, tmp_path, *command)
        assert snapshot(dirty) == before
    done = spawn(*command)
    assert done.returncode == 0, done.stderr
    images = [data for tree in ("clean", "dirt") for data in snapshot(out / tree).values()]
    assert sorted(filter(None, images)) == sorted(filter(None, before.values()))
    done = spawn("cleanup", "undo", out / "report/manifest.jsonl")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == {"report"}
    assert {path.name for path in tmp_path.iterdir()} == {"counted", "dirty", "out"}


@pytest.mark.slow
def test_planted_noise_is_found_on_lfw(data, tmp_path):
    from tests.cleanup_noise import measure

    scores = measure(data / "lfw/lfw-deepfunneled-pairs.tar", tmp_path)
    assert scores["wrong-person"]["f1"] >= 0.97
    assert scores["merged"]["f1"] >= 0.9
    assert scores["split"]["f1"] >= 0.9
    assert scores["near-duplicate"]["f1"] >= 0.9


def with_strangers(dice, people, own, strangers, size=256):
    """Folders of made people, each with strangers as its last images."""
    folders = []
    for _ in range(people):
        folders += [person(dice, own, size), noise_vectors(dice, strangers, size)]
    return make_photos(np.concatenate(folders), [own + strangers] * people)


@pytest.mark.parametrize("seed", range(4))
def test_strangers_are_outliers_and_nobody_else_is(seed):
    photos = with_strangers(np.random.default_rng(seed), 3, 10, 4)
    threshold = choose_threshold(photos, make_card(256), "cosine").threshold
    found = examine(photos, Profile().cleanup, threshold)
    told = {file for it in found if it.kind is Kind.OUTLIER for file in it.files}
    assert told == {f"{p}/{14 * p + n}.jpg" for p in range(3) for n in range(10, 14)}
    assert not [it for it in found if it.kind is Kind.WRONG_PERSON]


def test_a_stranger_nearer_to_another_person_is_sent_to_nobody():
    dice = np.random.default_rng(0)
    a, b = person(dice, 12, spread=0.05), person(dice, 12, spread=0.05)
    middle = b.mean(0) / np.linalg.norm(b.mean(0))
    stray = dice.normal(size=64)
    stray -= (stray @ middle) * middle
    stray = 0.5 * middle + np.sqrt(0.75) * stray / np.linalg.norm(stray)
    vectors = np.concatenate([a, [stray.astype(np.float32), b[0]], b[1:]])
    photos = make_photos(vectors, [14, 11])
    kinds = {
        file: (it.kind, it.target)
        for it in examine(photos, Profile().cleanup, 0.7, same_person=0.6)
        for file in it.files
    }
    assert kinds == {"0/12.jpg": (Kind.OUTLIER, None), "0/13.jpg": (Kind.WRONG_PERSON, "1")}


def test_the_cards_threshold_counts_where_the_linkage_has_none(run, dirty, tmp_path):
    arguments = ("--linkage", "complete", "--dry-run", "--json")
    code, _, err = run("cleanup", dirty, *outputs(tmp_path), *arguments)
    assert (code, "threshold 0.0850: the card's for two images at FAR 1e-3" in err) == (0, True)
    code, _, err = run("cleanup", dirty, *outputs(tmp_path), "--distance-threshold", "0.3")
    assert (code, "facerec: threshold" in err) == (0, False)
