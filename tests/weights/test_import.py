"""`facerec import`: other projects' files give what their own networks give."""

from __future__ import annotations

import argparse
import builtins
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from facerec.engine.building import open_embedder
from facerec.errors import MissingError, UsageError
from facerec.models.factory import create_network
from facerec.profile.loading import Profile
from facerec.weights.layouts.mxnet import read_params
from facerec.weights.layouts.reading import describe_assumption, read_foreign
from facerec.weights.packages import package_file
from facerec.weights.store import load_card, read_model
from tests import layouts
from tests.conftest import make_card, noise
from tests.layouts import randomise

HALF, EIGHTH, UNIT = (127.5, 127.5), (127.5, 128.0), (0.0, 255.0)
IMAGENET = (
    255 * np.array([0.485, 0.456, 0.406], np.float32),
    255 * np.array([0.229, 0.224, 0.225], np.float32),
)


def facenet() -> torch.nn.Module:
    return pytest.importorskip("facenet_pytorch").InceptionResnetV1()


def seed_network(name: str) -> Callable[[], torch.nn.Module]:
    """Layouts that are facerec's own network's: only the telling is tested."""
    return lambda: create_network(
        make_card(512, architecture=name, input_height=112, input_width=112)
    )


# Layout, network, wrapping of its file, height, width, mean and deviation, colours.


def magface() -> torch.nn.Module:
    """IrvingMeng/MagFace, `models/iresnet.py`."""
    network = layouts.IResNet18()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.eps = 2e-5
    return network


def curricular() -> torch.nn.Module:
    """HuangYG123/CurricularFace, `backbone/model_irse.py`."""
    network = layouts.SeedIR()
    network.output_layer[4] = torch.nn.BatchNorm1d(512, affine=False)
    return network


CASES: dict[str, tuple[str, Callable[[], Any], Callable[[dict], Any], int, int, Any, str]] = {
    "seed IR-50": ("ir", layouts.SeedIR, lambda s: s, 112, 112, HALF, "RGB"),
    "seed IR-50, DataParallel": (
        "ir", layouts.SeedIR, lambda s: {f"module.{k}": v for k, v in s.items()}, 112, 112, HALF,
        "RGB",
    ),
    "CurricularFace IR-50": ("ir", curricular, lambda s: s, 112, 112, HALF, "RGB"),
    "IR-SE-50": ("ir", lambda: layouts.SeedIR(se=True), lambda s: s, 112, 112, HALF, "RGB"),
    "insightface iresnet18": ("iresnet", layouts.IResNet18, lambda s: s, 112, 112, HALF, "RGB"),
    **{
        f"MagFace iresnet18, {how}": (
            "magface", magface,
            lambda s, prefix=prefix: {
                "arch": "iresnet18",
                "state_dict": {
                    **{f"{prefix}.{k}": v for k, v in s.items()}, "fc.weight": torch.zeros(512, 9)
                },
            },
            112, 112, UNIT, "BGR",
        )
        for how, prefix in (
            ("one GPU", "features"), ("DataParallel", "module.features"),
            ("distributed", "features.module"),
        )
    },
    "arcface_torch iresnet18, a checkpoint of a GPU": (
        "iresnet", layouts.IResNet18,
        lambda s: {
            "epoch": 1, "global_step": 10, "state_dict_backbone": s,
            "state_dict_softmax_fc": {"weight": torch.zeros(9, 512)},
            "state_optimizer": {"state": {}}, "state_lr_scheduler": {},
        },
        112, 112, HALF, "RGB",
    ),
    "insightface ViT-T": ("vit", seed_network("vit_t"), lambda s: s, 112, 112, HALF, "RGB"),
    "insightface ViT-S, DataParallel": (
        "vit", seed_network("vit_s"), lambda s: {f"module.{k}": v for k, v in s.items()}, 112, 112,
        HALF, "RGB",
    ),
    "AdaFace IR-18, Lightning": (
        "adaface", layouts.AdaFace,
        lambda s: {
            "state_dict": {
                **{f"model.{k}": v for k, v in s.items()}, "head.kernel": torch.zeros(512, 9)
            },
            "epoch": 25,
        },
        112, 112, HALF, "BGR",
    ),
    "Xiaoccer MobileFaceNet": (
        "xiaoccer", layouts.Xiaoccer, lambda s: {"iter": 1, "net_state_dict": s}, 112, 96, EIGHTH,
        "RGB",
    ),
    "foamliu MobileFaceNet": ("foamliu", layouts.Foamliu, lambda s: s, 112, 112, IMAGENET, "RGB"),
    "facenet-pytorch": (
        "facenet", facenet,
        lambda s: {**s, "logits.weight": torch.zeros(3, 512), "logits.bias": torch.zeros(3)},
        160, 160, EIGHTH, "RGB",
    ),
    "seed ResNet-50": ("resnet", seed_network("resnet_50"), lambda s: s, 112, 112, HALF, "RGB"),
    "seed MobileNet V2": (
        "mobilenet_v2", seed_network("mobilenet_v2"), lambda s: s, 112, 112, HALF, "RGB",
    ),
    "seed MobileNet V3 small": (
        "mobilenet_v3", seed_network("mobilenet_v3_small"), lambda s: s, 112, 112, HALF, "RGB",
    ),
    "seed MobileNet V3 large": (
        "mobilenet_v3", seed_network("mobilenet_v3_large"), lambda s: s, 112, 112, HALF, "RGB",
    ),
    "seed LightNet": ("lightnet", seed_network("lightnet"), lambda s: s, 112, 112, HALF, "RGB"),
    "face.evoLVe MobileFaceNet": (
        "mobilefacenet", seed_network("mobilefacenet"), lambda s: s, 112, 112, HALF, "RGB",
    ),
}  # fmt: skip


