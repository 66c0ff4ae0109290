"""`model.augment`: which pictures of a face are averaged, on both sides alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facerec import Engine
from facerec.alignment.warp import VIEWS, WHOLE, View, similarity_to_template, warp_to_template
from facerec.card import ModelCard
from facerec.engine.building import build_detector
from facerec.errors import IncompatibleError
from facerec.gallery import Gallery
from facerec.gallery.match import Matcher
from facerec.imaging.decode import read_image
from facerec.models.factory import create_embedder
from facerec.profile.loading import Profile
from facerec.profile.schema import RecognizeSection
from facerec.weights.store import load_model
from tests.conftest import Run, make_card


def engine_with(augment: str) -> Engine:
    card, state = load_model("dlib_resnet")
    card = card.with_augment(augment)
    embedder = create_embedder(card, state, device="cpu", batch=32)
    return Engine(build_detector(Profile.load()), embedder, batch=32)


@pytest.fixture(scope="module")
def photo(portraits: dict[str, Path]) -> np.ndarray:
    return read_image(portraits["grace_hopper"], 10**7)


def test_a_card_that_says_flip_is_read_as_one_that_augments_by_it() -> None:
    text = make_card().to_json().replace('"augment":"none"', '"flip":true')
    assert ModelCard.from_json(text, "old").augment == "flip"
    text = make_card().to_json().replace('"augment":"none"', '"flip":false')
    assert ModelCard.from_json(text, "old") == make_card()


def test_thresholds_do_not_outlive_the_way_of_averaging() -> None:
    assert make_card().with_augment("views").calibration is None
    assert make_card().with_augment("none") == make_card().with_augment(None) == make_card()


def test_a_gallery_with_views_refuses_a_query_without(engine) -> None:
    gallery = Gallery(make_card(2, augment="views"))
    with pytest.raises(IncompatibleError):
        Matcher(gallery, RecognizeSection(), make_card(2))


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_of_the_template_is_the_view_of_the_chip(view: View, engine, photo) -> None:
    (face,) = engine.detect([photo])[0]
    size, template = (150, 150), engine.card.template
    viewed = view.template(template, size)
    whole = np.vstack([similarity_to_template(face.landmarks, template), [0, 0, 1]])
    direct = similarity_to_template(face.landmarks, viewed)
    assert np.allclose(view.matrix(size) @ whole, direct, atol=1e-3)
    assert warp_to_template(photo, [face], viewed, size).shape == (1, 150, 150, 3)


def test_the_middle_of_a_chip_stays_where_it_is_when_a_view_only_scales() -> None:
    middle = np.array([74.5, 74.5, 1])
    assert np.allclose(View(scale=1.3).matrix((150, 150)) @ middle, middle[:2], atol=1e-4)
    assert np.allclose(View(right=0.1).matrix((150, 150)) @ middle, [89.5, 74.5], atol=1e-4)


def test_views_are_each_averaged_with_their_mirror_images(photo) -> None:
    engine, plain = engine_with("views"), engine_with("none")
    (face,) = engine.detect([photo])[0]
    assert VIEWS[0] == WHOLE
    assert engine.passes == 2 * len(VIEWS)
    mean = np.zeros(128)
    for view in VIEWS:
        template = view.template(engine.card.template, (150, 150))
        chips = warp_to_template(photo, [face], template, (150, 150))
        both = plain.embed_chips(chips)[0] + plain.embed_chips(chips[:, :, ::-1].copy())[0]
        mean += both / np.linalg.norm(both)
    (vector,) = engine.embed_found([(photo, face)])
    assert np.allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)
    assert engine.embed([photo])[0][0].embedding == pytest.approx(vector, abs=1e-5)


def test_an_aligned_chip_gives_nearly_the_photos_vector(photo) -> None:
    engine = engine_with("views")
    (face,) = engine.embed([photo])[0]
    (vector,) = engine.embed_chips(engine.align(photo, [face]))
    assert vector @ face.embedding > 0.995
    assert engine.embed_chips(np.empty((0, 150, 150, 3), np.uint8)).shape == (0, 128)


def test_the_model_of_views_names_people_by_its_own_thresholds(
    run: Run, people: Path, picture: Path, tmp_path: Path
) -> None:
    gallery = tmp_path / "g.h5"
    views = ("--set", "model.name=dlib_resnet_views")
    assert run("embed", people, "-o", gallery, *views)[0] == 0
    code, out, _ = run("recognize", "image", picture, "-g", gallery, *views, "--json")
    assert code == 0
    assert '"name": "grace_hopper"' in out
    code, _, err = run("recognize", "image", picture, "-g", gallery, "--json")
    assert code == 2
    assert "was built with dlib_resnet_views" in err
