"""JPEG files read at a part of their size, where the faces that are sought allow it."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from facerec.detection.creation import create_detector
from facerec.detection.reduction import reduction_for_mtcnn
from facerec.engine.engine import Engine
from facerec.errors import InputError
from facerec.faces import Face, Frame, Image, Original
from facerec.files.hush import can_hush
from facerec.imaging import reader
from facerec.imaging.decode import decode_downscaled, decode_image
from facerec.imaging.reader import decode_frame, read_again
from facerec.profile.loading import Profile
from tests.conftest import Run, make_face

pytestmark = pytest.mark.skipif(not can_hush(), reason="OpenCV's decoder is used under glibc only")

_UPRIGHT, _TURNED = 1, 6  # EXIF orientations


def by_four(height: int, width: int) -> int:
    return 4


def jpeg(image: Image, *, orientation: int = _UPRIGHT, kind: str = "JPEG") -> bytes:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Pillow.fromarray(image).save(stream, kind, quality=95, exif=exif)
    return stream.getvalue()


def smooth(height: int, width: int) -> Image:
    coarse = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


@pytest.fixture(scope="module")
def portrait(portraits: dict[str, Path]) -> Image:
    return decode_image(portraits["grace_hopper"].read_bytes(), "", 10**7)


def enlarged(image: Image, times: int) -> Image:
    return np.asarray(cv2.resize(image, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC))


@pytest.fixture(scope="module")
def seeks_large() -> Engine:
    settings = ["detector.min_face=160", "runtime.processes=2", "runtime.batch=8"]
    return Engine.from_profile(Profile.load(settings=settings))


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Heights of the pictures that have been read."""
    decode, heights = reader.decode_downscaled, []

    def note(*arguments: Any) -> tuple[Image, Original | None]:
        image, original = decode(*arguments)
        heights.append(len(image))
        return image, original

    monkeypatch.setattr(reader, "decode_downscaled", note)
    return heights