def chips(height: int, width: int) -> np.ndarray:
    return np.stack([noise(height, width, seed) for seed in range(3)])


MIRRORED = {"ir", "resnet", "mobilenet_v2", "mobilenet_v3", "lightnet"}
"""Layouts of projects that add the vector of the mirror image."""


def expected(
    forward: Callable[[torch.Tensor], torch.Tensor], images, mean, std, colour, *, mirrored=False
):
    x = images[..., ::-1] if colour == "BGR" else images
    x = (x.astype(np.float32) - mean) / std
    x = torch.from_numpy(x).permute(0, 3, 1, 2).float().contiguous()
    with torch.inference_mode():
        vectors = F.normalize(forward(x))
        if mirrored:
            vectors = F.normalize(vectors + F.normalize(forward(x.flip(3))))
    return vectors.numpy()


def embed(model: Path, images: np.ndarray) -> np.ndarray:
    return open_embedder(Profile.load(flags={"model.name": str(model)})).embed(images)


@pytest.mark.parametrize("case", CASES)
def test_an_imported_file_gives_what_its_own_network_gives(case, run, tmp_path):
    layout, create, wrap, height, width, (mean, std), colour = CASES[case]
    torch.manual_seed(0)
    network = randomise(create(), (height, width))
    torch.save(wrap(network.state_dict()), tmp_path / "theirs.pth")
    code, out, err = run("import", tmp_path / "theirs.pth", "-o", tmp_path / "ours.safetensors")
    assert code == 0, err
    record = json.loads(out)
    assert record["layout"] == layout
    assert record["input"] == [height, width]
    images = chips(height, width)
    mirrored = layout in MIRRORED
    card = read_model(tmp_path / "ours.safetensors")[0]
    assert card.augment == ("flip" if mirrored else "none")
    tells_quality = layout in ("adaface", "magface")
    assert (card.norms.loss if card.norms else None) == (layout if tells_quality else None)
    assert ("evaluate lfw --model" in err) == tells_quality
    difference = embed(tmp_path / "ours.safetensors", images) - expected(
        network, images, mean, std, colour, mirrored=mirrored
    )
    print(f"{case:36} {np.abs(difference).max():.1e}")
    assert np.abs(difference).max() < 5e-5


def bare(state: dict) -> dict:
    return state


def cvlface(state: dict) -> dict:
    return {f"net.{key}": value for key, value in state.items()}


SHARED: dict[str, tuple[Callable[[], torch.nn.Module], Callable[[dict], dict], str, bool]] = {
    # Case, network, wrapping, colours, whether its norms tell quality.
    "adaface": (layouts.AdaFace, bare, "BGR", True),
    "tface": (layouts.AdaFace, bare, "RGB", False),
    "tface, CVLface": (layouts.AdaFace, cvlface, "RGB", False),
    "ir": (layouts.SeedIR, bare, "RGB", False),
    "insightface_pytorch, IR-50": (layouts.SeedIR, bare, "BGR", False),
    "insightface_pytorch, IR-SE-50": (lambda: layouts.SeedIR(se=True), bare, "BGR", False),
    "mobilefacenet": (seed_network("mobilefacenet"), bare, "RGB", False),
    "insightface_pytorch, MobileFaceNet": (seed_network("mobilefacenet"), bare, "BGR", False),
}


