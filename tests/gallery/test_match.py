from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from facerec import Gallery
from facerec.card import Calibration, ModelCard, distance_to_similarity
from facerec.cli.evaluation.calibration import write_calibration
from facerec.errors import IncompatibleError, UsageError
from facerec.gallery.addresses import changing, open_gallery
from facerec.gallery.copying import in_memory, replacing
from facerec.gallery.entries import Entries
from facerec.gallery.exchange import export_gallery, import_gallery
from facerec.gallery.match import Matcher
from facerec.profile.schema import RecognizeSection
from facerec.weights.catalog import find_model
from tests.conftest import make_card, make_face


def make_matcher(people: dict[str, list[tuple[float, ...]]], **section: object) -> Matcher:
    gallery = Gallery(make_card(2))
    for person, vectors in people.items():
        for number, vector in enumerate(vectors):
            gallery.add(person, [make_face(*vector)], f"{person}/{number}.jpg")
    return Matcher(gallery, RecognizeSection.model_validate(section), gallery.card)


def unit(*vectors: tuple[float, ...]) -> np.ndarray:
    rows = np.array(vectors, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def with_card(card: ModelCard) -> Gallery:
    """A gallery with a card as an older version, or a calibration, left it."""
    return Gallery(card, entries=Entries.empty(card.embedding_size))


def test_the_cards_threshold_decides_by_default() -> None:
    matcher = make_matcher({"a": [(1, 0)]})
    assert matcher.threshold == 0.4
    near, far = matcher.match(unit((0.61, 0.79), (0.59, 0.81)))
    assert (near.name, far.name) == ("a", None)


def test_a_stranger_still_has_a_nearest_person() -> None:
    stranger = make_matcher({"a": [(1, 0)]}).match(unit((0, 1)))[0]
    assert stranger.name is None
    assert stranger.nearest is not None
    assert (stranger.nearest.name, stranger.nearest.distance) == ("a", pytest.approx(1))


def test_a_person_is_given_to_the_nearest_of_two_faces() -> None:
    faces = unit((1, 0.2), (1, 0.1))
    names = [match.name for match in make_matcher({"a": [(1, 0)]}).match(faces)]
    assert names == [None, "a"]
    repeats = make_matcher({"a": [(1, 0)]}, unique=False).match(faces)
    assert [match.name for match in repeats] == ["a", "a"]


def test_who_loses_a_person_gets_the_next_near_enough() -> None:
    matcher = make_matcher({"a": [(1, 0)], "b": [(1, 0.5)]}, threshold=0.2)
    names = [match.name for match in matcher.match(unit((1, 0.15), (1, 0)))]
    assert names == ["b", "a"]


def test_the_decided_persons_numbers_are_shown_even_off_the_list() -> None:
    matcher = make_matcher({"a": [(1, 0)], "b": [(1, 0.5)]}, threshold=0.2, candidates=1)
    loser = matcher.match(unit((1, 0.15), (1, 0)))[0]
    assert loser.nearest is not None and loser.nearest.name == "b"
    assert [candidate.name for candidate in loser.candidates] == ["a"]


def test_exemplars_find_the_one_photo_that_the_mean_hides() -> None:
    people = {"a": [(1, 0), (0, 1)], "b": [(-1, 0)]}
    face = unit((1, 0.01))
    assert make_matcher(people, match="template", threshold=0.1).match(face)[0].name is None
    assert make_matcher(people, match="exemplar", threshold=0.1).match(face)[0].name == "a"


def test_an_empty_gallery_knows_nobody() -> None:
    match = make_matcher({}).match(unit((1, 0)))[0]
    assert (match.name, match.nearest, match.candidates) == (None, None, ())


def test_no_faces_give_no_matches() -> None:
    assert make_matcher({"a": [(1, 0)]}).match_faces([]) == []


@given(
    hnp.arrays(np.float32, (4, 2), elements=st.floats(-1, 1, width=32)),
    st.sampled_from(["template", "exemplar"]),
    st.floats(0, 2),
)
def test_both_metrics_decide_alike_and_nobody_appears_twice(
    rows: np.ndarray, match: str, threshold: float
) -> None:
    faces = unit(*(rows + np.float32(3)))
    people = {"a": [(1, 0), (1, 1)], "b": [(0, 1)], "c": [(-1, -1)]}
    cosine = make_matcher(people, match=match, threshold=threshold)
    euclidean = make_matcher(
        people, match=match, metric="euclidean", threshold=(2 * threshold) ** 0.5
    )
    least = distance_to_similarity(threshold, "cosine")
    similarities = [found.similarity for match in cosine.match(faces) for found in match.candidates]
    if np.abs(np.array(similarities) - least).min() < 1e-5:
        return
    names = [found.name for found in cosine.match(faces)]
    assert names == [found.name for found in euclidean.match(faces)]
    given_names = [name for name in names if name]
    assert len(given_names) == len(set(given_names))


def test_a_gallery_calibrated_on_its_own_people_decides_by_that() -> None:
    calibration = {"data": "own", "pairs": 10, "thresholds": {"1e-3": 0.01}}
    gallery = with_card(make_card(2, calibration=calibration))
    gallery.add("a", [make_face(1, 0)], "a.jpg")
    strict = Matcher(gallery, RecognizeSection(), make_card(2))
    assert strict.threshold == 0.01
    assert strict.match(unit((1, 0.3)))[0].name is None


MODEL = {"data": "lfw", "pairs": 6000, "thresholds": {"1e-3": 0.4}}
LATER = {"data": "mine", "pairs": 200, "thresholds": {"1e-3": 0.3}}


def threshold_of(card: ModelCard, model: ModelCard) -> float:
    return Matcher(with_card(card), RecognizeSection(), model).threshold


def test_a_model_that_is_calibrated_anew_decides_in_galleries_made_before(tmp_path: Path) -> None:
    model, later = make_card(2, calibration=MODEL), make_card(2, calibration=LATER)
    Gallery(model).save(tmp_path / "1.h5")
    with changing(tmp_path / "2.h5", create=model):
        pass
    for path in tmp_path.iterdir():
        assert threshold_of(Gallery.open(path).card, later) == 0.3


@pytest.mark.parametrize("whose", ["model", "gallery", None])
def test_whose_thresholds_a_card_holds_is_not_said_anew(whose: str | None, tmp_path: Path) -> None:
    card = make_card(2, calibration=MODEL, calibrated_for=whose)
    if whose:
        assert Gallery(card).card == card
    source, target = with_card(card), str(tmp_path / "g.h5")
    source.add("a", [make_face(1, 0)], "a.jpg")
    assert in_memory(source).card == card
    with replacing(target, card):
        pass
    assert open_gallery(target).card == card
    export_gallery(source, tmp_path / "g.npz", "npz")
    assert import_gallery(tmp_path / "g.npz").card == card


def test_thresholds_written_into_a_gallery_outlast_those_of_the_model(tmp_path: Path) -> None:
    model, path = make_card(2, calibration=MODEL), tmp_path / "g.h5"
    Gallery(model).save(path)
    own = Calibration(data="own", pairs=100, thresholds={"1e-3": 0.01})
    assert write_calibration(path, model, own, None) is None
    card = Gallery.open(path).card
    assert threshold_of(card, model) == threshold_of(card, make_card(2, calibration=LATER)) == 0.01


def test_a_model_without_thresholds_leaves_those_that_the_gallery_was_made_with() -> None:
    card = make_card(2, calibration=MODEL).for_gallery()
    assert threshold_of(card, make_card(2, calibration=None)) == 0.4


@pytest.mark.parametrize("cohort", [True, False], ids=["now", "before cohorts"])
def test_an_older_gallerys_thresholds_are_the_models_if_they_were_published_with_it(
    cohort: bool,
) -> None:
    published = find_model("dlib_resnet").card
    assert published.calibration is not None
    known = published.calibration
    older = published.model_copy(
        update={"calibration": known if cohort else known.model_copy(update={"cohort": None})}
    )
    again = published.model_copy(update={"calibration": Calibration.model_validate(LATER)})
    assert threshold_of(older, again) == 0.3


def test_only_faces_with_the_metadata_count() -> None:
    gallery = Gallery(make_card(2))
    gallery.add("a", [make_face(1, 0)], "1.jpg", meta={"team": "red"})
    gallery.add("b", [make_face(1, 0.1)], "2.jpg", meta={"team": "blue"})
    for match in ("template", "exemplar"):
        section = RecognizeSection.model_validate({"where": {"team": "blue"}, "match": match})
        found = Matcher(gallery, section, gallery.card).match(unit((1, 0)))[0]
        assert [candidate.name for candidate in found.candidates] == ["b"]


def test_another_models_vectors_are_refused() -> None:
    with pytest.raises(IncompatibleError, match="was built with small"):
        Matcher(Gallery(make_card(2)), RecognizeSection(), make_card(2, flip=True))


def test_a_face_leans_to_who_it_was_even_beyond_the_nearest() -> None:
    people = {"a": [(1, 0)], "b": [(1, 0.1)], "c": [(1, 0.3)], "d": [(0, 1)]}
    matcher = make_matcher(people, threshold=1.0, candidates=1)
    (free,) = matcher.match(unit((1, 0)))
    (held,) = matcher.match(unit((1, 0)), ["c"], 0.1)
    (far,) = matcher.match(unit((1, 0)), ["d"], 0.1)
    (gone,) = matcher.match(unit((1, 0)), ["nobody"], 0.1)
    assert [match.name for match in (free, held, far, gone)] == ["a", "c", "a", "a"]
    assert held.nearest is not None and held.nearest.name == "c"
    assert held.nearest.similarity == pytest.approx(1 / (1 + 0.3**2) ** 0.5, abs=1e-6)
    assert [candidate.name for candidate in held.candidates] == ["a"]


def test_vectors_that_are_no_unit_vectors_are_refused() -> None:
    matcher = make_matcher({"a": [(1, 0)]})
    with pytest.raises(UsageError, match="query 0 has length 10: give unit vectors"):
        matcher.match(10 * unit((0.6, 0.8)))
    with pytest.raises(UsageError, match=r"of shape \(2,\)"):
        matcher.match(unit((1, 0))[0])


def test_faces_that_were_only_detected_are_refused() -> None:
    detected = replace(make_face(1, 0), embedding=None)
    with pytest.raises(UsageError, match=r"no embedding: Engine\.embed gives faces with one"):
        make_matcher({"a": [(1, 0)]}).match_faces([make_face(1, 0), detected])


def test_a_matcher_goes_by_the_thresholds_that_its_gallery_is_given() -> None:
    matcher = make_matcher({"a": [(1, 0)]})
    assert matcher.match(unit((1, 0.3)))[0].name == "a"
    calibration = {"data": "own", "pairs": 10, "thresholds": {"1e-3": 0.01}}
    matcher.gallery.card = make_card(2, calibration=calibration)
    assert matcher.threshold == 0.01
    assert matcher.match(unit((1, 0.3)))[0].name is None
