"""Every registered loss: finite gradients, a falling loss, its paper's equation."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from facerec.errors import ProfileError
from facerec.profile.loading import Profile, json_schema
from facerec.profile.schema import TrainSection
from facerec.registry import LOSSES
from facerec.training.losses.classifier import Classifier
from facerec.training.network import create_margin
from facerec.training.optimisation import create_optimizers
from tests.conftest import spawn

pytestmark = pytest.mark.numeric

WITH_CLASSIFIER = [name for name in LOSSES.names() if LOSSES.fact(name, "builds") != "head"]
WITH_MARGIN = [name for name in WITH_CLASSIFIER if name != "softmax"]


@pytest.mark.parametrize("name", WITH_CLASSIFIER)
def test_it_is_finite_and_every_weight_has_a_gradient(name: str) -> None:
    section = TrainSection(loss=name)
    torch.manual_seed(0)
    classifier = Classifier(7, 16, create_margin(section), scale=section.scale)
    features = torch.randn(12, 16, requires_grad=True)
    classifier.sample(torch.arange(12) % 7, torch.optim.SGD(classifier.trainable(), 0.1))
    loss = classifier(features, torch.arange(12) % 7).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() and p.grad.any() for p in classifier.trainable())
    assert torch.isfinite(features.grad).all()


@pytest.mark.parametrize("name", WITH_CLASSIFIER)
def test_with_its_defaults_it_falls(name: str) -> None:
    section = TrainSection(loss=name)
    torch.manual_seed(0)
    patterns = torch.randn(8, 32)
    network = nn.Sequential(
        nn.Linear(32, 64), nn.BatchNorm1d(64), nn.PReLU(), nn.Linear(64, 16), nn.BatchNorm1d(16)
    )
    classifier = Classifier(8, 16, create_margin(section), scale=section.scale)
    optimizers = create_optimizers(network, classifier, None, section)
    losses, accuracies = [], []
    for _ in range(100):
        labels = torch.randint(8, (32,))
        outcome = classifier(network(patterns[labels] + 0.3 * torch.randn(32, 32)), labels)
        for optimizer in optimizers.values():
            optimizer.zero_grad()
        outcome.loss.backward()
        for optimizer in optimizers.values():
            optimizer.step()
        classifier.write_back(optimizers["head"])
        losses.append(outcome.loss.item())
        accuracies.append(outcome.accuracy.item())
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) / 4
    assert np.mean(accuracies[-10:]) > 0.99


def _sphereface(angle: float, length: float) -> float:
    k = math.floor(4 * angle / math.pi)
    return (-1) ** k * math.cos(4 * angle) - 2 * k


def _adaface(angle: float, length: float) -> float:
    # Before any batch the running mean is 20 and the deviation 100.
    z = 0.333 * (length - 20) / (100 + 1e-3)
    return math.cos(angle - 0.4 * z) - (0.4 * z + 0.4)


def _magface(angle: float, length: float) -> float:
    return math.cos(angle + 0.45 + (0.8 - 0.45) / (110 - 10) * (length - 10))


# The true class's logit before scaling, by the angle to its centre and the feature's length.
EQUATIONS: dict[str, Callable[[float, float], float]] = {
    "normface": lambda angle, length: math.cos(angle),  # Wang et al. 2017
    "arcface": lambda angle, length: math.cos(angle + 0.5),  # Deng et al. 2019, eq. 3
    "cosface": lambda angle, length: math.cos(angle) - 0.35,  # Wang et al. 2018, eq. 4
    "sphereface": _sphereface,  # Liu et al. 2017, eq. 7
    "combined": lambda angle, length: math.cos(angle + 0.2) - 0.35,  # Deng et al. 2019, eq. 4
    "adaface": _adaface,  # Kim et al. 2022, section 3.3
    "curricularface": lambda angle, length: math.cos(angle + 0.5),  # Huang et al. 2020
    "magface": _magface,  # Meng et al. 2021, section 3.2
}


@pytest.mark.parametrize("name", WITH_MARGIN)
@pytest.mark.parametrize("angle", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("length", [15.0, 60.0])
def test_the_true_classs_logit_is_the_papers(name: str, angle: float, length: float) -> None:
    margin = create_margin(TrainSection(loss=name)).eval()
    found = margin.target(torch.tensor([math.cos(angle)]), torch.tensor([length]))
    assert found.item() == pytest.approx(EQUATIONS[name](angle, length), abs=1e-5)


@pytest.mark.parametrize("name", WITH_MARGIN)
def test_other_classes_logits_are_cosines_but_for_curricularfaces_hard_ones(name: str) -> None:
    margin = create_margin(TrainSection(loss=name)).eval()
    cosine, negatives = torch.tensor([0.6]), torch.tensor([[0.9, -0.8]])
    target = margin.target(cosine, torch.tensor([20.0]))
    # Huang et al. 2020, section 3.2, with t = 0: a negative above the target weighs (t + cos) cos.
    expected = torch.tensor([[0.81, -0.8]]) if name == "curricularface" else negatives
    torch.testing.assert_close(margin.negatives(negatives, cosine, target), expected)


@pytest.mark.parametrize("name", WITH_MARGIN)
def test_only_magface_adds_a_term_of_the_features_length(name: str) -> None:
    penalty = create_margin(TrainSection(loss=name)).penalty(torch.tensor([20.0, 40.0]))
    # Meng et al. 2021: g(a) = 1/a + a/110², with their lambda of 35.
    magface = 35 * ((1 / 20 + 20 / 110**2) + (1 / 40 + 40 / 110**2)) / 2
    assert penalty.item() == pytest.approx(magface if name == "magface" else 0.0)


# At a scale of 64 a loss begins at 25 (without a margin) to 60; softmax, unscaled, at 2.4.
REACHED = {"softmax": 0.1, "normface": 1.0, "sphereface": 2.0, "triplet": 0.05}


PAIRS = {"triplet": {"data.balance": "true", "data.per_person": 4}}


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES.names())
def test_two_hundred_steps_with_the_losss_defaults_train(
    name: str, run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    settings = {
        "train.loss": name, "train.backbone": "test_ir", "train.input": 32,
        "train.embedding_size": 16, "train.batch": 16, "train.max_steps": 200,
        "data.synthetic": "true", "data.synthetic_people": 12, "data.synthetic_images": 10,
        "train.log_every": 1, **PAIRS.get(name, {}),
    }  # fmt: skip
    pairs = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    code, _, err = run("train", "--out", tmp_path / "run", *pairs)
    assert code == 0, err
    assert "not finite" not in err
    lines = map(json.loads, (tmp_path / "run" / "log.jsonl").read_text().splitlines())
    steps = [line for line in lines if line["event"] == "train"]
    assert np.mean([step["loss"] for step in steps[-20:]]) < REACHED.get(name, 8.0)
    assert np.mean([step["accuracy"] for step in steps[-20:]]) > 0.9


@pytest.mark.parametrize(
    ("loss", "setting", "told"),
    [
        ("normface", "train.margin=0.5", "normface takes no margin"),
        ("softmax", "train.margin=0.5", "softmax takes no margin"),
        ("magface", "train.margin=0.5", "magface takes no margin"),
        ("combined", "train.margin=0.5", "combined takes train.m1 and train.m2 and train.m3"),
        ("triplet", "train.margin=0.3", "triplet needs several images of a person in a batch"),
        ("arcface", "train.m2=0.4", "arcface takes train.margin; --set train.m2=0.2 leaves it out"),
    ],
)
def test_a_margin_that_the_loss_would_ignore_is_refused(
    loss: str, setting: str, told: str, run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    settings = ("--set", f"train.loss={loss}", "--set", setting, "--set", "data.synthetic=true")
    code, _, err = run("train", "--out", tmp_path / "run", *settings)
    assert code == 2
    assert told in err
    assert not (tmp_path / "run").exists()


def test_sphereface_is_annealed_as_its_authors_do() -> None:
    margin = create_margin(TrainSection(loss="sphereface"))
    cosine, norms = torch.tensor([math.cos(1.0)]), torch.ones(1)
    hard = _sphereface(1.0, 1.0)
    first = margin.target(cosine, norms).item()
    assert first == pytest.approx((1000 * math.cos(1.0) + hard) / 1001, abs=1e-5)
    margin.batches.fill_(5000)
    assert margin.target(cosine, norms).item() == pytest.approx((5 * math.cos(1.0) + hard) / 6)


def test_sphereface_is_annealed_by_steps_of_the_optimiser_not_by_their_parts() -> None:
    torch.manual_seed(0)
    classifier = Classifier(7, 16, create_margin(TrainSection(loss="sphereface")))
    optimizer = torch.optim.SGD(classifier.trainable(), 0.1)
    vectors, labels = torch.randn(12, 16), torch.arange(12) % 7
    first, second = (classifier(vectors, labels).loss.item() for _ in range(2))
    assert first == second
    classifier.write_back(optimizer)
    assert classifier.margin.batches == 1
    assert classifier(vectors, labels).loss.item() > first


def test_softmax_has_no_margin() -> None:
    assert create_margin(TrainSection(loss="softmax")) is None


def test_the_schema_lists_every_loss() -> None:
    assert json_schema()["$defs"]["TrainSection"]["properties"]["loss"]["enum"] == LOSSES.names()


def test_a_margin_of_the_profile_is_taken() -> None:
    assert create_margin(TrainSection(loss="arcface", margin=0.3)).m2 == 0.3
    # Deng et al. 2019, CM2.
    paper = create_margin(TrainSection(loss="combined", m1=0.9, m2=0.4, m3=0.15))
    assert (paper.m1, paper.m2, paper.m3) == (0.9, 0.4, 0.15)
    assert create_margin(TrainSection(loss="cosface")).m3 == 0.35


def test_an_unknown_loss_is_answered_with_the_nearest() -> None:
    with pytest.raises(ProfileError) as caught:
        Profile.load(settings=["train.loss=arcfac"])
    assert str(caught.value) == (
        "settings: train.loss=arcfac: train.loss: no loss is called arcfac; did you mean arcface?"
    )


def test_options_are_for_losses_that_have_them() -> None:
    with pytest.raises(ProfileError, match=r"train\.options: arcface has none"):
        create_margin(TrainSection(loss="arcface", options={"h": 1}))


TOYS = Path(__file__).parents[1] / "toy_package"
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