@pytest.mark.parametrize("case", SHARED)
def test_a_network_of_several_projects_is_imported_as_the_one_that_is_named(case, run, tmp_path):
    create, wrap, colour, tells_quality = SHARED[case]
    network = randomise(create(), (112, 112))
    torch.save(wrap(network.state_dict()), tmp_path / "theirs.pt")
    model = tmp_path / "ours.safetensors"
    code, _, err = run("import", tmp_path / "theirs.pt", "-o", model, "--as", case.split(",")[0])
    assert code == 0, err
    assert "give --as" not in err
    card = read_model(model)[0]
    assert (card.norms is not None) == tells_quality
    images = chips(112, 112)
    wanted = expected(network, images, *HALF, colour, mirrored=card.augment == "flip")
    difference = embed(model, images) - wanted
    print(f"{case:36} {np.abs(difference).max():.1e}")
    assert np.abs(difference).max() < 5e-5


@pytest.mark.parametrize("wrap", [bare, cvlface])
def test_whose_network_it_is_must_be_said_where_names_do_not_tell(wrap, run, tmp_path):
    torch.save(wrap(layouts.AdaFace().state_dict()), tmp_path / "theirs.pt")
    code, out, err = run("import", tmp_path / "theirs.pt")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].endswith(
        "theirs.pt: whose it is cannot be told by its names; give --as adaface (mk-minchul/AdaFace:"
        " IR; BGR) or --as tface (Tencent/TFace, mk-minchul/CVLface: IR; RGB)"
    )


@pytest.mark.parametrize(
    ("create", "network"),
    [(layouts.SeedIR, "IR, IR-SE"), (seed_network("mobilefacenet"), "MobileFaceNet")],
)
def test_the_colours_that_are_assumed_are_told(create, network, run, tmp_path):
    torch.save(create().state_dict(), tmp_path / "theirs.pth")
    _, _, err = run("import", tmp_path / "theirs.pth")
    assert "theirs.pth: taken as RGB, in which " in err
    assert err.splitlines()[-1].endswith(
        f": {network} is trained; for TreB1eN/InsightFace_Pytorch: {network}, trained in"
        " BGR, give --as insightface_pytorch"
    )


@pytest.mark.parametrize("layout", ["iresnet", "adaface", "mxnet", "dlib"])
def test_where_names_tell_the_project_nothing_is_assumed(layout):
    assert describe_assumption(layout) is None


def test_a_downloaded_checkpoint_of_the_seed_is_used_by_its_name(run, tmp_path, monkeypatch):
    home, stick = tmp_path / "home", tmp_path / "stick"
    monkeypatch.setenv("FACEREC_HOME", str(home))
    stick.mkdir()
    _, create, wrap, height, width, (mean, std), colour = CASES["seed IR-50"]
    network = randomise(create(), (height, width))
    torch.save(
        wrap(network.state_dict()), stick / "IR_50_MODEL_arcface_ms1celeb_epoch90_lfw9962.pth"
    )
    code, _, err = run("model", "show", "ir_50_ms1m")
    assert code == 4
    assert "facerec download weights ir_50_ms1m" in err
    assert run("download", "weights", "ir_50_ms1m", "--from", stick, "--yes")[0] == 0
    images = chips(height, width)
    for _ in range(2):
        found = embed(Path("ir_50_ms1m"), images)
        wanted = expected(network, images, mean, std, colour, mirrored=True)
        assert np.abs(found - wanted).max() < 5e-5
    assert len(list((home / "models").glob("ir_50_ms1m-*.safetensors"))) == 1
    assert load_card("ir_50_ms1m").name == "ir_50_ms1m"


