"""A GPU finds the processor's faces and makes its vectors."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from facerec.bench.photos import small_photos
from facerec.detection.mtcnn.detector import MTCNN
from facerec.detection.mtcnn.weights import load_mtcnn_weights
from facerec.engine.engine import Engine
from facerec.faces import Face
from facerec.imaging.decode import read_image
from facerec.profile.loading import Profile

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(scope="module")
def here() -> Engine:
    settings = ["runtime.device=cpu", "runtime.precision=fp32", "runtime.engine=torch"]
    return Engine.from_profile(Profile.load(settings=settings))


def there(precision: str) -> Engine:
    settings = ["runtime.device=cuda", f"runtime.precision={precision}"]
    return Engine.from_profile(Profile.load(settings=settings))


def assert_alike(one: list[Face], other: list[Face]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.score == pytest.approx(b.score, abs=1e-3)
        np.testing.assert_allclose(a.box, b.box, atol=0.2)
        np.testing.assert_allclose(a.landmarks, b.landmarks, atol=0.2)


def test_the_faces_are_the_processors(here: Engine, picture: Path) -> None:
    photo = read_image(picture, 10**7)
    images = [photo, photo[:401, :333], photo[::-1].copy(), *small_photos(70)]
    engine = there("fp32")
    expected, found = here.detect(images), engine.detect(images)
    assert sum(map(len, found)) >= 70
    for one, other in zip(found, expected, strict=True):
        assert_alike(one, other)
    for image, faces in zip(images[:4], found, strict=False):
        assert_alike(engine.detect([image])[0], faces)


@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.9999), ("fp16", 0.999)])
def test_the_vectors_are_the_processors(here: Engine, precision: str, least: float) -> None:
    images = small_photos(64)
    found = [(image, faces[0]) for image, faces in zip(images, here.detect(images), strict=True)]
    exact, vectors = here.embed_found(found), there(precision).embed_found(found)
    assert (exact * vectors).sum(axis=1).min() > least
    whole = there(precision).in_whole_batches()
    assert np.array_equal(whole.embed_found(found[:3]), whole.embed_found(found)[:3])


def test_the_host_waits_as_often_for_many_images_as_for_one() -> None:
    """Counted by CUDA itself."""
    images = small_photos(32)
    detector = MTCNN(load_mtcnn_weights(), device="cuda")
    detector.detect(images)
    seen = []
    for some in (images[:1], images):
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                detector.detect(some)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        seen.append(sum("synchroniz" in str(warning.message) for warning in told))
    assert 0 < seen[1] <= seen[0] + 2
