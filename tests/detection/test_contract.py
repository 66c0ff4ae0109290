"""What every registered detector obeys."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facerec.detection import Detector
from facerec.detection.creation import create_detector
from facerec.errors import MissingError, ProfileError
from facerec.faces import Face, Image
from facerec.imaging.decode import read_image
from facerec.profile.detector_keys import keys_read
from facerec.profile.schema import DetectorSection
from facerec.registry import DETECTORS
from tests.conftest import noise

YUNET = "yunet_n_dynamic.onnx"


@pytest.fixture(scope="module", params=DETECTORS.names())
def detector(request: pytest.FixtureRequest) -> Detector:
    """The detector, or a skip where its package or weights are absent."""
    section = DetectorSection(name=request.param)
    try:
        return create_detector(section)
    except MissingError as error:
        if DETECTORS.fact(request.param, "weights") is None:
            pytest.skip(str(error))
        file = request.getfixturevalue("data") / "models" / YUNET
        return create_detector(section.model_copy(update={"weights": file}))


@pytest.fixture(scope="module")
def images(portraits: dict[str, Path]) -> list[Image]:
    """Faces, a part of one, pixels of chance, and one colour."""
    faces = [read_image(file, 10**7) for file in portraits.values()]
    return [*faces, faces[0][:300, 40:], noise(90, 120), np.zeros((64, 80, 3), np.uint8)]


def assert_equal(one: list[Face], other: list[Face]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.score == b.score
        np.testing.assert_array_equal(a.box, b.box)
        np.testing.assert_array_equal(a.landmarks, b.landmarks)


def test_a_batch_gives_what_single_images_give(detector: Detector, images: list[Image]) -> None:
    together = detector.detect(images)
    assert len(together) == len(images)
    assert all(together[:2])
    for image, faces in zip(images, together, strict=True):
        assert_equal(faces, detector.detect([image])[0])


def test_no_images_give_no_results(detector: Detector) -> None:
    assert detector.detect([]) == []


@pytest.mark.parametrize("level", [0, 255])
def test_a_blank_image_has_no_face(detector: Detector, level: int) -> None:
    assert detector.detect([np.full((120, 160, 3), level, np.uint8)]) == [[]]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 500), (11, 300), (20, 21)])
def test_a_tiny_blank_image_has_no_face(detector: Detector, height: int, width: int) -> None:
    assert detector.detect([np.zeros((height, width, 3), np.uint8)]) == [[]]


def test_faces_have_their_types_and_come_best_first(
    detector: Detector, images: list[Image]
) -> None:
    for image, faces in zip(images, detector.detect(images), strict=True):
        scores = [face.score for face in faces]
        assert scores == sorted(scores, reverse=True)
        for face in faces:
            assert (face.box.dtype, face.box.shape) == (np.float32, (4,))
            assert (face.landmarks.dtype, face.landmarks.shape) == (np.float32, (5, 2))
            assert isinstance(face.score, float) and 0 <= face.score <= 1
            left, top, right, bottom = face.box
            assert left < right and top < bottom
            assert left < image.shape[1] and top < image.shape[0] and right > 0 and bottom > 0


def test_landmarks_come_in_order_as_the_viewer_sees_them(
    detector: Detector, images: list[Image]
) -> None:
    for image in images[:2]:
        for seen in (image, np.ascontiguousarray(image[:, ::-1])):
            left_eye, right_eye, nose, left_mouth, right_mouth = detector.detect([seen])[0][
                0
            ].landmarks
            assert left_eye[0] < right_eye[0] and left_mouth[0] < right_mouth[0]
            assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_the_image_is_left_as_it_was(detector: Detector, images: list[Image]) -> None:
    before = images[0].copy()
    detector.detect([images[0]])
    np.testing.assert_array_equal(images[0], before)


def test_a_reduction_is_a_factor_that_decoders_have(detector: Detector) -> None:
    for side in (10, 1000, 4000):
        factor = detector.reduction(side, side)
        assert factor in (1, 2, 4, 8)
        assert callable(detector.reduced(factor).detect)


@pytest.mark.parametrize(
    ("name", "setting", "readers"),
    [
        ("mtcnn", {"weights": Path("/nonexistent/x.onnx")}, "yunet"),
        ("mtcnn", {"score": 0.9999}, "yunet"),
        ("mtcnn-tensorflow", {"max_candidates": 7}, "mtcnn"),
        ("yunet", {"thresholds": (0.99, 0.99, 0.99)}, "mtcnn"),
        ("centerface", {"scale_factor": 0.5}, "mtcnn"),
    ],
)
def test_a_key_that_a_detector_does_not_read_is_refused(
    name: str, setting: dict[str, Any], readers: str
) -> None:
    (key,) = setting
    with pytest.raises(ProfileError, match=rf"detector\.{key}: {name} does not read it.*{readers}"):
        create_detector(DetectorSection(name=name, **setting))


@pytest.mark.parametrize("name", DETECTORS.names())
def test_a_detector_reads_what_it_says(name: str) -> None:
    source = inspect.getsource(DETECTORS.get(name).target.from_section)
    taken = set(re.findall(r"section\.(\w+)", source))
    if DETECTORS.fact(name, "weights"):
        taken.add("weights")
    assert taken == keys_read(name)