def test_mxnets_mobilefacenet_gives_what_mxnets_rules_give(run, tmp_path):
    network = layouts.MXNetMobileFaceNet()
    (tmp_path / "model-0000.params").write_bytes(network.save())
    code, out, err = run("import", tmp_path / "model-0000.params", "-o", tmp_path / "m.safetensors")
    assert code == 0, err
    assert json.loads(out)["layout"] == "mxnet"
    images = chips(112, 112)
    difference = embed(tmp_path / "m.safetensors", images) - expected(
        network, images, *EIGHTH, "RGB"
    )
    print(f"{'insightface MobileFaceNet, MXNet':36} {np.abs(difference).max():.1e}")
    assert np.abs(difference).max() < 5e-5


def test_dlibs_file_becomes_the_default_model(run, tmp_path):
    source = package_file(
        "face_recognition_models", "models/dlib_face_recognition_resnet_model_v1.dat"
    )
    assert run("import", source, "-o", tmp_path / "d.safetensors", "--name", "mine")[0] == 0
    images = chips(150, 150)
    ours = embed(tmp_path / "d.safetensors", images)
    assert np.array_equal(ours, open_embedder(Profile.load("default")).embed(images))


def test_missing_unknown_and_misshapen_weights_are_named(run, tmp_path):
    state = layouts.IResNet18().state_dict()
    state.pop("layer2.0.conv1.weight")
    state["extra.weight"] = torch.zeros(2)
    state["bn1.bias"] = torch.zeros(65)
    torch.save(state, tmp_path / "odd.pth")
    code, _, err = run("import", tmp_path / "odd.pth")
    assert code == 2
    assert "missing: layer2.0.conv1.weight" in err
    assert "unknown: extra.weight" in err
    assert "bn1.bias (65,), not (64,)" in err
    assert not (tmp_path / "odd.safetensors").exists()


def test_a_file_that_could_run_code_is_refused_and_does_not(run, tmp_path):
    class Payload:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/ran",)

    torch.save({"state_dict": Payload()}, tmp_path / "evil.pth")
    code, _, err = run("import", tmp_path / "evil.pth")
    assert code == 4
    assert "could run code" in err
    assert not (tmp_path / "ran").exists()


class ModelCheckpoint:
    """A callback as Lightning 1.4 wrote them: its class is a key, its state beside it."""

    def __init__(self) -> None:
        self.best = "best.ckpt"


