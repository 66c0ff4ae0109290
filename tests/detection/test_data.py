"""What the default detector finds in real photos, beside mtcnn 1.0.0 itself."""

from __future__ import annotations

import io
import itertools
import tarfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageOps

from facerec.detection.mtcnn.detector import MTCNN
from facerec.detection.mtcnn.weights import load_mtcnn_weights
from facerec.evaluation.detection import Rectangle
from facerec.faces import Face, Image

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def detector() -> MTCNN:
    return MTCNN(load_mtcnn_weights())


def read(file: Path | io.BytesIO) -> Image:
    return np.array(ImageOps.exif_transpose(Pillow.open(file)).convert("RGB"))


def lfw(data: Path, step: int = 1) -> Iterator[tuple[str, Image]]:
    with tarfile.open(data / "lfw" / "lfw-deepfunneled-pairs.tar") as archive:
        members = [member for member in archive.getmembers() if member.name.endswith(".jpg")]
        for member in sorted(members, key=lambda member: member.name)[::step]:
            file = archive.extractfile(member)
            assert file is not None
            yield member.name, read(io.BytesIO(file.read()))


def photos(data: Path) -> list[Path]:
    return sorted((data / "photos").iterdir()) + sorted((data / "people").glob("*/*"))


def differences(name: str, mine: list[Face], theirs: list[Face]) -> list[str]:
    if len(mine) != len(theirs):
        return [f"{name}: {len(mine)} faces, not {len(theirs)}"]
    found = []
    for face in theirs:
        region = Rectangle(*map(float, face.box))
        nearest = max(mine, key=lambda other: region.overlap(other.box))
        overlap = region.overlap(nearest.box)
        apart = float(np.abs(nearest.landmarks - face.landmarks).max() / face.size)
        if overlap < 0.95 or apart > 0.02:
            found.append(f"{name}: IoU {overlap:.3f}, landmarks {apart:.3f} of the face apart")
    return found


def test_every_shared_photo_has_mtcnns_faces(detector: MTCNN, data: Path) -> None:
    from facerec.detection.tensorflow import TensorFlowMTCNN, import_triton_first

    import_triton_first()
    pytest.importorskip("tensorflow")

    original = TensorFlowMTCNN()
    problems = []
    for path in photos(data):
        image = read(path)
        mine, theirs = detector.detect([image])[0], original.detect([image])[0]
        problems += differences(path.name, mine, theirs)
    assert problems == []


def test_500_lfw_images_have_mtcnns_faces(detector: MTCNN, data: Path) -> None:
    from facerec.detection.tensorflow import TensorFlowMTCNN, import_triton_first

    import_triton_first()
    pytest.importorskip("tensorflow")

    original = TensorFlowMTCNN()
    problems = []
    for name, image in itertools.islice(lfw(data, step=15), 500):
        mine, theirs = detector.detect([image])[0], original.detect([image])[0]
        problems += differences(name, mine, theirs)
    assert problems == []


def test_a_face_is_found_in_every_lfw_image(detector: MTCNN, data: Path) -> None:
    images = lfw(data)
    missed = []
    seen = 0
    while batch := list(itertools.islice(images, 64)):
        faces = detector.detect([image for _, image in batch])
        missed += [name for (name, _), found in zip(batch, faces, strict=True) if not found]
        seen += len(batch)
    assert (seen, missed) == (7701, [])


def test_a_batch_of_all_photos_gives_exactly_the_single_results(
    detector: MTCNN, data: Path
) -> None:
    assert_as_single(detector, [read(path) for path in photos(data)])


def test_pictures_of_one_size_give_exactly_the_single_results(detector: MTCNN, data: Path) -> None:
    assert_as_single(detector, [image for _, image in lfw(data, step=25)])


def assert_as_single(detector: MTCNN, images: list[Image]) -> None:
    for image, faces in zip(images, detector.detect(images), strict=True):
        alone = detector.detect([image])[0]
        assert [face.score for face in alone] == [face.score for face in faces]
        for one, other in zip(alone, faces, strict=True):
            np.testing.assert_array_equal(one.box, other.box)
            np.testing.assert_array_equal(one.landmarks, other.landmarks)


def test_a_smaller_smallest_face_never_loses_one(data: Path) -> None:
    """Photos scaled to sizes of chance."""
    field = data.parent / "field" / "min-face" / "portrait400.jpg"
    minima = (12, 14.5, 18, 20, 25, 40, 60, 100)
    weights = load_mtcnn_weights()
    detectors = [MTCNN(weights, min_face=least) for least in minima]
    random = np.random.default_rng(0)
    images = []
    for path in [*photos(data), *([field] if field.is_file() else [])]:
        image = read(path)
        for share in random.uniform(0.3, 1, 2) * min(1, 900 / max(image.shape)):
            size = round(image.shape[1] * share), round(image.shape[0] * share)
            images.append((path.name, cv2.resize(image, size, interpolation=cv2.INTER_AREA)))
    lost = []
    for photo, image in images:
        found = [detector.detect([image])[0] for detector in detectors]
        for (less, small), (least, large) in itertools.combinations(
            zip(minima, found, strict=True), 2
        ):
            for face in large:
                region = Rectangle(*map(float, face.box))
                if face.size >= least and not any(region.overlap(it.box) > 0.5 for it in small):
                    lost.append((photo, image.shape, face.size, least, less))
    assert lost == []


@pytest.mark.parametrize("name", ["yunet_n_640.onnx", "yunet_n_dynamic.onnx"])
def test_yunet_finds_the_six_of_multiface(data: Path, name: str) -> None:
    from facerec.detection.yunet import YuNet

    faces = YuNet(data / "models" / name).detect([read(data / "photos" / "multiface.jpg")])[0]
    assert len(faces) == 6
    for face in faces:
        left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
        assert left_eye[0] < nose[0] < right_eye[0]
        assert left_mouth[0] < right_mouth[0]
