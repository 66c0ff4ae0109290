"""`facerec export`: what leaves equals PyTorch, and comes back into every command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facerec.engine.building import open_embedder
from facerec.errors import UsageError
from facerec.models.exporting import export_model
from facerec.models.runtimes import foreign
from facerec.models.runtimes.checks import LEAST_COSINE
from facerec.profile.loading import Profile
from tests.conftest import Run, noise

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")


Exported = tuple[Path, dict[str, Any]]
"""The file, and what the command printed."""


def embed(model: str | Path, chips: np.ndarray) -> np.ndarray:
    return open_embedder(Profile.load(flags={"model.name": str(model)})).embed(chips)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained tiny network that takes BGR, as an exporter must not forget."""
    import torch

    from facerec.models.factory import create_network
    from facerec.training.run_folder import write_artefact
    from tests.conftest import make_card

    torch.manual_seed(0)
    card = make_card(16, architecture="test_mobilefacenet", colour="BGR",
                     mean=(120, 110, 100), std=(60, 50, 40))  # fmt: skip
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    write_artefact(path, create_network(card).eval(), card, "nothing")
    return path


@pytest.fixture(scope="module")
def once(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Exported]:
    """Exports the small network by the command line, each way once."""
    made: dict[tuple[str, ...], Exported] = {}

    def export(run: Run, suffix: str, *arguments: str) -> Exported:
        if arguments not in made:
            target = tmp_path_factory.mktemp("export") / f"out{suffix}"
            code, out, err = run("export", small, "-o", target, *arguments)
            assert code == 0, err
            made[arguments] = target, json.loads(out)
        return made[arguments]

    return export


@pytest.mark.parametrize(
    ("arguments", "suffix", "least"),
    [
        (("--to", "onnx"), ".onnx", 0.9999),
        (("--normalise",), ".onnx", 0.9999),
        (("--to", "onnx", "--precision", "fp16"), ".onnx", 0.999),
        (("--to", "torchscript"), ".ts", 0.9999),
        (("--to", "openvino"), ".xml", 0.9999),
        (("--to", "openvino", "--normalise"), ".xml", 0.9999),
        (("--to", "openvino", "--precision", "fp16"), ".xml", 0.999),
    ],
    ids=[
        "fp32",
        "normalised",
        "fp16",
        "torchscript",
        "openvino",
        "openvino-normalised",
        "openvino-fp16",
    ],
)
def test_an_exported_model_embeds_as_the_original(arguments, suffix, least, small, run, once):
    target, record = once(run, suffix, *arguments)
    assert record["cosine"] >= least
    for count in (1, 2, 17):
        chips = np.stack([noise(150, 150, seed) for seed in range(count)])
        cosines = (embed(small, chips) * embed(target, chips)).sum(axis=1)
        assert cosines.min() >= least


def test_a_gallery_of_the_model_takes_the_exact_export_and_refuses_the_rounded(small, run, once):
    card = open_embedder(Profile.load(flags={"model.name": str(small)})).card
    cards = {}
    for format_, suffix in (("onnx", ".onnx"), ("openvino", ".xml")):
        for precision in ("fp32", "fp16"):
            rounding = ("--precision", precision) if precision != "fp32" else ()
            target, _ = once(run, suffix, "--to", format_, *rounding)
            made = open_embedder(Profile.load(flags={"model.name": str(target)})).card
            cards[format_, precision] = made.fingerprint()
    assert cards["onnx", "fp32"] == cards["openvino", "fp32"] == card.fingerprint()
    rounded = {cards["onnx", "fp16"], cards["openvino", "fp16"], card.fingerprint()}
    assert len(rounded) == 3


