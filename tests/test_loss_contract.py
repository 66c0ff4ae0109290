"""What every registered loss does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from facerec.errors import ProfileError
from facerec.profile.loading import Profile
from facerec.profile.schema import TrainSection
from facerec.registry import LOSSES
from facerec.training.losses.classifier import Classifier
from facerec.training.network import create_margin
from tests.conftest import spawn

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("name", LOSSES.names())
def test_it_is_finite_and_every_weight_has_a_gradient(name: str) -> None:
    section = TrainSection(loss=name)
    torch.manual_seed(0)
    classifier = Classifier(7, 16, create_margin(section), scale=section.scale)
    features = torch.randn(12, 16, requires_grad=True)
    classifier.draw(torch.arange(12) % 7, torch.optim.SGD(classifier.trainable(), 0.1))
    loss = classifier(features, torch.arange(12) % 7).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() and p.grad.any() for p in classifier.trainable())
    assert torch.isfinite(features.grad).all()


def test_a_margin_of_the_profile_is_taken() -> None:
    assert create_margin(TrainSection(loss="arcface", margin=0.3)).m2 == 0.3
    assert create_margin(TrainSection(loss="cosface")).m3 == 0.35


def test_an_unknown_loss_is_answered_with_the_nearest() -> None:
    with pytest.raises(ProfileError) as caught:
        Profile.load(settings=["train.loss=arcfac"])
    assert str(caught.value) == (
        "--set train.loss=arcfac: train.loss: no loss is called arcfac; did you mean arcface?"
    )


def test_options_are_for_losses_that_have_them() -> None:
    with pytest.raises(ProfileError, match=r"train\.options: arcface has none"):
        create_margin(TrainSection(loss="arcface", options={"h": 1}))


TOYS = Path(__file__).parent / "toy_package"
RECIPE = (
    "train", "--profile", "lfw_small", "--set", "data.synthetic=true", "--set", "train.loss=toy",
    "--set", "data.synthetic_people=4", "--set", "train.max_steps=1", "--set", "train.batch=4",
    "--set", "train.backbone=test_ir", "--set", "train.embedding_size=16",
)  # fmt: skip


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        ("{margin: 0.1}", 0, ""),
        ("{margen: 0.1}", 2, "train.options: toy has no option margen; did you mean margin?"),
    ],
)
def test_a_loss_of_another_package_trains(
    options: str, code: int, told: str, tmp_path: Path
) -> None:
    path = f"{TOYS}:{os.environ.get('PYTHONPATH', '')}"
    done = spawn(
        *RECIPE, "--set", f"train.options={options}", "--out", tmp_path / "run",
        env={**os.environ, "PYTHONPATH": path}, cwd=TOYS.parent.parent,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert told in done.stderr
