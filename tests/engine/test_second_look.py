"""Where the first look finds nothing, a second one finds the face, in the photo's own pixels."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from facerec.alignment.warp import crop_box
from facerec.detection.creation import create_detector
from facerec.engine.engine import Engine
from facerec.engine.second_look import SecondLook, with_second_look
from facerec.errors import MissingError
from facerec.faces import Face, Image, turn_of
from facerec.imaging.decode import read_image
from facerec.imaging.draw import write_image
from facerec.profile.loading import Profile
from facerec.profile.schema import DetectorSection
from tests.conftest import Run, noise
from tests.detection.test_contract import assert_equal


class Markers:
    """Finds a white square whose four sides show black around it, and counts the images."""

    def __init__(self, score: float = 0.99) -> None:
        self.seen: list[tuple[int, ...]] = []
        self.score = score

    def detect(self, images: Sequence[Image]) -> list[list[Face]]:
        self.seen += [image.shape for image in images]
        return [self._detect(image) for image in images]

    def _detect(self, image: Image) -> list[Face]:
        y, x = np.nonzero(image[:, :, 0] > 128)
        if not len(x) or min(x.min(), y.min()) < 10:
            return []
        if x.max() >= image.shape[1] - 10 or y.max() >= image.shape[0] - 10:
            return []
        # red lies above the square's middle in an upright one
        red = np.argwhere((image[:, :, 0] > 128) & (image[:, :, 1] < 128)).mean(0)
        score = self.score if red[0] < y.mean() - 2 else 0.5
        box = np.array([x.min(), y.min(), x.max(), y.max()], np.float32)
        return [Face(box, score, np.tile(red[::-1].astype(np.float32), (5, 1)))]

    def reduction(self, height: int, width: int) -> int:
        return 2

    def reduced(self, factor: int) -> Markers:
        return self


def marked(height: int, width: int, top: int, left: int, side: int) -> Image:
    """A white square whose upper quarter is red."""
    image = np.zeros((height, width, 3), np.uint8)
    image[top : top + side, left : left + side] = 255
    image[top : top + side // 4, left : left + side, 1] = 0
    return image


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize(("height", "width"), [(90, 60), (60, 90), (300, 380)])
def test_what_it_finds_lies_where_it_is_in_the_photo(height: int, width: int, turn: int) -> None:
    """Turned counter-clockwise, so that it must be turned clockwise by as much."""
    upright = marked(height, width, 0, 0, 24)
    photo = np.rot90(upright, turn // 90)
    (face,) = SecondLook(Markers(), turns=True, certain=0.9).detect([photo])[0]
    y, x = np.nonzero(photo[:, :, 0])
    red = np.argwhere((photo[:, :, 0] > 128) & (photo[:, :, 1] < 128)).mean(0)[::-1]
    assert (face.turn, face.score) == (turn, 0.99)
    np.testing.assert_allclose(face.box, [x.min(), y.min(), x.max(), y.max()], atol=1.5)
    np.testing.assert_allclose(face.landmarks[0], red, atol=1)
    assert (face.box.dtype, face.landmarks.dtype) == (np.float32, np.float32)


def test_it_costs_nothing_where_a_face_is_found() -> None:
    markers = Markers()
    SecondLook(markers, turns=True, certain=0.9).detect([marked(80, 80, 20, 20, 24)] * 3)
    assert len(markers.seen) == 3


def test_an_empty_large_photo_is_looked_at_small() -> None:
    markers = Markers()
    SecondLook(markers, turns=False, certain=0).detect([np.zeros((3000, 2000, 3), np.uint8)])
    assert markers.seen[0] == (3000, 2000, 3)
    assert max(max(shape) for shape in markers.seen[1:]) == 320


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("only_upright", [True, False])
def test_the_surest_of_unsure_faces_is_kept(turn: int, only_upright: bool) -> None:
    """Below 0.5, as CenterFace scores many."""

    class Unsure(Markers):
        def _detect(self, image: Image) -> list[Face]:
            faces = super()._detect(image)
            upright = [face for face in faces if face.score == self.score or not only_upright]
            return [replace(face, score=face.score / 3) for face in upright]

    photo = np.rot90(marked(90, 60, 0, 0, 24), turn // 90)
    (face,) = SecondLook(Unsure(), turns=True, certain=0).detect([photo])[0]
    assert (face.turn, face.score) == (turn, 0.33)


def test_a_turned_face_must_be_clearly_surer() -> None:
    photo = np.ascontiguousarray(np.rot90(marked(80, 80, 20, 20, 24), 2))
    for score, turn in ((0.9, 0), (0.99, 180)):
        look = SecondLook(Markers(score), turns=True, certain=0.7)
        assert look.detect([photo])[0][0].turn == turn


def test_a_detector_may_need_less_to_be_clearly_surer() -> None:
    photo = np.ascontiguousarray(np.rot90(marked(80, 80, 20, 20, 24), 2))
    look = SecondLook(Markers(0.9), turns=True, certain=0.7, margin=0.2)
    assert look.detect([photo])[0][0].turn == 180


def leaning(score: float, degrees: float) -> Face:
    """A face that leans to the left, or lies from 60 degrees on."""
    angle = np.radians(degrees)
    down = np.array([np.sin(angle), np.cos(angle)], np.float32)
    along = down[::-1] * (1, -1)
    points = 30 + np.stack([-along - down, along - down, 0 * down, down - along, down + along]) * 5
    return Face(np.array([20, 20, 40, 40], np.float32), score, points.astype(np.float32))


class Scripted(Markers):
    """Finds given faces in an image as it is and as it is turned."""

    def __init__(self, image: Image, faces: dict[int, list[Face]]) -> None:
        super().__init__()
        self._image, self._faces = image, faces

    def _detect(self, image: Image) -> list[Face]:
        for turn, faces in self._faces.items():
            if np.array_equal(image, np.rot90(self._image, -turn // 90)):
                return faces
        return []


def test_a_photo_whose_surest_face_lies_is_also_looked_at_turned() -> None:
    photo = noise(60, 80)
    first = [leaning(0.95, -88), leaning(0.94, -50), leaning(0.9, 12)]
    scripted = Scripted(photo, {0: first, 270: [leaning(0.99, 0)] * 6})
    faces = SecondLook(scripted, turns=True, certain=0.92).detect([photo])[0]
    assert [face.turn for face in faces] == [270] * 6


def test_a_lying_face_whose_points_are_upside_down_is_turned_upright() -> None:
    photo = noise(60, 80)
    views = {0: [leaning(0.72, 82)], 90: [leaning(0.72, 171)], 270: [leaning(0.89, 0)]}
    faces = SecondLook(Scripted(photo, views), turns=True, certain=0.6).detect([photo])[0]
    assert [face.turn for face in faces] == [270]


def test_a_turn_that_leaves_a_face_lying_is_not_taken() -> None:
    photo = noise(60, 80)
    views = {0: [leaning(0.8, 180)], 90: [leaning(0.99, 90)], 180: [leaning(0.98, 0)]}
    faces = SecondLook(Scripted(photo, views), turns=True, certain=0.6).detect([photo])[0]
    assert [face.turn for face in faces] == [180]


def test_a_lying_face_that_is_found_no_better_turned_stays() -> None:
    photo = noise(60, 80)
    views = {0: [leaning(0.95, 90)], 90: [leaning(0.94, 0)]}
    (face,) = SecondLook(Scripted(photo, views), turns=True, certain=0.9).detect([photo])[0]
    assert (face.score, face.turn) == (0.95, 90)


@pytest.mark.parametrize(
    "faces",
    [
        [leaning(0.95, 45)],
        [leaning(0.95, -55)],
        [leaning(0.99, 90), leaning(0.95, 10)],
        [leaning(0.99, 180), leaning(0.95, 0), leaning(0.99, -90)],
    ],
)
def test_leaning_faces_and_those_that_lie_beside_one_that_stands_cost_nothing(
    faces: list[Face],
) -> None:
    photo = noise(60, 80)
    scripted = Scripted(photo, {0: faces, 90: [leaning(0.9999, 0)]})
    found = SecondLook(scripted, turns=True, certain=0.92).detect([photo])[0]
    assert len(scripted.seen) == 1
    assert [face.score for face in found] == [face.score for face in faces]


@pytest.mark.parametrize("name", ["mtcnn", "centerface"])
@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_group_on_its_side_is_found_whole(name: str, turn: int, data: Path) -> None:
    section = DetectorSection(name=name, second_look="turns")
    try:
        detector = with_second_look(create_detector(section), section)
    except MissingError as error:
        pytest.skip(str(error))
    photo = read_image(data / "photos" / "multiface.jpg", 10**7)
    small = cv2.resize(photo, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    (faces,) = detector.detect([np.ascontiguousarray(np.rot90(small, turn // 90))])
    assert [face.turn for face in faces] == [turn] * 6


@pytest.mark.parametrize("name", ["yunet", "centerface"])
@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_each_detector_tells_how_a_photo_is_turned(
    name: str, turn: int, portraits: dict[str, Path], data: Path
) -> None:
    weights = data / "models" / "yunet_n_640.onnx" if name == "yunet" else None
    section = DetectorSection(name=name, weights=weights, second_look="turns")
    try:
        detector = with_second_look(create_detector(section), section)
    except MissingError as error:
        pytest.skip(str(error))
    for path in portraits.values():
        photo = read_image(path, 10**7)
        turned = np.ascontiguousarray(np.rot90(photo, turn // 90))
        face = detector.detect([turned])[0][0]
        assert (face.turn, turn_of(face.landmarks)) == (turn, turn)


@pytest.mark.parametrize("section", [DetectorSection(), DetectorSection(second_look="turns")])
def test_images_without_pixels_or_faces_have_none(section: DetectorSection) -> None:
    look = with_second_look(Markers(), section)
    images = [np.zeros((0, 0, 3), np.uint8), np.zeros((1, 1, 3), np.uint8)]
    assert look.detect(images) == [[], []]
    assert look.detect([]) == []
    assert look.reduction(10, 10) == 2
    assert isinstance(look.reduced(2), SecondLook)


def test_none_is_the_detector_alone() -> None:
    markers = Markers()
    assert with_second_look(markers, DetectorSection(second_look="none")) is markers


def test_a_box_of_a_turned_face_is_cut_out_upright() -> None:
    image = cv2.GaussianBlur(noise(60, 80), (0, 0), 4)
    box, points = np.array([10, 20, 40, 50], np.float32), np.zeros((5, 2), np.float32)
    upright = crop_box(image, Face(box, 1, points), 31, 0)
    for turn in (90, 180, 270):
        turned = crop_box(image, Face(box, 1, points, turn=turn), 31, 0)
        difference = np.abs(turned.astype(int) - np.rot90(upright, -turn // 90))[2:-2, 2:-2]
        assert difference.mean() < 2


@pytest.fixture(scope="module")
def tight(portraits: dict[str, Path]) -> Image:
    """A face that fills its image, so that the first look does not find it."""
    photo = read_image(portraits["grace_hopper"], 10**7)
    engine = Engine.from_profile(Profile.load(settings=["detector.second_look=none"]))
    left, top, right, bottom = engine.detect([photo])[0][0].box.astype(int).tolist()
    for inset in range(0, 40, 2):
        cut = photo[top + inset : bottom - inset, left + inset : right - inset].copy()
        if not engine.detect([cut])[0]:
            return cut
    pytest.fail("every crop is found")


def test_a_face_that_fills_its_image_is_found(engine: Engine, tight: Image) -> None:
    (faces,) = engine.detect([tight])
    assert len(faces) == 1
    left_eye, right_eye, nose, left_mouth, _ = faces[0].landmarks
    assert left_eye[0] < nose[0] < right_eye[0] and left_eye[1] < nose[1] < left_mouth[1]
    height, width = tight.shape[:2]
    assert 0 < nose[0] < width and 0 < nose[1] < height


def test_a_batch_gives_what_single_images_give(tight: Image, portraits: dict[str, Path]) -> None:
    engine = Engine.from_profile(Profile().looking_again("turns"))
    photo = read_image(portraits["eileen_collins"], 10**7)
    images = [tight, photo, noise(90, 70), np.rot90(photo), np.rot90(photo, 3).copy()]
    together = engine.detect(images)
    assert [[face.turn for face in faces] for faces in together] == [[0], [0], [], [90], [270]]
    for image, faces in zip(images, together, strict=True):
        assert_equal(faces, engine.detect([image])[0])


def test_a_turned_photo_gives_the_same_vector(portraits: dict[str, Path]) -> None:
    engine = Engine.from_profile(Profile().looking_again("turns"))
    photo = read_image(portraits["grace_hopper"], 10**7)
    upright, *turned = (
        engine.embed([np.ascontiguousarray(np.rot90(photo, turn))])[0][0] for turn in range(4)
    )
    for face in turned:
        assert float(face.embedding @ upright.embedding) > 0.98


def test_recognize_turns_where_it_is_told_to(
    tmp_path: Path, portraits: dict[str, Path], run: Run
) -> None:
    gallery, photo = tmp_path / "g.h5", tmp_path / "turned.png"
    turned = np.rot90(read_image(portraits["grace_hopper"], 10**7), 3)
    write_image(tmp_path / "people" / "grace" / "turned.png", np.ascontiguousarray(turned))
    write_image(photo, np.ascontiguousarray(turned))
    code, _, _ = run("embed", tmp_path / "people", "-o", gallery)
    assert code == 0
    _, out, _ = run("recognize", "image", photo, "-g", gallery, "--second-look", "turns", "--json")
    (face,) = json.loads(out)["faces"]
    assert (face["name"], face["turn"]) == ("grace", 270)
    _, out, _ = run("recognize", "image", photo, "-g", gallery, "--json")
    assert all("turn" not in face for face in json.loads(out)["faces"])


@pytest.mark.slow
def test_tight_and_turned_crops_of_lfw_are_found(data: Path) -> None:
    with tarfile.open(data / "lfw" / "lfw-deepfunneled-pairs.tar") as archive:
        members = sorted(m.name for m in archive.getmembers() if m.name.endswith(".jpg"))[::40]
        images = [
            cv2.imdecode(
                np.frombuffer(io.BytesIO(archive.extractfile(name).read()).getvalue(), np.uint8),  # type: ignore[union-attr]
                cv2.IMREAD_COLOR_RGB,
            )
            for name in members
        ]
    engine = Engine.from_profile(Profile().looking_again("turns"))
    crops = []
    for image, faces in zip(images, engine.detect(images), strict=True):
        left, top, right, bottom = faces[0].box.clip(0).astype(int).tolist()
        crops.append(image[top:bottom, left:right])
    assert sum(map(bool, engine.detect(crops))) >= 0.99 * len(crops)
    for turn in (90, 180, 270):
        turned = [np.ascontiguousarray(np.rot90(image, turn // 90)) for image in images]
        right = [faces and faces[0].turn == turn for faces in engine.detect(turned)]
        assert sum(map(bool, right)) >= 0.88 * len(images)
