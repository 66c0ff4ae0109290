"""Training on Apple's GPU, which is simulated: it is taken where its gradients are right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from facerec.profile.loading import Profile
from facerec.profile.schema import TrainSection
from facerec.registry import LOSSES
from facerec.training.apple import gradient_cosine, settle_device
from facerec.training.network import create_backbone
from tests.conftest import Run
from tests.training.test_training import tiny

CPU = torch.device("cpu")
Settle = Callable[..., tuple[str, str]]


@pytest.fixture
def apple(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facerec.training.apple.choose_device", lambda _: "mps")


def recipe(**changes: object) -> TrainSection:
    tiny_one = {"backbone": "test_ir", "input": 32, "embedding_size": 16}
    return Profile().train.model_copy(update={**tiny_one, **changes})


@pytest.fixture
def settle(apple: None, monkeypatch: pytest.MonkeyPatch) -> Settle:
    """What `settle_device` takes and tells, with gradients of a given cosine."""

    def call(given: str = "auto", cosine: float = 1.0, **changes: object) -> tuple[str, str]:
        monkeypatch.setattr("facerec.training.apple.gradient_cosine", lambda *_: cosine)
        told: list[str] = []
        section = recipe(**changes)
        device = settle_device(given, CPU, *create_backbone(section, "it"), section, told.append)
        return device.type, "".join(told)

    return call


def test_auto_takes_it_where_its_gradients_are_the_processors(settle: Settle) -> None:
    device, told = settle()
    assert device == "mps"
    assert "trains on Apple's GPU" in told


@pytest.mark.parametrize("cosine", [0.99, -1.0, float("nan")])
def test_wrong_gradients_are_told_and_the_processor_trains(cosine: float, settle: Settle) -> None:
    device, told = settle(cosine=cosine)
    assert device == "cpu"
    assert "gives gradients of cosine" in told


@pytest.mark.parametrize(
    "changes",
    [{"given": "cpu"}, {"precision": "bf16"}, {"precision": "fp16"}, {"compile": True}],
    ids=str,
)
def test_what_is_asked_otherwise_stays_on_the_processor(
    changes: dict[str, object], settle: Settle
) -> None:
    assert settle(**changes) == ("cpu", "")


def test_where_it_cannot_compute_a_step_the_run_says_so_and_ends_well(
    apple: None, run: Run, tmp_path: Path
) -> None:
    code, _, err = run(*tiny(tmp_path / "run", train__max_steps=1))
    assert code == 0, err
    assert "Apple's GPU cannot train this (" in err
    assert (tmp_path / "run" / "model.safetensors").is_file()


@pytest.mark.parametrize("loss", LOSSES.names())
def test_gradients_on_one_device_agree_whatever_the_loss(loss: str) -> None:
    section = recipe(loss=loss)
    backbone, card = create_backbone(section, "it")
    before = torch.get_rng_state(), [value.clone() for value in backbone.state_dict().values()]
    assert gradient_cosine(backbone, card, section, CPU, CPU) == pytest.approx(1)
    assert torch.equal(torch.get_rng_state(), before[0])
    after = backbone.state_dict().values()
    assert all(torch.equal(one, other) for one, other in zip(before[1], after, strict=True))


def test_gradients_that_differ_show(monkeypatch: pytest.MonkeyPatch) -> None:
    section = recipe()
    backbone, card = create_backbone(section, "it")
    calls = iter([1.0, -1.0])
    to = nn.Module.to

    def skewed(self: nn.Module, *args: object, **kwargs: object) -> nn.Module:
        moved = to(self, *args, **kwargs)
        if "memory_format" in kwargs:
            sign = next(calls)
            moved.register_forward_hook(lambda _, __, y: y * torch.linspace(sign, 1, y.shape[1]))
        return moved

    monkeypatch.setattr(nn.Module, "to", skewed)
    assert gradient_cosine(backbone, card, section, CPU, CPU) < 0.9
