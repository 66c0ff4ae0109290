"""What a cosine means for a gallery: false names by its size, probabilities, thresholds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from facerec import Gallery, Matcher
from facerec.card import Calibration, Cohort, ModelCard
from facerec.errors import UsageError
from facerec.evaluation.cohort import _RATES, _spread, measure_cohort
from facerec.evaluation.reliability import calibration_error, held_out_reliability, reliability
from facerec.gallery.certainty import Certainty
from facerec.gallery.entries import Entries
from facerec.gallery.match import (
    certainty_of,
    comparing,
    deciding_card,
    decision_threshold,
)
from facerec.profile.schema import RecognizeSection
from facerec.weights.store import load_card
from tests.conftest import make_card, make_face

PEOPLE, PHOTOS, SIZE = 400, 3, 16


def make_people(seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Unit vectors of people who differ more than their photos do."""
    dice = np.random.default_rng(seed)
    centres = dice.normal(size=(PEOPLE, 1, SIZE))
    photos = centres + 0.6 * dice.normal(size=(PEOPLE, PHOTOS, SIZE))
    vectors = photos.reshape(-1, SIZE).astype(np.float32)
    names = [str(person) for person in range(PEOPLE) for _ in range(PHOTOS)]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), names


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    found = measure_cohort(*make_people())
    assert found is not None
    return found


def card_with(cohort: Cohort | None) -> ModelCard:
    calibration = Calibration(data="x", pairs=10, thresholds={"1e-3": 0.2}, cohort=cohort)
    return make_card(SIZE, calibration=calibration)


@pytest.mark.parametrize("size", [1, 10, 100])
@pytest.mark.parametrize("rate", [0.1, 0.01])
def test_strangers_are_named_as_often_as_asked_whatever_the_gallerys_size(
    cohort: Cohort, size: int, rate: float
) -> None:
    vectors, _ = make_people(seed=1)
    threshold = Certainty(cohort, {1: size}).threshold(rate)
    photos, found = vectors.reshape(PEOPLE, PHOTOS, SIZE)[:, 0], []
    for draw in range(40):
        people = np.random.default_rng(draw).permutation(PEOPLE)
        nearest = (photos[people[size:]] @ photos[people[:size]].T).max(axis=1)
        found.append(np.mean(nearest >= threshold))
    assert rate / 1.5 < np.mean(found) < rate * 1.5


def test_one_person_is_met_at_the_cohorts_rates(cohort: Cohort) -> None:
    rates = Certainty(cohort, {1: 1}).false_name_rate(cohort.cosines)
    np.testing.assert_allclose(rates, cohort.impostor[1], rtol=1e-6)


def test_strangers_too_few_to_be_counted_do_not_bend_the_spread() -> None:
    """At a rate of 1e-5 these meet nobody twice, which says nothing of how they differ."""
    dice = np.random.default_rng(1)
    scores = (0.3 * dice.normal(size=(500, 1)) + dice.normal(size=(500, 500))).astype(np.float32)
    ranked = np.sort(scores, axis=None)[::-1]
    cosines = np.array([ranked[int(rate * scores.size)] for rate in (*_RATES[:-6], *[1e-6] * 6)])
    spread = _spread(scores, cosines)
    assert (np.diff(spread[-6:]) > 0).all()


def test_everybody_enrolled_makes_false_names_likelier(cohort: Cohort) -> None:
    rates = [
        Certainty(cohort, enrolled).false_name_rate([0.8])[0]
        for enrolled in ({1: 1}, {1: 10}, {1: 90}, {1: 90, 2: 10})
    ]
    assert rates == sorted(rates)
    assert Certainty(cohort, {50: 10}).threshold(0.01) == Certainty(cohort, {2: 10}).threshold(0.01)


