"""Doubtful images are looked at again, in several views."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from facerec.cleanup.examine import PASSES, examine
from facerec.cleanup.findings import Kind
from facerec.cleanup.label_noise import judge
from facerec.cleanup.linkage import link
from facerec.cli import cleanup_inputs
from facerec.faces import Face
from facerec.profile.loading import Profile
from tests.cleanup_data import make_photos, noise_vectors, outputs, person
from tests.conftest import make_card

PEOPLE, EASY, ODD = 8, 12, 5
SIZE = 64


def centre(own):
    return own.mean(0) / np.linalg.norm(own.mean(0))


def near(dice, middle, cosine):
    away = dice.normal(size=len(middle))
    away -= (away @ middle) * middle
    return cosine * middle + np.sqrt(1 - cosine**2) * away / np.linalg.norm(away)


@pytest.fixture(scope="module")
def vectors():
    """Folders of images: a person's usual ones, then three unlike them, then two strangers'."""
    dice = np.random.default_rng(1)
    rows = []
    for _ in range(PEOPLE):
        own = person(dice, EASY, SIZE)
        unlike = [near(dice, centre(own), cosine) for cosine in dice.uniform(0.15, 0.6, ODD - 2)]
        rows += [own, np.stack(unlike), noise_vectors(dice, 2, SIZE)]
    return np.concatenate(rows).astype(np.float32)


def judged(vectors, again):
    folders = np.split(vectors, PEOPLE)
    number = np.repeat(np.arange(PEOPLE), EASY + ODD)
    trees = [link(folder, "cosine", "average") for folder in folders]
    return judge(vectors, number, trees, again=again)


def test_only_what_is_near_a_limit_is_looked_at(vectors):
    asked = []
    judgement = judged(vectors, lambda rows: asked.append(rows) or vectors[rows])
    (rows,) = asked
    assert 0 < len(rows) <= np.ceil(0.1 * len(vectors))
    assert (rows % (EASY + ODD) >= EASY).all()
    assert np.flatnonzero(judgement.again).tolist() == rows.tolist() == sorted(rows)
    assert not judged(vectors, None).again.any()


@pytest.mark.parametrize(("towards", "kept"), [(0.5, True), (-0.5, False)])
def test_what_the_second_look_sees_decides(vectors, towards, kept):
    seen = []

    def again(rows):
        seen.extend(rows)
        centres = np.stack([centre(folder[:EASY]) for folder in np.split(vectors, PEOPLE)])
        looked = vectors[rows] + towards * centres[rows // (EASY + ODD)]
        return looked / np.linalg.norm(looked, axis=1, keepdims=True)

    photos = make_photos(vectors, [EASY + ODD] * PEOPLE)
    found = examine(photos, Profile().cleanup, 2.0, again=again)
    told = {it.files[0]: it.evidence["second_look"] for it in found if it.kind is Kind.OUTLIER}
    names = {photos.file[row] for row in seen}
    assert names
    assert names & told.keys() == (set() if kept else names)
    assert {name for name, again in told.items() if again} == names & told.keys()


def test_an_image_without_a_second_look_stays_as_it_was(vectors):
    nothing = judged(vectors, lambda rows: np.full((len(rows), SIZE), np.nan, np.float32))
    first = judged(vectors, None)
    assert not nothing.again.any()
    np.testing.assert_array_equal(nothing.own, first.own)
    np.testing.assert_array_equal(nothing.other, first.other)


def test_cosines_after_a_second_look_are_means_over_the_views(vectors):
    dice = np.random.default_rng(3)
    views = {}

    def again(rows):
        for row in rows:
            face = near(dice, vectors[row], 0.9)
            views[row] = np.stack([near(dice, face, 0.9) for _ in range(200)])
        means = np.stack([seen.mean(0) for seen in views.values()])
        return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)

    judgement = judged(vectors, again)
    assert views
    for row, seen in views.items():
        first = row - row % (EASY + ODD)
        own = (seen @ centre(vectors[first : first + EASY])).mean()
        assert judgement.own[row] == pytest.approx(own, abs=0.05)


@pytest.mark.parametrize("look", [None, "none there", "there"])
def test_all_passes_are_told_with_and_without_a_second_look(vectors, look):
    def again(rows):
        return vectors[rows] if look == "there" else np.full((len(rows), SIZE), np.nan, np.float32)

    steps = []
    photos = make_photos(vectors, [EASY + ODD] * PEOPLE)
    examine(photos, Profile().cleanup, 2.0, steps.append, again=again if look else None)
    assert sum(steps) == PASSES * len(vectors)


class PixelEngine:
    """Reads vectors out of the pixels of aligned images."""

    arithmetic = "made"

    def __init__(self, augment):
        self.card = make_card(SIZE, augment=augment)
        self.embedded = 0
        self.until = None

    def in_whole_batches(self):
        return self

    def faces(self, frames, *, aligned):
        assert aligned
        for frame in frames:
            if frame.image is None:
                yield frame, []
                continue
            if self.embedded == self.until:
                raise KeyboardInterrupt
            self.embedded += 1
            vector = frame.image[:, :, 0].astype(np.float32).ravel() - 128
            nowhere = np.full((5, 2), np.nan, np.float32)
            box = np.array([0, 0, 8, 8], np.float32)
            yield frame, [Face(box, 1.0, nowhere, vector / np.linalg.norm(vector))]


@pytest.fixture
def engines(monkeypatch):
    """The engines that a command loads, by what they average."""
    made = {}

    def load(profile):
        augment = profile.model.augment or "none"
        return made.setdefault(augment, PixelEngine(augment))

    monkeypatch.setattr(cleanup_inputs, "load_engine", load)
    return made


@pytest.fixture
def folder(tmp_path: Path, vectors) -> Path:
    for row, vector in enumerate(vectors):
        pixels = np.clip(np.round(128 + 200 * vector), 0, 255).astype(np.uint8).reshape(8, 8)
        path = tmp_path / "dirty" / str(row // (EASY + ODD)) / f"{row:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.stack([pixels] * 3, 2))
    return tmp_path / "dirty"


def test_photos_are_looked_at_again_once_and_the_findings_say_so(run, engines, folder, tmp_path):
    arguments = ["cleanup", folder, *outputs(tmp_path), "--aligned", "--json"]
    code, first, err = run(*arguments)
    assert code == 0, err
    count = engines["views"].embedded
    assert 0 < count <= 0.1 * engines["none"].embedded + 1
    assert f"looking again at {count} doubtful images, in several views" in err
    records = [json.loads(line) for line in first.splitlines()]
    outliers = [r for r in records if r["kind"] == "outlier"]
    assert {r["evidence"]["second_look"] for r in outliers} == {False, True}
    code, again, _ = run(*arguments)
    assert (code, again) == (0, first)
    assert engines["views"].embedded == count  # kept in the report's folder


def test_an_interrupted_second_look_goes_on(run, engines, folder, tmp_path):
    arguments = ["cleanup", folder, *outputs(tmp_path), "--aligned", "--json"]
    engines["views"] = PixelEngine("views")
    engines["views"].until = 1
    assert run(*arguments)[0] == 130
    engines["views"].until = None
    code, out, err = run(*arguments)
    assert code == 0, err
    code, whole, _ = run("cleanup", folder, *outputs(tmp_path / "whole"), "--aligned", "--json")
    assert (code, whole) == (0, out)
    assert engines["views"].embedded % 2 == 0  # twice each: once per report's folder


def test_vectors_that_are_means_already_are_not_looked_at_again(run, engines, folder, tmp_path):
    for augment in ("flip", "views"):
        engines.clear()
        code, _, err = run(
            "cleanup", folder, *outputs(tmp_path / augment), "--aligned", "--dry-run",
            "--set", f"model.augment={augment}",
        )  # fmt: skip
        assert (code, "looking again" in err) == (0, False)
        assert list(engines) == [augment]


def test_a_gallerys_photos_are_not_looked_at_again(vectors, tmp_path):
    gallery = tmp_path / "people.h5"
    gallery.touch()
    photos = make_photos(vectors, [EASY + ODD] * PEOPLE)
    given = (photos, make_card(SIZE), tmp_path, Profile())
    assert cleanup_inputs.second_look(gallery, *given, aligned=False) is None
    assert cleanup_inputs.second_look(tmp_path, *given, aligned=False) is not None


@pytest.mark.slow
def test_swaps_and_strangers_among_lfws_people_are_told(data):
    from tests.benchmarks.cleanup_strangers import embed, measure, views_of

    archive, profile = data / "lfw/lfw-deepfunneled-pairs.tar", Profile()
    card, names, vectors = embed(archive, profile)
    look = views_of(archive, profile, names)
    for half in (0, 1):
        for title, scores in measure(names, vectors, card, look, half, 5):
            assert np.mean(scores) >= 0.97, (half, title, scores)