@pytest.mark.parametrize("orientation", [_UPRIGHT, _TURNED])
@pytest.mark.parametrize(("height", "width"), [(640, 480), (642, 484), (641, 483)])
def test_a_smaller_picture_shows_the_same(height: int, width: int, orientation: int) -> None:
    """Also where the last pixels to a side are fewer than one of the smaller picture's."""
    data = jpeg(smooth(height, width), orientation=orientation)
    whole = decode_image(data, "", 10**7)
    image, original = decode_downscaled(data, "", 10**7, by_four)
    if orientation == _TURNED and height % 2:
        assert original is None
        np.testing.assert_array_equal(image, whole)
        return
    assert original is not None
    factor = 2 if orientation == _TURNED and height % 4 else 4
    assert (original.factor, original.height, original.width) == (factor, *whole.shape[:2])
    assert image.shape[:2] == tuple(-(-side // factor) for side in whole.shape[:2])
    rows, columns = (side // factor for side in whole.shape[:2])
    means = whole[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor, 3)
    np.testing.assert_allclose(image[:rows, :columns], means.mean((1, 3)), atol=6)
    frame = Frame("", image, original=original)
    assert frame.size == whole.shape[:2]
    np.testing.assert_array_equal(read_again(frame), whole)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_other_files_are_read_as_they_are(kind: str) -> None:
    data = jpeg(smooth(640, 480), kind=kind)
    image, original = decode_downscaled(data, "", 10**7, by_four)
    assert (image.shape, original) == ((640, 480, 3), None)


def test_a_truncated_file_is_refused_all_the_same() -> None:
    data = jpeg(smooth(640, 480))
    with pytest.raises(InputError, match="its end is missing"):
        decode_downscaled(data[: len(data) // 2], "a.jpg", 10**7, by_four)


@pytest.mark.parametrize(
    ("min_face", "pixels", "factor"),
    [(20, 4000, 1), (79, 4000, 1), (80, 4000, 2), (160, 4000, 4), (999, 4000, 8), (160, 900, 1)],
)
def test_mtcnn_is_given_the_faces_that_it_seeks_in_40_pixels(
    min_face: float, pixels: int, factor: int
) -> None:
    assert reduction_for_mtcnn(pixels, pixels, min_face) == factor


def test_yunet_is_given_what_it_would_shrink_itself(data: Path, portrait: Image) -> None:
    model = data / "models" / "yunet_n_dynamic.onnx"
    section = Profile.load(settings=["detector.name=yunet", f"detector.weights={model}"]).detector
    yunet = create_detector(section)
    assert [yunet.reduction(side, side) for side in (1280, 2559, 2560, 5120)] == [1, 1, 2, 4]
    # small pictures are read as they are, also where only large faces are sought
    large = section.model_copy(update={"min_face": 80})
    seeks_large = create_detector(large)
    assert [seeks_large.reduction(side, side) for side in (999, 1000)] == [1, 4]
    file = jpeg(np.asarray(cv2.resize(portrait, (2560, 2560))))
    frame = decode_frame("", file, 10**8, downscale=yunet.reduction)
    assert frame.image is not None and frame.image.shape[0] == 1280
    found = yunet.reduced(2).detect([frame.image])[0]
    expected = yunet.detect([read_again(frame)])[0]
    assert len(found) == len(expected) == 1
    assert_near(found[0].enlarged(2), expected[0])


def assert_near(face: Face, other: Face) -> None:
    """Landmarks within a fortieth of the face, edges within a tenth."""
    assert np.abs(face.landmarks - other.landmarks).max() < other.size / 40
    assert np.abs(face.box - other.box).max() < other.size / 10


def test_an_enlarged_face_has_its_pixels_centres() -> None:
    face = make_face(1, 0).enlarged(4)
    # the first of the smaller picture's pixels is four: 0, 1, 2, 3, with the centre at 1.5
    np.testing.assert_array_equal(face.box, make_face(1, 0).box * 4 + 1.5)


@pytest.mark.parametrize(("times", "parts"), [(2, [4, 2]), (4, [4])])
def test_faces_are_those_of_the_whole_picture(
    seeks_large: Engine, portrait: Image, sides: list[int], times: int, parts: list[int]
) -> None:
    """A quarter of the first picture shows less of the face than the model takes: it is read again,
    at a half."""
    large = enlarged(portrait, times)
    frame = decode_frame("large", jpeg(large), 10**8, downscale=seeks_large.reduction)
    assert frame.image is not None and frame.image.shape[0] == len(large) // 4
    _, faces = next(iter(seeks_large.faces([frame])))
    assert sides == [len(large) // part for part in parts]
    whole = decode_frame("large", jpeg(large), 10**8)
    _, expected = next(iter(seeks_large.faces([whole])))
    assert len(faces) == len(expected) == 1
    assert_near(faces[0], expected[0])
    assert faces[0].embedding is not None and expected[0].embedding is not None
    assert faces[0].embedding @ expected[0].embedding > 0.99
    _, found = next(iter(seeks_large.detections([frame])))
    np.testing.assert_array_equal(found[0].box, faces[0].box)


def test_a_picture_that_cannot_be_read_again_is_embedded_as_it_is(
    seeks_large: Engine, portrait: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = enlarged(portrait, 2)
    frame = decode_frame("large", jpeg(large), 10**8, downscale=seeks_large.reduction)
    _, expected = next(iter(seeks_large.faces([frame])))

    def fail(*_: object) -> Image:
        raise InputError("large: no memory")

    monkeypatch.setattr(reader, "decode_downscaled", fail)
    _, faces = next(iter(seeks_large.faces([frame])))
    assert faces[0].embedding is not None and expected[0].embedding is not None
    assert 0.95 < faces[0].embedding @ expected[0].embedding < 0.9999


def test_frames_that_another_process_is_sent_give_the_same(
    seeks_large: Engine, portrait: Image
) -> None:
    """Those read smaller beside others, in one batch."""
    large = enlarged(portrait, 4)
    frames = [
        decode_frame("large", jpeg(large), 10**8, downscale=seeks_large.reduction),
        Frame("small", np.ascontiguousarray(large[:1000, :900])),
        decode_frame("again", jpeg(enlarged(portrait, 2)), 10**8, downscale=seeks_large.reduction),
    ]
    whole = seeks_large.in_whole_batches()
    here = [faces for _, faces in whole.faces(frames)]
    there = whole.faces_of(pickle.loads(pickle.dumps(frames)), select=None, embed=True)
    assert [len(faces) for faces in here] == [1, 0, 1]
    for some, others in zip(here, there, strict=True):
        for one, other in zip(some, others, strict=True):
            np.testing.assert_array_equal(one.landmarks, other.landmarks)
            np.testing.assert_array_equal(one.embedding, other.embedding)


def test_commands_count_in_the_files_own_pixels(run: Run, tmp_path: Path, portrait: Image) -> None:
    large = enlarged(portrait, 4)
    photo = tmp_path / "large.jpg"
    photo.write_bytes(jpeg(large))
    ask = ("--json", "--min-face", 160)
    code, out, _ = run("detect", photo, *ask)
    record = json.loads(out)
    assert (code, record["width"], record["height"]) == (0, *large.shape[1::-1])
    # what is drawn on is the whole picture
    code, out, _ = run("detect", photo, *ask, "--crops", tmp_path / "crops")
    assert code == 0
    box, expected = record["faces"][0]["box"], json.loads(out)["faces"][0]["box"]
    assert box != expected
    np.testing.assert_allclose(box, expected, atol=45)  # a twentieth of the face
    assert Pillow.open(tmp_path / "crops" / "large-1.png").width > 300


def test_a_gallery_keeps_places_in_the_files_own_pixels(
    run: Run, tmp_path: Path, portrait: Image
) -> None:
    people = tmp_path / "people"
    (people / "grace").mkdir(parents=True)
    large = enlarged(portrait, 4)
    (people / "grace" / "large.jpg").write_bytes(jpeg(large))
    seeking = ("--set", "detector.min_face=160")
    address = tmp_path / "people.h5"
    chips = tmp_path / "chips"
    code, _, err = run("embed", people, "-o", address, "--chips", chips, *seeking)
    assert code == 0, err
    code, out, _ = run("recognize", "image", people, "-g", address, "--json", *seeking)
    record = json.loads(out)
    assert (code, record["width"], record["faces"][0]["name"]) == (0, large.shape[1], "grace")
    assert record["faces"][0]["similarity"] > 0.9999
    # the chip is cut out of the whole picture, where the face is
    chip = decode_image(next(chips.rglob("*.png")).read_bytes(), "", 10**6)
    engine = Engine.from_profile("default")
    whole = engine.embed([large])[0]
    assert whole[0].embedding is not None
    assert engine.embed_chips(chip[None])[0] @ whole[0].embedding > 0.98
