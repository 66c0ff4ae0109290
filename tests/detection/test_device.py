"""MTCNN as it runs on a GPU, but with the CPU as the device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from facerec.detection.mtcnn.arrays import Scratch
from facerec.detection.mtcnn.boxes import count_kept, order_by_score
from facerec.detection.mtcnn.detector import MTCNN
from facerec.detection.mtcnn.device import DeviceProposer
from facerec.detection.mtcnn.networks import PNet
from facerec.detection.mtcnn.proposals import Proposer
from facerec.detection.mtcnn.pyramid import pyramid_levels
from facerec.detection.mtcnn.weights import load_mtcnn_weights
from facerec.faces import Face, Image
from facerec.imaging.decode import read_image
from facerec.parallel.threads import map_serially
from tests.conftest import noise

pytestmark = pytest.mark.numeric
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def here() -> MTCNN:
    return MTCNN(load_mtcnn_weights())


@pytest.fixture
def on_device(monkeypatch: pytest.MonkeyPatch) -> MTCNN:
    """Everything that depends on the device is as on a GPU."""
    monkeypatch.setattr("facerec.detection.mtcnn.detector._is_processor", lambda _: False)
    return MTCNN(load_mtcnn_weights())


@pytest.fixture(scope="module")
def photo(picture: Path) -> Image:
    return read_image(picture, 10**7)


def assert_alike(one: list[Face], other: list[Face]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.score == pytest.approx(b.score, abs=1e-4)
        np.testing.assert_allclose(a.box, b.box, atol=0.05)
        np.testing.assert_allclose(a.landmarks, b.landmarks, atol=0.05)


def test_the_faces_are_the_processors(here: MTCNN, on_device: MTCNN, photo: Image) -> None:
    images = [photo, photo[:401, :333], noise(90, 70), photo[::-1].copy(), noise(9, 9)]
    found = on_device.detect(images)
    assert len(found[0]) == 2
    for one, other in zip(found, here.detect(images), strict=True):
        assert_alike(one, other)


@torch.inference_mode()
def test_cells_are_those_of_the_canvas(photo: Image) -> None:
    """At the ends of levels of odd size too; with a threshold so low that many pass."""
    images = [photo[:301, :258], photo[200:501, 200:458]]
    levels = pyramid_levels(301, 258, 20, 0.709)
    assert {level.height % 2 for level in levels} == {level.width % 2 for level in levels} == {0, 1}
    network = PNet(load_mtcnn_weights()["pnet"], CPU)
    canvas = Proposer(network, -2.5, scans=None, run=map_serially, empty=Scratch().empty)
    pixels = torch.from_numpy(np.stack(images)).float() - 127.5
    expected, cells = canvas(images, levels), DeviceProposer(network, -2.5, CPU)(pixels, levels)
    np.testing.assert_array_equal(cells.level, expected.level)
    np.testing.assert_array_equal(cells.position, expected.position)
    np.testing.assert_allclose(cells.log_odds, expected.log_odds, atol=2e-3)
    np.testing.assert_allclose(cells.offsets, expected.offsets, atol=2e-3)


class _Waits(TorchDispatchMode):
    """Counts what makes the host wait for a GPU: operations whose result's size depends on values,
    and values that are read."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = function.overloadpacket.__name__
        masked = name in ("index", "index_put_") and any(
            place is not None and place.dtype == torch.bool for place in args[1]
        )
        if masked or name in ("nonzero", "_local_scalar_dense", "masked_select", "bincount"):
            self.count += 1
        return function(*args, **(kwargs or {}))


@contextmanager
def counted_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Waits]:
    waits = _Waits()

    def counting(name: str) -> None:
        method = getattr(torch.Tensor, name)

        def call(tensor: torch.Tensor, *args: Any, **options: Any) -> Any:
            waits.count += 1
            return method(tensor, *args, **options)

        monkeypatch.setattr(torch.Tensor, name, call)

    for name in ("cpu", "tolist"):
        counting(name)
    with waits:
        yield waits


def test_the_host_waits_as_often_for_many_images_as_for_one(
    on_device: MTCNN, photo: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the number of images, of levels and of candidates."""
    small, seen = photo[:300, :300], []
    for images in ([small], [small] * 12, [photo]):
        with monkeypatch.context() as patch, counted_waits(patch) as waits:
            found = on_device.detect(images)
        assert all(found)
        seen.append(waits.count)
    assert len(set(seen)) == 1
    assert seen[0] <= 20


class _Convolutions(TorchDispatchMode):
    """What each convolution is told about TF32; None: whatever PyTorch is set to."""

    def __init__(self) -> None:
        super().__init__()
        self.tf32: list[bool | None] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = function.overloadpacket.__name__
        if "conv" in name:
            self.tf32.append(args[12] if name == "_convolution" else None)
        return function(*args, **(kwargs or {}))


def test_no_convolution_uses_tf32_whatever_others_set(on_device: MTCNN, photo: Image) -> None:
    """PyTorch's setting is one for all threads: a detector that changed it for a moment would
    change what is embedded meanwhile, and two such moments that overlap could leave it changed."""
    with torch.backends.cudnn.flags(allow_tf32=True), _Convolutions() as seen:
        assert on_device.detect([photo])[0]
        assert torch.backends.cudnn.allow_tf32
    assert len(seen.tf32) > 10
    assert set(seen.tf32) == {False}


@pytest.mark.parametrize("most", [None, 3, 100])
def test_order_and_counts_are_numpys(most: int | None) -> None:
    random = np.random.default_rng(0)
    sizes = [0, 7, 1, 0, 30, 2]
    scores = random.permutation(np.linspace(0, 1, sum(sizes))).astype(np.float32)
    kept = random.random(len(scores)) < 0.5
    order = order_by_score(torch.from_numpy(scores), sizes, most)
    np.testing.assert_array_equal(order.numpy(), order_by_score(scores, sizes, most))
    assert count_kept(torch.from_numpy(kept), sizes) == count_kept(kept, sizes)
    assert sum(count_kept(kept, sizes)) == kept.sum()