def test_probabilities_rise_with_the_cosine_and_fall_with_the_gallery(cohort: Cohort) -> None:
    cosines = np.linspace(-1, 1, 201)
    told = [Certainty(cohort, {1: size}).probability(cosines) for size in (1, 30, 1000)]
    for one in told:
        assert (np.diff(one) >= 0).all()
        assert 0 < one.min() < 0.01
        assert one.max() < 1
    assert (told[0] >= told[1] - 2e-3).all()
    assert (told[1] >= told[2] - 2e-3).all()


def test_a_share_p_of_pairs_told_with_probability_p_shows_one_person(cohort: Cohort) -> None:
    vectors, _ = make_people(seed=2)
    photos = vectors.reshape(PEOPLE, PHOTOS, SIZE)
    genuine = np.einsum("pd,pd->p", photos[:, 0], photos[:, 1])
    impostor = np.einsum("pd,pd->p", photos[:, 0], np.roll(photos[:, 1], 1, axis=0))
    probability = Certainty(cohort, {1: 1}).probability(np.concatenate([genuine, impostor]))
    assert calibration_error(probability, np.repeat([True, False], PEOPLE)) < 0.05


def test_reliability_counts_every_answer_once() -> None:
    curve = reliability([0.0, 0.02, 0.5, 1.0], [False, False, True, True])
    assert curve.answers.tolist() == [2, 1, 1]
    assert curve.right.tolist() == [0, 1, 1]
    assert curve.error == pytest.approx((2 * 0.01 + 0.5) / 4)


def test_few_people_or_one_photo_each_give_no_cohort() -> None:
    vectors, names = make_people()
    assert measure_cohort(vectors[:60], names[:60]) is None
    assert measure_cohort(vectors[::PHOTOS], names[::PHOTOS]) is None


@pytest.mark.parametrize("spread", [1e-3, 0])
def test_people_who_all_look_alike_to_a_model_give_no_cohort(spread: float) -> None:
    # As to a network that was never trained, which `evaluate lfw --report` may be given.
    vectors, people = make_people()
    alike = 1 + spread * vectors
    alike /= np.linalg.norm(alike, axis=1, keepdims=True)
    assert measure_cohort(alike.astype(np.float32), people) is None


def test_a_cohort_is_the_same_for_the_same_photos_and_ignores_those_without_a_vector(
    cohort: Cohort,
) -> None:
    vectors, names = make_people()
    nothing = np.full((5, SIZE), np.nan, np.float32)
    assert measure_cohort(np.concatenate([vectors, nothing]), [*names, *"abcde"]) == cohort
    assert Cohort.model_validate_json(cohort.model_dump_json()) == cohort
    assert len(cohort.model_dump_json()) < 2000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cosines": (0.5, 0.4)}, "do not rise"),
        ({"spread": (1.0,)}, "differ in length"),
        ({"impostor": {2: (0.5, 0.1)}}, "one photo"),
        ({"impostor": {1: (0.5, 0.0)}}, "rate of 0"),
        ({"impostor": {1: (0.1, 0.5)}}, "rise with the cosine"),
        ({"genuine": {1: (0.9, 1.0)}}, "rise with the cosine"),
    ],
)
def test_a_damaged_cohort_is_refused(change: dict, message: str) -> None:
    fields = {
        "people": 50,
        "cosines": (0.4, 0.5),
        "impostor": {1: (0.5, 0.1)},
        "genuine": {1: (1.0, 0.9)},
        "spread": (1.0, 1.0),
    }
    Cohort.model_validate(fields)
    with pytest.raises(ValidationError, match=message):
        Cohort.model_validate(fields | change)


def test_the_threshold_asked_for_by_false_names_tightens_with_the_gallery(cohort: Cohort) -> None:
    card, distances = card_with(cohort), []
    for people in (2, 200):
        gallery = Gallery(card)
        for number in range(people):
            gallery.add(str(number), [make_face(*np.eye(SIZE)[number % SIZE])], f"{number}.jpg")
        distances.append(Matcher(gallery, RecognizeSection(max_false_names=1e-3), card).threshold)
    assert distances[0] > distances[1] > 0


