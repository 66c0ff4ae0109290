"""Which device `auto` stands for; Apple's GPU is simulated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.distributed as dist
from onnx import TensorProto, helper, numpy_helper

from facerec.engine.building import _Plan, open_embedder
from facerec.errors import MissingError
from facerec.models.precision import choose_precision
from facerec.models.runtimes.onnx import OnnxNetwork, onnx_sha256
from facerec.parallel.devices import choose_device
from facerec.parallel.ranks import device_setting, process_group
from facerec.profile.loading import Profile
from facerec.weights.cards import write_card
from tests.conftest import Run, make_card


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
    with pytest.raises(
        MissingError, match=r"runtime\.device mps: there is no Apple GPU .*; try auto or cpu"
    ):
        choose_device("mps")


@pytest.mark.parametrize("name", ["meta", "toaster", "gpu", "cuda0"])
def test_what_is_no_device_is_told_with_those_there_are(name: str) -> None:
    with pytest.raises(
        MissingError, match=rf"runtime\.device {name}: no such device; there are auto"
    ):
        choose_device(name)


@pytest.mark.parametrize("name", ["CPU", " cpu", "Cpu"])
def test_a_device_is_known_in_any_case(name: str) -> None:
    assert Profile.load(settings=[f"runtime.device={name}"]).runtime.device == "cpu"


def as_on_apple(name: str) -> str:
    """`choose_device`, as it would be there."""
    return "mps" if name == "auto" else name


COREML = ["CoreMLExecutionProvider", "CPUExecutionProvider"]


@pytest.fixture
def coreml(apple: None, monkeypatch: pytest.MonkeyPatch) -> list[list[object]]:
    """ONNX Runtime as it is built for Apple; the providers that sessions were opened with."""
    opened: list[list[object]] = []
    real = onnxruntime.InferenceSession

    def open_session(path: str, options: object = None, *, providers: list[object]) -> object:
        opened.append(providers)
        return real(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: COREML)
    monkeypatch.setattr(onnxruntime, "InferenceSession", open_session)
    return opened


def profile(model: Path, card: Path, **runtime: object) -> Profile:
    flags = {"model.name": str(model), "model.card": str(card)}
    return Profile.load(flags={**flags, **{f"runtime.{key}": it for key, it in runtime.items()}})


@pytest.fixture
def network(tmp_path: Path) -> tuple[Path, Path]:
    """A tiny ONNX network, and its card."""
    card = make_card(4, input_height=8, input_width=8)
    values = np.random.default_rng(0).standard_normal((3 * 8 * 8, 4)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["input"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weight"], ["embedding"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(values, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "tiny.onnx")
    sha256 = onnx_sha256(tmp_path / "tiny.onnx")
    write_card(tmp_path / "tiny.yaml", card.model_copy(update={"sha256": sha256}))
    return tmp_path / "tiny.onnx", tmp_path / "tiny.yaml"


def coreml_asked(providers: list[object]) -> bool:
    return isinstance(providers[0], tuple) and providers[0][0] == COREML[0]


@pytest.mark.parametrize("device", ["auto", "mps"])
def test_onnx_runs_in_coreml_where_onnx_runtime_has_it(
    device: str, coreml: list[list[object]], network: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("facerec.engine.building.choose_device", as_on_apple)
    embedder = open_embedder(profile(*network, device=device))
    assert embedder.arithmetic == "onnxruntime coreml"
    assert any(map(coreml_asked, coreml))
    assert "CPUExecutionProvider" in next(filter(coreml_asked, coreml))
    # The cards of what was opened only to compare are not mistaken for it.
    assert open_embedder(profile(*network, device="cpu")).arithmetic == "onnxruntime"


def test_coreml_that_computes_otherwise_is_not_taken_by_itself(
    coreml: list[list[object]], network: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = OnnxNetwork.run

    def wrong(self: OnnxNetwork, x: np.ndarray, output: int) -> np.ndarray:
        y = run(self, x, output)
        return y[:, ::-1] if "coreml" in self.arithmetic else y

    monkeypatch.setattr(OnnxNetwork, "run", wrong)
    assert open_embedder(profile(*network)).arithmetic == "onnxruntime"


def test_int8_stays_on_the_processor_where_coreml_has_none(coreml: list[list[object]]) -> None:
    plan = _Plan(Profile.load(flags={"runtime.precision": "int8"}), "it", ("onnxruntime",))
    assert (plan.device, plan.precision) == ("cpu", "int8")


def test_an_onnx_runtime_without_coreml_says_so(
    apple: None, network: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_embedder(profile(*network)).arithmetic == "onnxruntime"
    monkeypatch.setattr("facerec.engine.building.choose_device", as_on_apple)
    with pytest.raises(MissingError, match="built without CoreML; try device cpu"):
        open_embedder(profile(*network, device="mps"))
