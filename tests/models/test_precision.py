"""`runtime.precision` and `runtime.engine`: the same faces in another arithmetic."""

from __future__ import annotations

import builtins
from pathlib import Path

import numpy as np
import pytest
import torch

from facerec.engine.building import build_detector, calibration_chips, open_embedder
from facerec.engine.cache import cache_path
from facerec.errors import IncompatibleError, MissingError, UsageError
from facerec.imaging.portraits import portrait_files
from facerec.models.factory import create_embedder, create_network
from facerec.models.folding import fold_batch_norms
from facerec.models.precision import choose_precision
from facerec.models.runtimes.graphs import rounded_card
from facerec.profile.loading import Profile
from facerec.profile.schema import DetectorSection
from facerec.training.run_folder import write_artefact
from facerec.weights.store import load_model
from tests.conftest import make_card, noise

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def chips() -> np.ndarray:
    card, _ = load_model("dlib_resnet")
    return calibration_chips(build_detector(Profile.load()), card, list(portrait_files().values()))


def embedder(*settings: str):
    return open_embedder(Profile.load(settings=settings))


def small_model(folder: Path) -> Path:
    """A file of a tiny network with random weights."""
    torch.manual_seed(0)
    card = make_card(16, architecture="test_mobilefacenet")
    write_artefact(folder / "small.safetensors", create_network(card).eval(), card, "nothing")
    return folder / "small.safetensors"


def worst_cosine(one, other, chips: np.ndarray) -> float:
    return float((one.embed(chips) * other.embed(chips)).sum(axis=1).min())


@pytest.mark.parametrize(
    "architecture", ["test_mobilefacenet", "ir_50", "iresnet18", "mobilenet_v2"]
)
def test_folding_batch_norms_leaves_the_function_as_it_is(architecture: str) -> None:
    torch.manual_seed(0)
    card = make_card(16, architecture=architecture, input_height=112, input_width=112)
    network = create_network(card).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -1, 1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    x = torch.randn(2, 3, 112, 112)
    with torch.inference_mode():
        before = network(x)
        folded = fold_batch_norms(network)
        assert torch.allclose(folded(x), before, rtol=1e-3, atol=1e-4)
    count = sum(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    assert count < sum(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


def test_a_network_whose_layers_cannot_be_followed_is_left_alone() -> None:
    class Branching(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    network = Branching()
    assert fold_batch_norms(network) is network


def test_bf16_vectors_are_the_exact_ones_to_a_ten_thousandth(chips: np.ndarray) -> None:
    card, state = load_model("dlib_resnet")
    exact = create_embedder(card, state, device="cpu", batch=32)
    rounded = create_embedder(card, state, device="cpu", batch=32, precision="bf16")
    vectors = rounded.embed(chips)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(chips)), abs=1e-5)
    assert worst_cosine(exact, rounded, chips) > 0.9999


def test_a_gallery_of_one_precision_takes_queries_of_another_but_not_of_rounded_weights() -> None:
    exact = embedder("runtime.precision=fp32").card
    exact.require_same_model(embedder("runtime.precision=bf16").card, "the gallery")
    with pytest.raises(IncompatibleError, match="dlib_resnet-int8"):
        exact.require_same_model(rounded_card(exact, "openvino", "int8"), "the gallery")


def test_cached_vectors_of_two_precisions_lie_in_two_files(tmp_path) -> None:
    places = {
        cache_path(tmp_path, make_card(), arithmetic, DetectorSection(), aligned=False)
        for arithmetic in ("torch fp32", "torch bf16", "openvino bf16")
    }
    assert len(places) == 3


@pytest.mark.parametrize(
    ("model", "settings", "least"),
    [
        ("small", ("runtime.engine=onnxruntime",), 0.9999),
        ("small", ("runtime.engine=openvino", "runtime.precision=bf16"), 0.999),
        *(
            pytest.param("dlib_resnet", settings, least, marks=pytest.mark.slow)
            for settings, least in (
                (("runtime.precision=int8",), 0.99),
                (("runtime.engine=onnxruntime", "runtime.precision=int8"), 0.99),
            )
        ),
    ],
)
def test_every_runtime_embeds_as_pytorch_does(
    model, settings, least, chips, tmp_path, monkeypatch
) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("openvino")
    monkeypatch.setenv("FACEREC_HOME", str(tmp_path))
    if model == "small":
        model = small_model(tmp_path)
    chosen = f"model.name={model}"
    assert worst_cosine(embedder(chosen), embedder(chosen, *settings), chips) > least
    (kept,) = (tmp_path / "runtimes").glob("*.[ox]*")
    written = kept.stat().st_mtime_ns
    embedder(chosen, *settings)
    assert kept.stat().st_mtime_ns == written


@pytest.mark.slow
def test_a_network_that_eight_bits_spoil_is_refused_and_nothing_is_kept(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("FACEREC_HOME", str(tmp_path))
    model = small_model(tmp_path)
    with pytest.raises(
        UsageError,
        match=r"small\.safetensors in runtime\.precision int8, openvino: its output .* needs 0\.99",
    ):
        embedder(f"model.name={model}", "runtime.precision=int8")
    assert not (tmp_path / "runtimes").exists()


def test_auto_takes_bf16_only_where_the_processor_has_it(monkeypatch) -> None:
    for limit in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(limit, raising=False)
    for has in (False, True):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
        monkeypatch.setattr(
            torch.cpu, "_is_avx512_bf16_supported", lambda has=has: has, raising=False
        )
        assert choose_precision("auto", "torch", "cpu") == ("bf16" if has else "fp32")
        assert choose_precision("auto", "onnxruntime", "cpu") == "fp32"
    assert choose_precision("auto", "torch", "cuda:1") == "fp16"


def test_what_a_runtime_does_not_compute_is_refused_with_what_it_does() -> None:
    with pytest.raises(UsageError, match=r"onnxruntime on cpu computes fp32, int8"):
        choose_precision("bf16", "onnxruntime", "cpu")
    with pytest.raises(UsageError, match=r"torch on cpu computes fp32, bf16"):
        embedder("runtime.precision=int8", "runtime.engine=torch")
    with pytest.raises(MissingError, match="openvino does not run on cuda"):
        choose_precision("auto", "openvino", "cuda")


def test_a_missing_runtime_says_what_to_install(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FACEREC_HOME", str(tmp_path))
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name in ("openvino", "onnx"):
            raise ImportError(name, name=name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingError, match=r"pip install 'facerec\[openvino\]'"):
        embedder("runtime.engine=openvino")
    with pytest.raises(MissingError, match=r"pip install 'facerec\[export\]'"):
        embedder("runtime.engine=onnxruntime")


def test_a_vector_does_not_depend_on_the_faces_beside_it_more_than_bf16_rounds() -> None:
    card, state = load_model("dlib_resnet")
    rounded = create_embedder(card, state, device="cpu", batch=32, precision="bf16")
    chips = np.stack([noise(150, 150, seed) for seed in range(7)])
    alone = np.concatenate([rounded.embed(chip[None]) for chip in chips])
    assert (alone * rounded.embed(chips)).sum(axis=1).min() > 0.9999