def test_an_explicit_threshold_comes_before_false_names_and_these_before_far(
    cohort: Cohort,
) -> None:
    card = card_with(cohort)
    section = RecognizeSection(threshold=0.3, max_false_names=0.01)
    assert decision_threshold(card, section) == ("cosine", 0.3)
    asked = section.model_copy(update={"threshold": None})
    limit = 1 - Certainty(cohort, {1: 1}).threshold(0.01)
    assert decision_threshold(card, asked)[1] == pytest.approx(limit)
    assert decision_threshold(card, RecognizeSection())[1] == 0.2


def test_a_persons_mean_is_compared_as_one_of_so_many_photos(cohort: Cohort) -> None:
    # A stranger comes nearer to a mean of several photos than to one.
    card, section = card_with(cohort), RecognizeSection(max_false_names=0.01)
    metric, limit, certainty = comparing(card, section, 2)
    alone = comparing(card, section)
    assert limit < alone[1] == decision_threshold(card, section)[1]
    assert limit == pytest.approx(1 - Certainty(cohort, {2: 1}).threshold(0.01))
    assert metric == "cosine" and certainty is not None and alone[2] is not None
    assert certainty.probability([0.75])[0] < alone[2].probability([0.75])[0]
    assert comparing(card, RecognizeSection(), 2)[1] == 0.2
    assert comparing(card_with(None), RecognizeSection(), 2)[2] is None


def test_a_card_without_a_cohort_tells_none_and_refuses_false_names() -> None:
    card, gallery = card_with(None), Gallery(card_with(None))
    gallery.add("Ada", [make_face(*np.eye(SIZE)[0])], "a.jpg")
    (match,) = Matcher(gallery, RecognizeSection(), card).match(np.eye(SIZE, dtype=np.float32)[:1])
    assert match.name == "Ada"
    assert match.probability is None
    with pytest.raises(UsageError, match="no cohort of strangers"):
        Matcher(gallery, RecognizeSection(max_false_names=0.01), card)


def older(card: ModelCard) -> Gallery:
    """A gallery that does not say whose its thresholds are."""
    return Gallery(card, entries=Entries.empty(SIZE))


def test_a_gallery_older_than_the_models_cohort_takes_it(cohort: Cohort) -> None:
    old, new = card_with(None), card_with(cohort)
    assert deciding_card(older(old), new, "g.h5") == new
    own = old.model_copy(update={"calibration": Calibration(data="own", pairs=9, thresholds={})})
    assert deciding_card(older(own), new, "g.h5") == own


def test_matches_tell_the_probability_of_the_nearest_person_by_photos_too(cohort: Cohort) -> None:
    card = card_with(cohort)
    gallery = Gallery(card)
    axis = np.eye(SIZE, dtype=np.float32)
    gallery.add("Ada", [make_face(*axis[0]), make_face(*axis[0])], "a.jpg")
    for by in ("template", "exemplar"):
        matcher = Matcher(gallery, RecognizeSection(match=by), card)
        known, stranger = matcher.match(axis[:2])
        assert known.probability > 0.9 > 0.1 > stranger.probability
    assert Matcher(Gallery(card), RecognizeSection(), card).match(axis[:1])[0].probability is None


def test_a_second_person_as_similar_halves_the_probability(cohort: Cohort) -> None:
    card = card_with(cohort)
    axis = np.eye(SIZE, dtype=np.float32)
    gallery = Gallery(card)
    for name in ("Ada", "Ada again", "Ben"):
        gallery.add(name, [make_face(*axis[int(name == "Ben")])], f"{name}.jpg")
    # The second competes whether it is among the candidates or not.
    for section in (RecognizeSection(), RecognizeSection(candidates=1, unique=False)):
        ada, ben = Matcher(gallery, section, card).match(axis[:2])
        assert ada.name == "Ada"
        assert ada.probability == pytest.approx(0.5, abs=0.01)
        assert ben.probability > 0.9