class Call:
    """Pickled as a call, with a state that the result would be given."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self.called = function, arguments

    def __reduce__(self):
        return *self.called, {"state": 1}


def checkpoint(beside: object) -> dict:
    """As a training script leaves it, with an object beside the weights."""
    state = {f"model.{key}": value for key, value in layouts.AdaFace().state_dict().items()}
    return {
        "epoch": 25,
        "callbacks": {ModelCheckpoint: {"best": beside}},
        "state_dict": {**state, "head.kernel": torch.zeros(512, 9)},
        "hyper_parameters": argparse.Namespace(lr=0.1),
    }


def test_objects_beside_the_weights_of_a_checkpoint_are_passed_over(run, tmp_path):
    pytest.importorskip("torch", minversion="2.6")
    before = set(torch.serialization.get_safe_globals())
    torch.save(checkpoint(ModelCheckpoint()), tmp_path / "last.ckpt")
    code, out, err = run("import", tmp_path / "last.ckpt")
    assert code == 0, err
    assert json.loads(out)["layout"] == "adaface"
    assert set(torch.serialization.get_safe_globals()) == before
    torch.save({"state_dict": checkpoint(None)["state_dict"]}, tmp_path / "weights.ckpt")
    theirs = read_foreign(tmp_path / "last.ckpt", None)[1].state
    alone = read_foreign(tmp_path / "weights.ckpt", None)[1].state
    assert theirs.keys() == alone.keys()


def run_nothing(*arguments: object) -> None:
    """What a hostile file would call, were it called."""
    pytest.fail(f"was called with {arguments}")


@pytest.mark.parametrize(
    "function", [subprocess.call, eval, exec, open, run_nothing, setattr, __import__]
)
@pytest.mark.parametrize("weight", [False, True])
def test_what_a_file_would_call_beside_the_weights_is_not_called(
    function, weight, run, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    arguments = {
        subprocess.call: (["touch", "ran"],),
        eval: ("open('ran', 'w')",),
        exec: ("open('ran', 'w')",),
        open: ("ran", "w"),
        setattr: (Call(__import__, "builtins"), "ran", 1),
        __import__: ("this",),
    }.get(function, ())
    hostile = checkpoint(Call(function, *arguments))
    if weight:
        hostile["state_dict"]["model.input_layer.0.weight"] = Call(function, *arguments)
    torch.save(hostile, "evil.ckpt")
    monkeypatch.delitem(sys.modules, "this", raising=False)
    code, _, err = run("import", "evil.ckpt")
    assert not Path("ran").exists()
    assert not hasattr(builtins, "ran")
    assert "this" not in sys.modules
    if weight:
        assert code == 4
        assert "could run code" in err


@pytest.mark.parametrize(
    ("name", "content", "arguments", "code", "told"),
    [
        ("absent.pth", None, (), 4, "no such file"),
        ("empty.pth", b"", (), 4, "not a readable PyTorch file"),
        ("text.params", b"hello", (), 4, "not MXNet's parameters"),
        ("text.dat", b"hello", (), 4, "not dlib's"),
        ("text.safetensors", b"hello", ("-o", "x.safetensors"), 4, "not a readable safetensors"),
        ("text.pth", b"hello", ("--as", "nothing"), 2, "no such layout; there are"),
        ("text.pth", b"hello", ("-o", "x.pth"), 2, "ends in .safetensors"),
    ],
)
def test_what_cannot_be_imported_is_said_in_one_line(
    name, content, arguments, code, told, run, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    found, out, err = run("import", name, *arguments)
    assert (found, out) == (code, "")
    assert told in err.splitlines()[-1]


HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(100)


@pytest.mark.parametrize(
    ("name", "content", "code", "told"),
    [
        ("vgg.h5", HDF5, 4, "vgg.h5: is HDF5, as Keras's weights and galleries, no PyTorch file"),
        ("vgg.pth", HDF5, 4, "is HDF5"),
        ("r50.onnx", b"\x08\x07", 2, "an ONNX model needs no import; use it as --model r50.onnx"),
        ("notes.pth", b"hello", 4, "notes.pth: not a readable PyTorch file"),
    ],
)
def test_what_pytorch_did_not_write_is_told_for_what_it_is(
    name, content, code, told, run, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(content)
    found, _, err = run("import", name)
    assert found == code
    assert told in err.splitlines()[-1]
    assert "run code" not in err


def test_of_a_file_without_named_weights_the_keys_are_told(tmp_path):
    torch.save({"epoch": 3, "generator": {"w": torch.zeros(2)}}, tmp_path / "gan.pth")
    with pytest.raises(MissingError, match="holds no named weights; its keys: epoch, generator"):
        read_foreign(tmp_path / "gan.pth", None)
    torch.save({}, tmp_path / "empty.pth")
    with pytest.raises(MissingError, match="its keys: none"):
        read_foreign(tmp_path / "empty.pth", None)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_of_any_precision_become_float32(dtype, tmp_path):
    state = {
        name: value.to(dtype) if value.is_floating_point() else value
        for name, value in layouts.IResNet18().state_dict().items()
    }
    torch.save(state, tmp_path / "theirs.pth")
    save_file(state, tmp_path / "theirs.safetensors")
    pickled = read_foreign(tmp_path / "theirs.pth", None)[1].state
    safe = read_foreign(tmp_path / "theirs.safetensors", None)[1].state
    dtypes = {name: (pickled[name].dtype, value.dtype) for name, value in safe.items()}
    assert dtypes["conv1.weight"] == (np.float32, np.float32)
    different = [name for name in safe if not np.array_equal(pickled[name], safe[name])]
    assert different == []


def test_a_layout_that_is_forced_must_fit(tmp_path):
    torch.save(layouts.IResNet18().state_dict(), tmp_path / "a.pth")
    with pytest.raises(UsageError, match="is not laid out as ir"):
        read_foreign(tmp_path / "a.pth", "ir")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "b.pth")
    with pytest.raises(UsageError, match=r"has no layout that is known \(1 tensors: weight"):
        read_foreign(tmp_path / "b.pth", None)


@functools.cache
def mxnet_start() -> bytes:
    return layouts.MXNetMobileFaceNet().save()[:6000]


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 3000), st.binary(max_size=30))
def test_damaged_mxnet_files_are_refused(tmp_path_factory, at, damage):
    whole = mxnet_start()
    path = tmp_path_factory.mktemp("params") / "x.params"
    path.write_bytes(whole[:at] + damage)
    with pytest.raises(MissingError):
        read_params(path)
