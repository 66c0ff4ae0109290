"""Scoring of detectors, on data made by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from facerec.errors import InputError
from facerec.evaluation.detection import (
    AnnotatedImage,
    Ellipse,
    Rectangle,
    average_precision,
    evaluate_detectors,
    match_detections,
    of_every_score,
    read_fddb,
    read_wider_face,
    recall_at_false_positives,
    with_all_scores,
)
from facerec.faces import Face, Image
from facerec.imaging.archives import open_source
from facerec.profile.schema import DetectorSection


def face(x1: float, y1: float, x2: float, y2: float, score: float = 0.9) -> Face:
    box = np.array([x1, y1, x2, y2], np.float32)
    return Face(box=box, score=score, landmarks=np.zeros((5, 2), np.float32))


def ellipse_mask(ellipse: Ellipse, side: int) -> np.ndarray:
    y, x = (np.mgrid[:side, :side] + 0.5) - np.array([ellipse.y, ellipse.x])[:, None, None]
    cosine, sine = math.cos(ellipse.angle), math.sin(ellipse.angle)
    along, across = x * cosine + y * sine, y * cosine - x * sine
    return (along / ellipse.major) ** 2 + (across / ellipse.minor) ** 2 <= 1


@pytest.mark.parametrize("angle", [0, 0.5, math.pi / 2, -1.2])
@pytest.mark.parametrize("box", [(100, 100, 300, 300), (150, 50, 260, 200), (0, 0, 400, 400)])
def test_an_ellipses_overlap_is_that_of_its_pixels(angle: float, box: tuple[int, ...]) -> None:
    ellipse = Ellipse(120, 70, angle, 200, 190)
    mask = ellipse_mask(ellipse, 400)
    inside = np.zeros_like(mask)
    inside[box[1] : box[3], box[0] : box[2]] = True
    expected = (mask & inside).sum() / (mask | inside).sum()
    assert ellipse.overlap(np.array(box, np.float32)) == pytest.approx(expected, abs=3e-3)


@pytest.mark.parametrize("angle", [0, 0.7, math.pi / 2])
@pytest.mark.parametrize("box", [(0, 0, 90, 130), (-40, -30, 90, 130), (150, 150, 300, 290)])
def test_what_lies_outside_the_image_does_not_count(angle: float, box: tuple[int, ...]) -> None:
    ellipse = Ellipse(90, 60, angle, 30, 40) if box[0] <= 0 else Ellipse(90, 60, angle, 190, 200)
    mask = ellipse_mask(ellipse, 220)
    inside = np.zeros_like(mask)
    x1, y1, x2, y2 = np.clip(box, 0, 220)
    inside[y1:y2, x1:x2] = True
    expected = (mask & inside).sum() / (mask | inside).sum()
    seen = ellipse.within(220, 220)
    assert seen.overlap(np.array(box, np.float32)) == pytest.approx(expected, abs=5e-3)
    assert ellipse.overlap(np.array(box, np.float32)) != pytest.approx(expected, abs=5e-3)


def test_an_ellipse_or_a_box_outside_the_image_overlaps_nothing() -> None:
    box = np.array([-30, 10, -10, 30], np.float32)
    assert Ellipse(20, 10, 0.3, -20, 20).within(50, 50).overlap(box) == 0
    assert Ellipse(20, 10, 0.3, 20, 20).within(50, 50).overlap(box) == 0


def test_an_ellipse_far_away_overlaps_nothing() -> None:
    assert Ellipse(20, 10, 0.3, 50, 50).overlap(np.array([0, 200, 10, 210], np.float32)) == 0


def test_two_detections_of_one_face_are_one_true_and_one_false() -> None:
    outcome = match_detections(
        [face(1, 0, 10, 10, 0.6), face(0, 0, 10, 10, 0.9)], [Rectangle(0, 0, 10, 10)]
    )
    assert outcome == [(0.9, True), (0.6, False)]


def test_finding_an_ignored_face_counts_for_nothing() -> None:
    assert match_detections([face(0, 0, 10, 10)], [Rectangle(0, 0, 10, 10, ignored=True)]) == []


def test_average_precision_of_a_known_ranking() -> None:
    # precision at the three true ones: 1, 2/3, 3/4, made monotone 1, 3/4, 3/4; one face is missed
    true = np.array([True, False, True, True])
    assert average_precision(true, 4) == pytest.approx((1 + 0.75 + 0.75) / 4)


def test_average_precision_without_detections_is_zero() -> None:
    assert average_precision(np.zeros(0, bool), 3) == 0


def test_recall_at_false_positives_takes_equal_scores_together() -> None:
    scores = np.array([0.9, 0.8, 0.8, 0.7], np.float32)
    true = np.array([True, True, False, True])
    assert recall_at_false_positives(scores, true, 4, 0) == 0.25
    assert recall_at_false_positives(scores, true, 4, 1) == 0.75


def write_fddb(root: Path, angle: str) -> None:
    (root / "FDDB-folds").mkdir()
    (root / "FDDB-folds" / "FDDB-fold-01-ellipseList.txt").write_text(
        f"2002/08/11/big/img_591\n1\n123.58 85.55 {angle} 269.69 161.78  1\n"
        "2002/08/26/big/img_265\n2\n67.36 44.51 0.1 105.25 87.21  1\n41 27 0.2 184.07 129.35  1\n"
    )


@pytest.mark.parametrize(("written", "radians"), [("1.265839", 1.265839), ("90", math.pi / 2)])
def test_fddb_is_read_in_radians_or_degrees(tmp_path: Path, written: str, radians: float) -> None:
    write_fddb(tmp_path, written)
    first, second = read_fddb(open_source(tmp_path))
    assert first.key == "2002/08/11/big/img_591.jpg"
    assert first.faces == (Ellipse(123.58, 85.55, pytest.approx(radians), 269.69, 161.78),)
    assert len(second.faces) == 2


def test_wider_face_is_read_with_its_ignored_faces(tmp_path: Path) -> None:
    file = tmp_path / "wider_face_val_bbx_gt.txt"
    file.write_text(
        "0--Parade/one.jpg\n2\n10 20 30 40 0 0 0 0 0 0 \n5 5 8 8 2 0 0 1 0 0 \n"
        "1--Nobody/none.jpg\n0\n0 0 0 0 0 0 0 0 0 0 \n"
        "2--Demo/three.jpg\n1\n1 2 3 4 0 0 0 0 0 0 \n"
    )
    one, none, three = read_wider_face(file)
    assert one.faces == (Rectangle(10, 20, 40, 60), Rectangle(5, 5, 13, 13, ignored=True))
    assert none == AnnotatedImage("1--Nobody/none.jpg", ())
    assert three.faces == (Rectangle(1, 2, 4, 6),)


@pytest.mark.parametrize(
    "text", ["a\nmany\n", "a\n2\n1 2 3 4\n", "a\n1\n1 2\n", "a\n-1\n1 2 3 4\n", "a\n1\n1 2 nan 4\n"]
)
def test_a_broken_annotation_names_its_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "gt.txt"
    file.write_text(text)
    with pytest.raises(InputError, match=r"gt\.txt:1: not a name"):
        read_wider_face(file)


def test_a_folder_that_is_not_fddb_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ellipseList"):
        read_fddb(open_source(tmp_path))


class Fixed:
    """A detector that always finds the same."""

    def __init__(self, *faces: Face) -> None:
        self._faces = list(faces)

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        return [self._faces for _ in images]


def test_a_face_cut_by_the_images_edge_is_found_by_a_box_that_ends_there() -> None:
    cut = AnnotatedImage("a", (Ellipse(40, 30, math.pi / 2, 0, 50),))
    box = face(0, 12, 29, 88)
    assert cut.faces[0].overlap(box.box) < 0.5
    reports = evaluate_detectors(
        {"one": Fixed(box)}, [cut], lambda key: np.zeros((100, 100, 3), np.uint8)
    )
    assert (reports["one"].precision, reports["one"].recall) == (1, 1)


def test_the_curve_goes_on_below_the_score_at_which_precision_and_recall_are_told() -> None:
    pictures = [
        AnnotatedImage("a", (Rectangle(0, 0, 10, 10),)),
        AnnotatedImage("b", (Rectangle(50, 50, 60, 60),)),
    ]
    strong = face(0, 0, 10, 10, score=0.9)
    weak = face(50, 50, 60, 60, score=0.3)
    reports = evaluate_detectors(
        {"one": Fixed(strong)}, pictures, lambda path: np.zeros((8, 8, 3), np.uint8),
        curves={"one": Fixed(strong, weak)},
    )  # fmt: skip
    one = reports["one"]
    assert (one.precision, one.recall) == (0.5, 0.5)
    assert one.recall_at == dict.fromkeys((20, 50, 100, 500, 1000), 1.0)
    assert one.recalls.tolist() == [0.5, 0.5, 0.5, 1.0]


def test_the_curve_has_what_a_second_look_found_once() -> None:
    weak, doubt = face(0, 0, 9, 10, score=0.3), face(50, 50, 60, 60, score=0.1)
    assert of_every_score([], [weak, doubt]) == [weak, doubt]
    strong = face(0, 0, 10, 10, score=0.9)
    assert of_every_score([strong], [strong, weak, doubt]) == [strong, weak, doubt]
    assert of_every_score([strong], [weak, doubt]) == [strong, doubt]
    assert of_every_score([strong], []) == [strong]


@pytest.mark.parametrize("name", ["mtcnn", "mtcnn-tensorflow", "yunet", "centerface"])
def test_every_detector_is_asked_for_low_scores(name: str) -> None:
    given = DetectorSection(name=name)
    lower = with_all_scores(given)
    if name.startswith("mtcnn"):
        assert lower.thresholds == (0.6, 0.7, 0.05)
    else:
        assert (lower.score, lower.landmarks) == (0.05, "own")
        assert with_all_scores(given.model_copy(update={"score": 0.01})).score == 0.01
    assert with_all_scores(lower) == lower


def test_detectors_are_compared_on_the_same_pictures() -> None:
    pictures = [
        AnnotatedImage("a", (Rectangle(0, 0, 10, 10),)),
        AnnotatedImage("b", (Rectangle(50, 50, 60, 60),)),
    ]
    reports = evaluate_detectors(
        {"one": Fixed(face(0, 0, 10, 10)), "none": Fixed()},
        pictures,
        lambda path: np.zeros((8, 8, 3), np.uint8),
        false_positives=[0, 1],
    )
    one, none = reports["one"], reports["none"]
    assert (one.images, one.faces, one.precision, one.recall) == (2, 2, 0.5, 0.5)
    assert one.recall_at == {0: 0.0, 1: 0.5}
    assert one.false_positives.tolist() == [0, 1]
    assert (none.precision, none.recall, none.average_precision) == (0, 0, 0)