def test_a_face_left_to_the_second_most_similar_person_is_hardly_that_persons(
    cohort: Cohort,
) -> None:
    card = card_with(cohort)
    axis = np.eye(SIZE, dtype=np.float32)
    gallery = Gallery(card)
    near = axis[0] + 0.3 * axis[1]
    gallery.add("Ada", [make_face(*axis[0])], "a.jpg")
    gallery.add("Ben", [make_face(*(near / np.linalg.norm(near)))], "b.jpg")
    section = RecognizeSection(unique=True, threshold=0.5)
    first, second = Matcher(gallery, section, card).match(axis[[0, 0]])
    assert (first.name, second.name) == ("Ada", "Ben")
    assert second.probability <= first.probability == pytest.approx(0.5, abs=0.01)


def test_probabilities_are_finite_and_fall_with_the_second_persons_cosine(cohort: Cohort) -> None:
    cosines = np.linspace(-1, 1, 41)
    first, second = (each.ravel() for each in np.meshgrid(cosines, cosines, indexing="ij"))
    for enrolled in ({}, {1: 1}, {1: 3, 2: 5}, {1: 10**6}):
        certainty = Certainty(cohort, enrolled)
        told = certainty.probability(first, second).reshape(41, 41)
        assert np.isfinite(told).all() and (told > 0).all() and (told < 1).all()
        assert (np.diff(told, axis=0) >= 0).all() and (np.diff(told, axis=1) <= 0).all()


@pytest.mark.parametrize(
    ("model", "distance"), [("dlib_resnet", 0.0742), ("dlib_resnet_views", 0.0694)]
)
def test_the_shipped_cards_hold_rates_of_strangers(model: str, distance: float) -> None:
    certainty = certainty_of(load_card(model))
    assert certainty is not None
    assert 1 - certainty.threshold(1e-3) == pytest.approx(distance, abs=0.001)
    assert certainty.probability([0.85])[0] < 0.01 < 0.99 < certainty.probability([0.96])[0]


def test_pairs_of_people_nobody_names_have_no_reliability(data: Path) -> None:
    from facerec.evaluation.protocols.lfw import read_lfw

    pairs = (data / "lfw" / "pairs.txt").read_bytes()
    protocol = read_lfw(pairs, "pairs.txt")
    assert protocol.people is not None
    assert len(set(protocol.people)) == 4281
    nameless = type(protocol)(
        protocol.name, protocol.keys, protocol.pairs, protocol.same, protocol.folds
    )
    assert held_out_reliability(np.zeros((len(protocol.keys), 4), np.float32), nameless) is None


@pytest.mark.parametrize("match", ["template", "exemplar"])
@pytest.mark.parametrize("begun_with", [0, 1, 5])
def test_a_matcher_decides_by_the_people_enrolled_now(
    cohort: Cohort, match: str, begun_with: int
) -> None:
    vectors, names = make_people(seed=1)
    section = RecognizeSection.model_validate({"max_false_names": 0.01, "match": match})
    gallery, card = Gallery(card_with(cohort)), card_with(cohort)

    def enrol(rows: range) -> None:
        for row in rows:
            gallery.add(names[row], [make_face(*vectors[row])], f"{row}.jpg")

    enrol(range(begun_with))
    early = Matcher(gallery, section, card)
    enrol(range(begun_with, 60))
    late = Matcher(gallery, section, card)
    assert early.threshold == late.threshold
    assert early.match(vectors[60:160]) == late.match(vectors[60:160])
    for name in list(gallery.counts())[1:]:
        gallery.remove(name)
    assert early.threshold == Matcher(gallery, section, card).threshold


@pytest.mark.parametrize("match", ["template", "exemplar"])
def test_with_nobody_enrolled_the_threshold_is_that_of_one_person(
    cohort: Cohort, match: str
) -> None:
    section = RecognizeSection.model_validate({"max_false_names": 0.01, "match": match})
    gallery, card = Gallery(card_with(cohort)), card_with(cohort)
    empty = Matcher(gallery, section, card).threshold
    gallery.add("a", [make_face(*make_people()[0][0])], "a.jpg")
    assert empty == Matcher(gallery, section, card).threshold
