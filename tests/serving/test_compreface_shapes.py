"""CompreFace's shapes, of our faces: what its clients read."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from facerec.faces import Face
from facerec.gallery.base import Hit
from facerec.gallery.certainty import Certainty
from facerec.serving.compreface.shapes import Scale, counted, face_record, page_of


def face(x: float, y: float, side: float, score: float = 0.9) -> Face:
    box = np.array([x, y, x + side, y + side], np.float32)
    vector = np.array([0.6, 0.8], np.float32)
    return Face(box, score, np.full((5, 2), x + 0.4, np.float32), vector)


@pytest.mark.parametrize(("threshold", "metric"), [(0.085, "cosine"), (1.1, "euclidean")])
def test_the_threshold_is_a_half_and_similarity_falls_with_distance(threshold, metric):
    scale = Scale(threshold, metric)
    at = 1 - (threshold if metric == "cosine" else threshold**2 / 2)
    assert scale.similarity(at) == 0.5
    values = [scale.similarity(cosine) for cosine in np.linspace(1, -1, 50)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.9999 and values[-1] < 0.0001


def test_clients_thresholds_part_people_from_strangers():
    scale = Scale(0.085, "cosine")
    # Double Take calls a face known from 0.6 on, Home Assistant's integration beyond 0.8.
    assert scale.similarity(1 - 0.5 * 0.085) > 0.8
    assert scale.similarity(1 - 1.1 * 0.085) < 0.4


class _Half(Certainty):
    """Half of a cosine is the probability, less a tenth of the second one's."""

    def __init__(self) -> None:
        """Needs no cohort."""

    def probability(
        self, cosine: ArrayLike, second: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        return np.asarray(cosine, float) / 2 - np.asarray(second or 0, float) / 10


def test_a_probability_is_told_of_the_most_similar_where_the_card_knows_one():
    scale, hits = Scale(0.085, "cosine", _Half()), [Hit("ann", 0.96), Hit("bob", 0.9)]
    ann, bob = scale.likenesses(hits, 2)
    assert ann == {"subject": "ann", "similarity": scale.similarity(0.96), "probability": 0.39}
    assert bob == {"subject": "bob", "similarity": scale.similarity(0.9)}
    # Bob competes with Ann whether he is asked for or not.
    assert scale.likenesses(hits, 1) == [ann]
    assert Scale(0.085, "cosine").likenesses(hits, 1) == [
        {"subject": "ann", "similarity": scale.similarity(0.96)}
    ]
    assert scale.likenesses([], 1) == []
    assert scale.likeness(0.96) == {"similarity": scale.similarity(0.96), "probability": 0.48}


def test_a_threshold_of_zero_is_no_division():
    assert Scale(0.0, "cosine").similarity(0.9) == 0


def test_the_largest_faces_count_and_weak_ones_do_not():
    small, large, weak = face(0, 0, 10), face(0, 0, 30), face(0, 0, 50, 0.5)
    assert counted([small, large, weak], least=0.8, limit=0) == [large, small]
    assert counted([small, large, weak], least=0.0, limit=2) == [weak, large]


def test_a_face_has_a_box_inside_the_image_and_what_was_asked_for():
    record = face_record(face(-3.2, 90.6, 20), (100, 200), [], None)
    assert record == {
        "box": {"probability": 0.9, "x_min": 0, "y_min": 91, "x_max": 17, "y_max": 100}
    }
    full = face_record(face(10, 10, 20), (100, 200), ["landmarks", "calculator", "age"], 12.34)
    assert full["landmarks"] == [[10, 10]] * 5
    assert full["embedding"] == pytest.approx([0.6, 0.8])
    assert full["execution_time"] == {"detector": 12.3}
    assert "age" not in full


def test_pages_go_over_people():
    counts = {"a": 3, "b": 0, "c": 4}
    assert page_of(counts, 0, 2) == [("a", 0, 2)]
    assert page_of(counts, 1, 2) == [("a", 2, 3), ("c", 0, 1)]
    assert page_of(counts, 0, 20) == [("a", 0, 3), ("c", 0, 4)]
    assert page_of(counts, 4, 2) == []
