"""Screening in OpenVINO, in bf16 too, changes the time that detection takes, and nothing else."""

from __future__ import annotations

import sys
from typing import TypeVar

import numpy as np
import pytest
import skimage.data
import torch

from facerec.detection.mtcnn.arrays import Scratch
from facerec.detection.mtcnn.boxes import crop
from facerec.detection.mtcnn.detector import MTCNN
from facerec.detection.mtcnn.networks import PNet, RNet
from facerec.detection.mtcnn.proposals import Proposer
from facerec.detection.mtcnn.pyramid import pyramid_levels
from facerec.detection.mtcnn.screening import ERROR, CellScans, Screen, open_cell_scans, open_screen
from facerec.detection.mtcnn.weights import load_mtcnn_weights
from facerec.faces import Image
from facerec.parallel.threads import map_serially

pytestmark = pytest.mark.numeric

T = TypeVar("T")
CPU = torch.device("cpu")


def or_skip(opened: T | None) -> T:
    if opened is None:
        pytest.skip("OpenVINO is not installed, or this processor has no bfloat16")
    return opened


@pytest.fixture(scope="module")
def screen() -> Screen:
    return or_skip(open_screen(load_mtcnn_weights()))


@pytest.fixture(scope="module")
def scans() -> CellScans:
    return or_skip(open_cell_scans(load_mtcnn_weights()))


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few the crops, and however many the candidates."""
    monkeypatch.setattr("facerec.detection.mtcnn.proposals._CELL_COST", 0)
    monkeypatch.setattr("facerec.detection.mtcnn.detector._MIN_SCREENED", 1)


@pytest.fixture(scope="module", params=[(512, 512), (333, 401)], ids=["even", "odd"])
def picture(request: pytest.FixtureRequest) -> Image:
    height, width = request.param
    image: Image = skimage.data.astronaut()[:height, 60 : 60 + width]
    return image


def test_screening_changes_no_face(
    screen: Screen, picture: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_it = MTCNN(load_mtcnn_weights()).detect([picture])[0]
    monkeypatch.setitem(sys.modules, "openvino", None)
    without = MTCNN(load_mtcnn_weights()).detect([picture])[0]
    assert len(with_it) == len(without) > 0
    for one, other in zip(with_it, without, strict=True):
        np.testing.assert_allclose(one.box, other.box, atol=0.05)
        np.testing.assert_allclose(one.landmarks, other.landmarks, atol=0.05)
        assert one.score == pytest.approx(other.score, abs=1e-4)


@pytest.mark.parametrize("rough", [True, False], ids=["rough", "exact"])
@torch.inference_mode()
def test_a_scan_passes_the_cells_that_pytorch_passes(
    scans: CellScans, picture: Image, rough: bool
) -> None:
    """At each level's ends too, where the network sees less than a whole cell."""
    if rough and scans.rough is None:
        pytest.skip("this processor has no bfloat16")
    network = PNet(load_mtcnn_weights()["pnet"], CPU)
    height, width, _ = picture.shape
    levels = pyramid_levels(height, width, 20, 0.709)
    chosen = scans if rough else scans._replace(rough=None)
    # so low a threshold that cells at the ends pass as well
    everywhere, scanned = (
        Proposer(network, -2.5, scans=looks, run=map_serially, empty=Scratch().empty)(
            [picture], levels
        )
        for looks in (None, chosen)
    )
    torch.testing.assert_close(everywhere.level, scanned.level)
    torch.testing.assert_close(everywhere.position, scanned.position)
    torch.testing.assert_close(everywhere.log_odds, scanned.log_odds, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(everywhere.offsets, scanned.offsets, atol=1e-4, rtol=1e-4)
    columns = torch.tensor([level.columns for level in levels])
    at_an_end = int((everywhere.position[:, 0] == columns[everywhere.level] - 1).sum())
    assert at_an_end > 0


@torch.inference_mode()
def test_estimates_err_by_less_than_the_margin(screen: Screen, picture: Image) -> None:
    pixels = torch.from_numpy(picture - np.float32(127.5))[None]
    boxes = torch.rand(200, 2) * 250
    boxes = torch.cat([boxes, boxes + 20 + torch.rand(200, 1) * 60], 1)
    crops = crop(pixels, boxes, np.zeros(200, int), RNet.side)
    exact = RNet(load_mtcnn_weights()["rnet"], CPU)(crops)[:, 4].numpy()
    estimate = screen(crops.numpy())
    near = np.abs(exact) < 3
    assert near.sum() > 5
    assert np.abs(exact - estimate)[near].max() < ERROR / 2


def test_without_openvino_there_is_no_screening(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert open_cell_scans(load_mtcnn_weights()) is None
    assert open_screen(load_mtcnn_weights()) is None
