from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facerec.card import (
    Metric,
    ModelCard,
    convert_distance,
    distance_to_similarity,
    similarity_to_distance,
)
from facerec.errors import IncompatibleError, MissingError, UsageError
from tests.conftest import make_card


def test_a_card_survives_being_stored() -> None:
    card = make_card()
    assert ModelCard.from_json(card.to_json(), "here") == card


@pytest.mark.parametrize(
    "change",
    [{"mean": (1, 2, 3)}, {"colour": "BGR"}, {"flip": True}, {"sha256": "1" * 64}],
)
def test_what_changes_vectors_changes_the_fingerprint(change: dict) -> None:
    assert make_card(**change).fingerprint() != make_card().fingerprint()


def test_thresholds_and_prose_leave_the_fingerprint_alone() -> None:
    other = make_card(calibration=None, licence="MIT", name="renamed", metric="euclidean")
    assert other.fingerprint() == make_card().fingerprint()


def test_two_models_are_refused_by_name() -> None:
    other = make_card(name="other", flip=True)
    with pytest.raises(IncompatibleError, match=r"g\.h5 was built with other .* this is small"):
        make_card().require_same_model(other, "g.h5")


def test_of_one_name_it_is_told_what_differs() -> None:
    other = make_card(augment="flip", colour="BGR")
    with pytest.raises(IncompatibleError, match=r"\), with another colour and augment; rebuild"):
        make_card().require_same_model(other, "g.h5")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "x"}', "null"])
def test_a_damaged_card_is_one_clear_line(text: str) -> None:
    with pytest.raises(MissingError, match=r"^here: invalid model card: [^\n]*$"):
        ModelCard.from_json(text, "here")


def test_a_threshold_is_found_by_its_rate_however_it_is_written() -> None:
    assert make_card().threshold(0.001) == 0.4


def test_an_uncalibrated_rate_names_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"far 0\.01 \(known: 1e-3\)"):
        make_card().threshold(0.01)


def test_a_cosine_threshold_means_the_same_in_euclidean() -> None:
    limit = make_card().threshold(1e-3, "euclidean")
    assert limit == pytest.approx(math.sqrt(2 * 0.4))


@given(st.floats(-1, 1), st.sampled_from(["cosine", "euclidean"]))
def test_distance_and_similarity_are_inverse(similarity: float, metric: str) -> None:
    distance = similarity_to_distance(similarity, metric)  # type: ignore[arg-type]
    assert distance >= 0
    back = distance_to_similarity(distance, metric)  # type: ignore[arg-type]
    assert back == pytest.approx(similarity, abs=1e-12)


@pytest.mark.parametrize(
    "use",
    [
        lambda: make_card().threshold(1e-3, "Cosine"),  # type: ignore[arg-type]
        lambda: similarity_to_distance(0.5, "Cosine"),  # type: ignore[arg-type]
        lambda: distance_to_similarity(0.5, "Cosine"),  # type: ignore[arg-type]
        lambda: convert_distance(0.5, "Cosine", "Cosine"),  # type: ignore[arg-type]
    ],
)
def test_a_misspelt_metric_is_refused_with_the_nearest(use: Callable[[], float]) -> None:
    with pytest.raises(UsageError, match="no metric is called Cosine; did you mean cosine"):
        use()


@pytest.mark.parametrize("metric", ["l2", 2])
def test_what_is_no_metric_is_refused_with_those_there_are(metric: str | int) -> None:
    with pytest.raises(UsageError, match=f"called {metric}; there are cosine, euclidean"):
        similarity_to_distance(0.5, metric)  # type: ignore[arg-type]


def test_an_augment_that_there_is_not_makes_no_card() -> None:
    with pytest.raises(UsageError, match="no augment is called mirror; there are none, flip"):
        make_card().with_augment("mirror")  # type: ignore[arg-type]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_rounding_makes_no_distance_negative(metric: Metric) -> None:
    assert str(similarity_to_distance(1.0000001, metric)) == "0.0"
    assert similarity_to_distance(-1.0000001, metric) == 2


@given(st.floats(0, 2))
def test_converting_a_distance_and_back_changes_nothing(distance: float) -> None:
    there = convert_distance(distance, "cosine", "euclidean")
    assert convert_distance(there, "euclidean", "cosine") == pytest.approx(distance, abs=1e-12)