def test_openvino_files_that_are_not_whole_are_refused_in_one_line(run, once, tmp_path):
    made, _ = once(run, ".xml", "--to", "openvino")
    target = shutil.copy(made, tmp_path / "m.xml")
    weights = shutil.copy(made.with_suffix(".bin"), target.with_suffix(".bin")).read_bytes()
    target.with_suffix(".bin").unlink()
    code, _, err = run("model", "show", target)
    assert code == 4
    assert "its .bin is not beside it" in err
    target.with_suffix(".bin").write_bytes(weights)
    target.write_text(target.read_text()[:500])
    code, _, err = run("model", "show", target)
    assert code == 4
    assert "OpenVINO cannot read it" in err


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["onnx", "openvino"])
def test_the_default_model_in_eight_bits_still_names_everybody(
    format_, run, people, picture, tmp_path
):
    target = tmp_path / ("int8.onnx" if format_ == "onnx" else "int8.xml")
    code, out, err = run(
        "export", "dlib_resnet", "--to", format_, "--precision", "int8", "-o", target
    )
    assert code == 0, err
    assert json.loads(out)["cosine"] >= 0.99
    model = ("--set", f"model.name={target}")
    assert run("embed", people, "-o", tmp_path / "g.h5", *model)[0] == 0
    _, out, _ = run("recognize", "image", picture, "-g", tmp_path / "g.h5", *model)
    names = {face["name"] for line in out.splitlines() for face in json.loads(line)["faces"]}
    assert names == {path.name for path in people.iterdir()}


def test_an_export_that_differs_is_not_written(small, tmp_path, monkeypatch):
    monkeypatch.setitem(LEAST_COSINE, "fp32", 1.1)
    chips = np.stack([noise(150, 150, seed) for seed in range(17)])
    with pytest.raises(UsageError, match="not written"):
        export_model(str(small), tmp_path / "x.onnx", chips, to="onnx")
    assert not list(tmp_path.iterdir())


def test_an_existing_file_and_a_wrong_ending_are_refused(small, run, tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"mine")
    assert run("export", small, "-o", tmp_path / "x.onnx")[0] == 2
    assert (tmp_path / "x.onnx").read_bytes() == b"mine"
    code, _, err = run("export", small, "-o", tmp_path / "x.pb")
    assert code == 2
    assert "ends in .onnx" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--to", "onx"), "no export target is called onx; did you mean onnx?"),
        (("--to", "torchscript", "--precision", "fp16"), "writes fp32, not --precision fp16"),
        (("--to", "torchscript", "--normalise"), "torchscript does not take --normalise"),
    ],
)
def test_what_a_target_does_not_offer_is_refused(small, run, tmp_path, options, message):
    code, _, err = run("export", small, *options, "-o", tmp_path / "x.ts")
    assert (code, message in err) == (2, True)
    assert not list(tmp_path.iterdir())


def test_a_model_is_shown_with_size_arithmetic_speed_and_card(run):
    code, out, err = run("model", "show", "dlib_resnet")
    assert code == 0, err
    record = json.loads(out)
    # 5.6 million, as dlib's file of 22.5 MB has in float32.
    assert 5.5e6 < record["parameters"] < 5.7e6
    assert record["multiply_adds"] > 1e8
    assert record["faces_per_second"] > 1
    assert record["card"]["calibration"]["thresholds"]["1e-3"] == 0.085
    code, out, _ = run("model", "show", "dlib_resnet", "--table")
    assert "1e-3: 0.0850" in out


def test_models_and_networks_are_listed(run):
    _, out, _ = run("model", "list")
    lines = [json.loads(line) for line in out.splitlines()]
    listed = {(line["name"], line["kind"]) for line in lines}
    assert {("dlib_resnet", "model"), ("ir_50", "network")} <= listed
    assert not any(name.startswith("test_") for name, _ in listed)


@pytest.mark.parametrize(("format_", "suffix"), [("onnx", ".onnx"), ("openvino", ".xml")])
def test_a_file_that_computes_wrongly_on_this_processor_is_refused_with_the_figure(
    format_, suffix, run, once, tmp_path, monkeypatch
):
    monkeypatch.setenv("FACEREC_HOME", str(tmp_path / "home"))
    target, _ = once(run, suffix, "--to", format_)
    right = foreign.ForeignEmbedder._run

    def wrong(self, x):
        vectors = right(self, x)
        vectors[:, 0] += 2 * np.abs(vectors).max()
        return vectors

    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(foreign.ForeignEmbedder, "_run", wrong)
        with pytest.raises(UsageError, match=r"wrongly on this processor: cosine 0\.\d+"):
            open_embedder(Profile.load(flags={"model.name": str(target)}))
    calls = []
    monkeypatch.setattr(
        foreign.ForeignEmbedder, "_run", lambda self, x: calls.append(len(x)) or right(self, x)
    )
    for _ in range(2):
        open_embedder(Profile.load(flags={"model.name": str(target)}))
    # Compared at the first use, and not again.
    assert calls == [2]
    assert len(list((tmp_path / "home" / "runtimes" / "right").iterdir())) == 1
