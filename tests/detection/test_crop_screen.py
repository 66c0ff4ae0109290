"""The small network that rejects crops before RNet changes the time that detection takes, and
nothing else."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch

from facerec.detection.mtcnn import crop_screen
from facerec.detection.mtcnn.boxes import crop
from facerec.detection.mtcnn.crop_screen import CropScreen, load_screen_weights, open_crop_screen
from facerec.detection.mtcnn.detector import MTCNN
from facerec.detection.mtcnn.networks import RNet
from facerec.detection.mtcnn.weights import load_mtcnn_weights
from facerec.errors import MissingError
from facerec.faces import Floats, Image
from tests.conftest import Run
from tests.train_crop_screen import (
    PASSING,
    THRESHOLD,
    as_input,
    lfw_images,
    open_teacher,
    other_images,
    thin,
)

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def detector() -> MTCNN:
    pytest.importorskip("openvino")
    return MTCNN(load_mtcnn_weights())


@pytest.fixture
def screen(detector: MTCNN) -> CropScreen:
    assert detector._screen is not None
    return detector._screen


@pytest.fixture(scope="module")
def crops() -> Floats:
    """Crops `(256, 3, 24, 24)` around a face and elsewhere, less 127.5."""
    image = skimage.data.astronaut()
    random = np.random.default_rng(0)
    near = np.array([175, 65]) + random.normal(0, 20, (128, 2))
    corner = np.concatenate([near, random.uniform(0, 400, (128, 2))])
    sides = random.uniform(60, 110, (256, 1))
    boxes = np.concatenate([corner, corner + sides], 1).astype(np.float32)
    pixels = torch.from_numpy(image[None] - np.float32(127.5))
    return crop(pixels, boxes, np.zeros(256, int), RNet.side).numpy()


@torch.inference_mode()
def rnets_log_odds(crops: Floats) -> Floats:
    rnet = RNet(load_mtcnn_weights()["rnet"], torch.device("cpu"))
    return rnet(torch.from_numpy(crops))[:, 4].numpy()


def assert_the_same_without(detector: MTCNN, images: list[Image]) -> None:
    screen, found = detector._screen, detector.detect(images)
    detector._screen = None
    try:
        expected = detector.detect(images)
    finally:
        detector._screen = screen
    for faces, others in zip(found, expected, strict=True):
        assert [face.score for face in faces] == [face.score for face in others]
        for face, other in zip(faces, others, strict=True):
            np.testing.assert_array_equal(face.box, other.box)
            np.testing.assert_array_equal(face.landmarks, other.landmarks)


@pytest.mark.parametrize("size", [(512, 512), (333, 401)], ids=["even", "odd"])
def test_faces_are_the_same_to_the_bit(
    detector: MTCNN, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facerec.detection.mtcnn.detector._MIN_SCREENED", 1)
    height, width = size
    image = skimage.data.astronaut()[:height, 60 : 60 + width]
    assert_the_same_without(detector, [image, image[::-1], image[:, ::-1]])


def test_it_passes_what_rnet_passes_and_rejects_most(screen: CropScreen, crops: Floats) -> None:
    log_odds = rnets_log_odds(crops)
    passes, passing = screen(crops), log_odds > PASSING
    assert passing.sum() > 20
    assert passes[passing].all()
    assert passes[log_odds < -4].mean() < 0.2


def test_a_lower_threshold_is_not_screened(detector: MTCNN) -> None:
    weights = load_mtcnn_weights()
    assert MTCNN(weights, thresholds=(0.6, 0.69, 0.8))._screen is None
    assert MTCNN(weights, thresholds=(0.6, 0.8, 0.8))._screen is not None


def test_without_openvino_nothing_is_screened_or_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(crop_screen, "WEIGHTS", tmp_path / "absent.npz")
    assert open_crop_screen(THRESHOLD, threads=1) is None


def _damage(content: bytes, kind: str) -> bytes | None:
    middle = len(content) // 2
    return {
        "absent": None,
        "empty": b"",
        "half": content[:middle],
        "changed": content[:middle] + bytes(100) + content[middle + 100 :],
        "text": b"not an archive\n" * 100,
    }[kind]


@pytest.mark.parametrize("kind", ["absent", "empty", "half", "changed", "text"])
def test_a_damaged_file_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "crop_screen.npz"
    content = _damage(crop_screen.WEIGHTS.read_bytes(), kind)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MissingError, match=r"crop_screen\.npz: missing or damaged; try: pip"):
        load_screen_weights(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"kernel1": np.zeros((3, 3, 16, 31), np.float32)},
        {"bias0": np.zeros(16)},
        {"slopes2": None},
        {"margin": np.zeros(2)},
        {"threshold": np.float64("nan")},
        {"threshold": "x"},
        {"kernel0": np.array([{}], object)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_file_of_another_network_is_named(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = tmp_path / "crop_screen.npz"
    with np.load(crop_screen.WEIGHTS) as file:
        arrays = {**file, **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(MissingError, match=r"crop_screen\.npz"):
        load_screen_weights(path)


def test_a_command_ends_in_one_line(
    run: Run, portraits: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr(crop_screen, "WEIGHTS", tmp_path / "crop_screen.npz")
    code, _, error = run("detect", next(iter(portraits.values())))
    assert code == 4
    assert "crop_screen.npz: missing or damaged" in error
    assert "Traceback" not in error


@torch.inference_mode()
def test_training_starts_from_rnet_thinned(crops: Floats) -> None:
    teacher, log_odds = open_teacher(), rnets_log_odds(crops)
    pixels = torch.from_numpy(crops / 128)
    np.testing.assert_allclose(teacher(pixels).numpy(), log_odds, atol=1e-3)
    student = thin(teacher, pixels)
    assert np.corrcoef(student(pixels).numpy(), log_odds)[0, 1] > 0.95
    shipped = load_screen_weights(crop_screen.WEIGHTS).arrays
    assert [a.shape for a in student.arrays()] == [a.shape for a in shipped]


def test_what_is_shipped_is_what_training_computes(screen: CropScreen, crops: Floats) -> None:
    """The graph in OpenVINO is the student in PyTorch, but for bf16's rounding."""
    student = thin(open_teacher(), as_input(np.zeros((8, 3, 24, 24), np.uint8)))
    arrays = iter(load_screen_weights(crop_screen.WEIGHTS).arrays)
    with torch.inference_mode():
        for layer, activation in itertools.zip_longest(student.layers, student.activations):
            layer.weight.copy_(torch.from_numpy(next(arrays)).permute(3, 2, 0, 1))
            layer.bias.copy_(torch.from_numpy(next(arrays)))
            if activation:
                activation.weight.copy_(torch.from_numpy(next(arrays)))
        expected = student(torch.from_numpy(crops / 128)).numpy()
    near = np.abs(expected) < 4
    np.testing.assert_allclose(screen.estimate(crops)[near], expected[near], atol=0.3)


@pytest.mark.slow
def test_faces_of_unseen_people_are_the_same_to_the_bit(detector: MTCNN, data: Path) -> None:
    """Of folds 9-10, whose people the training program leaves out."""
    images = lfw_images(range(8, 10))
    while batch := list(itertools.islice(images, 64)):
        assert_the_same_without(detector, batch)


@pytest.mark.slow
def test_faces_of_photos_and_videos_are_the_same_to_the_bit(detector: MTCNN, data: Path) -> None:
    for image in other_images():
        assert_the_same_without(detector, [image])
