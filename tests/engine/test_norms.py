"""The norm of a vector before normalisation, where a model's loss ties it to quality."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from facerec.card import ModelCard, Norms
from facerec.engine.cache import cache_path
from facerec.engine.engine import Engine
from facerec.engine.quality import norm_quality, usual_norms
from facerec.models.embedder import TorchEmbedder
from facerec.models.fusion import fused_card
from facerec.models.runtimes.foreign import ForeignEmbedder, Port
from facerec.profile.schema import DetectorSection
from facerec.serving.schema import FoundFace
from tests.conftest import make_card, make_face

USUAL = (20.0, 30.0)
LOUD = Norms(loss="magface", usual=USUAL, data="planted")


def loud_card(augment: str = "none", norms: Norms | None = LOUD) -> ModelCard:
    """Of a network whose norm is the mean of a chip's pixels."""
    return make_card(4, mean=(0, 0, 0), std=(1, 1, 1), augment=augment, norms=norms)


class Loud(nn.Module):
    """Vectors whose norm is the mean of the chip's left half; counts its passes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        loudness = x[..., : x.shape[-1] // 2].mean(dim=(1, 2, 3), keepdim=True)[..., 0, 0]
        return loudness * torch.tensor([0.6, 0.0, 0.8, 0.0]) * self.weight


class LoudFile:
    """The same as a network of another runtime."""

    takes = Port([None, 3, 150, 150], np.dtype(np.float32), "float32")
    gives = (Port([None, 4], np.dtype(np.float32), "float32"),)
    inside, check, arithmetic = False, "", "numpy"

    def run(self, x, output):
        loudness = x[..., :75].mean(axis=(1, 2, 3))[:, None]
        return (loudness * [0.6, 0, 0.8, 0]).astype(np.float32)


def grey(*levels: int) -> np.ndarray:
    """Chips of these greys, whose right half is 10 brighter."""
    chips = np.empty((len(levels), 150, 150, 3), np.uint8)
    for chip, level in zip(chips, levels, strict=True):
        chip[:, :75], chip[:, 75:] = level, level + 10
    return chips


class OneFace:
    """A face where the template lies, in each image."""

    def detect(self, images):
        points = np.array(make_card().template.points, np.float32)
        return [[replace(make_face(1, 0), embedding=None, landmarks=points)] for _ in images]


def embedders(augment: str):
    card = loud_card(augment)
    return {
        "torch": TorchEmbedder(Loud(), card, device="cpu", batch=2),
        "another runtime": ForeignEmbedder(Path("loud"), LoudFile(), card, batch=2),
    }


@pytest.mark.parametrize("whole", [False, True], ids=["", "whole batches"])
@pytest.mark.parametrize("augment", ["none", "flip", "views"])
@pytest.mark.parametrize("runtime", ["torch", "another runtime"])
def test_the_norm_is_handed_out_whatever_is_averaged(runtime, augment, whole) -> None:
    engine = Engine(OneFace(), embedders(augment)[runtime], batch=4)
    if whole:
        engine = engine.in_whole_batches()
    found = engine.embed(list(grey(10, 20, 30, 40, 50)), aligned=True)
    # Of a chip and its mirror image, the mean.
    more = 0 if augment == "none" else 5
    wanted = [level + more for level in (10, 20, 30, 40, 50)]
    assert [faces[0].norm for faces in found] == pytest.approx(wanted, abs=2)
    assert [np.linalg.norm(faces[0].embedding) for faces in found] == pytest.approx([1] * 5)


def test_no_second_pass_is_made() -> None:
    network = Loud()
    engine = Engine(OneFace(), TorchEmbedder(network, loud_card(), device="cpu", batch=8), batch=8)
    engine.embed(list(grey(10, 20, 30)))
    assert network.passes == 1


def test_quality_is_that_of_the_pixels_times_the_norms() -> None:
    engine = Engine(OneFace(), embedders("none")["torch"], batch=4)
    images = list(grey(10, 20, 25, 30, 90))
    found = [faces[0] for faces in engine.embed(images)]
    plain = engine.quality(list(zip(images, found, strict=True)))
    factors = [0.25, 0.5, 2**-0.5, 1, 1]
    assert [face.quality for face in found] == pytest.approx(plain * factors, rel=1e-5)
    assert [face.to_record()["norm"] for face in found] == [10, 20, 25, 30, 90]


def test_the_servers_answers_know_the_norm() -> None:
    engine = Engine(OneFace(), embedders("none")["torch"], batch=4)
    record = engine.embed(list(grey(10)))[0][0].to_record()
    assert FoundFace.model_validate(record).norm == 10


def test_unmeasured_norms_are_told_and_leave_quality_alone() -> None:
    card = loud_card(norms=Norms(loss="adaface"))
    engine = Engine(OneFace(), TorchEmbedder(Loud(), card, device="cpu", batch=4), batch=4)
    (image,) = grey(10)
    (face,) = engine.embed([image])[0]
    assert face.norm == pytest.approx(10)
    assert face.quality == pytest.approx(float(engine.quality([(image, face)])[0]))


def test_a_model_without_norms_tells_none_and_its_card_and_cache_stay_as_they_were(
    tmp_path: Path,
) -> None:
    card = loud_card(norms=None)
    engine = Engine(OneFace(), TorchEmbedder(Loud(), card, device="cpu", batch=4), batch=4)
    (face,) = engine.embed(list(grey(10)))[0]
    assert face.norm is None
    assert "norm" not in face.to_record()
    assert "norms" not in card.to_json()
    paths = [
        cache_path(tmp_path, one, "numpy", DetectorSection(), aligned=False)
        for one in (card, loud_card(), loud_card(norms=Norms(loss="magface")))
    ]
    assert len(set(paths)) == 3  # quality depends on them
    assert card.fingerprint() == loud_card().fingerprint()


def test_fused_vectors_have_no_norm() -> None:
    other = make_card(8, sha256="1" * 64)
    assert fused_card([loud_card(), other], (0.5, 0.5)).norms is None


def test_the_usual_norms_are_quantiles_of_what_is_known() -> None:
    norms = np.append(np.linspace(10, 30, 2001), np.nan).astype(np.float32)
    assert usual_norms(norms) == pytest.approx((11, 20), abs=0.01)
    assert usual_norms(np.ones(100, np.float32)) is None
    assert usual_norms(np.full(3, np.nan, np.float32)) is None


def test_quality_never_rises_as_the_norm_falls() -> None:
    factors = norm_quality(np.linspace(0, 60, 100, dtype=np.float32), loud_card())
    assert (np.diff(factors) >= 0).all()
    assert 0 < factors[0] < 0.2
    assert factors[-1] == 1


@pytest.mark.parametrize("usual", [(0, 1), (2, 1), (1, 1), (-3, 2)])
def test_usual_norms_that_cannot_be_are_refused(usual) -> None:
    with pytest.raises(ValueError):
        Norms(loss="magface", usual=usual)
