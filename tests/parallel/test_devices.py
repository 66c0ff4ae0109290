"""Which device `auto` stands for; Apple's GPU is simulated."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from facerec.engine.building import _Plan
from facerec.errors import MissingError
from facerec.models.precision import choose_precision
from facerec.parallel.devices import choose_device
from facerec.parallel.ranks import device_setting, process_group
from facerec.profile.loading import Profile
from tests.conftest import Run


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


def test_commands_that_ranks_share_run_on_metal_too(
    apple: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`embed`, `cleanup` and `album scan`: alone, `auto` is what it is for every other command."""
    with process_group("auto") as device:
        assert device_setting("auto", device) == "auto"
        assert device_setting("mps", device) == "mps"
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    assert device_setting("auto", torch.device("cpu")) == "cpu"
    assert device_setting("cuda", torch.device("cuda:1")) == "cuda:1"


@pytest.mark.parametrize(
    "command",
    [
        ("embed", "{people}", "-o", "{to}.h5"),
        ("album", "scan", "{people}", "-a", "{to}.facerec"),
        ("cleanup", "{people}", "--report", "{to}"),
    ],
)
def test_each_of_them_loads_its_engine_with_the_setting_as_given(
    apple: None, run: Run, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
) -> None:  # fmt: skip
    seen = []

    def load(profile: Profile) -> None:
        seen.append(profile.runtime.device)
        raise MissingError("loaded")

    monkeypatch.setattr("facerec.engine.engine.Engine.from_profile", load)
    code, _, err = run(*(part.format(people=people, to=tmp_path / "to") for part in command))
    assert (code, seen, err) == (4, ["auto"], "facerec: loaded\n")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is one here")
def test_a_gpu_that_is_asked_for_must_be_there() -> None:
    with pytest.raises(MissingError, match=r"runtime\.device mps: .*; try auto or cpu"):
        choose_device("mps")
