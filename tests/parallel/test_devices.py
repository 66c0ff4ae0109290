"""Which device `auto` stands for; Apple's GPU is simulated."""

from __future__ import annotations

import pytest
import torch

from facerec.engine.building import _Plan
from facerec.errors import MissingError
from facerec.models.precision import choose_precision
from facerec.parallel.devices import choose_device
from facerec.parallel.ranks import process_group
from facerec.profile.loading import Profile


@pytest.fixture
def apple(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)


def test_auto_takes_cuda_before_metal_before_the_processor(
    apple: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose_device("auto") == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == "cpu"


def test_what_does_not_run_on_metal_runs_on_the_processor(apple: None) -> None:
    for engines, device in (
        (("torch",), "mps"),
        (("onnxruntime", "openvino"), "cpu"),
        (("openvino",), "cpu"),
    ):
        assert _Plan(Profile(), "it", engines).device == device  # type: ignore[arg-type]
    assert choose_precision("auto", "torch", "mps") == "fp32"
    with process_group("auto") as device:
        assert device == torch.device("cpu")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is one here")
def test_a_gpu_that_is_asked_for_must_be_there() -> None:
    with pytest.raises(MissingError, match=r"runtime\.device mps: .*; try auto or cpu"):
        choose_device("mps")
