"""Models: other projects' weights, facerec's own, and exported networks."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from facerec.models.factory import create_network
from facerec.training.run_folder import write_artefact
from tests.conftest import make_card, noise
from tests.fuzz.cases import Action, Kind, Seed
from tests.fuzz.mutations import BINARY, TEXT


class _Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, ("touch escaped",)


def _state() -> dict[str, torch.Tensor]:
    """A beginning of a network: enough to be recognised, small enough to be mutated often."""
    torch.manual_seed(0)
    card = make_card(16, architecture="test_mobilefacenet", input_height=112, input_width=112)
    return dict(create_network(card).state_dict())


def _weights(folder: Path) -> Mapping[str, Seed]:
    from safetensors.torch import save_file

    state = _state()
    torch.save(state, folder / "zip.pth")
    torch.save({"state_dict": state, "epoch": 3}, folder / "old.pth",
               _use_new_zipfile_serialization=False)  # fmt: skip
    torch.save({"state_dict": [1, 2], "model": {1: 2}}, folder / "odd.pth")
    small = {name: value for name, value in state.items() if value.numel() < 200}
    torch.save(small, folder / "small.pth")
    torch.save(small, folder / "small.pt", _use_new_zipfile_serialization=False)
    save_file(small, folder / "a.safetensors")
    np.savez(folder / "a.npz", **{name: value.numpy() for name, value in small.items()})
    names = ("zip.pth", "old.pth", "odd.pth", "small.pth", "small.pt", "a.safetensors", "a.npz")
    seeds = {name: Seed((folder / name).read_bytes()) for name in names}
    tensors = (folder / "a.safetensors").read_bytes()
    (length,) = struct.unpack_from("<Q", tensors)
    body = tensors[8 + length :]
    seeds["header.safetensors"] = Seed(
        tensors[8 : 8 + length], lambda text: struct.pack("<Q", len(text)) + text + body
    )
    seeds["a.params"] = Seed(_params())
    seeds["a.dat"] = Seed(_dlib())
    seeds |= _pickles((folder / "small.pth").read_bytes())
    hostile = {
        "system.pth": pickle.dumps(_Hostile()),
        "system.pt": pickle.dumps({"a": _Hostile()}, protocol=4),
        "zipped.pth": _zip({"archive/data.pkl": pickle.dumps(_Hostile()), "archive/version": b"3"}),
        "deep.pth": b"]" * 100_000 + b"a" * 99_999 + b".",
        "memo.pth": b"\x80\x02]q\0" + b"h\0a" * 100_000 + b".",
        "long.pth": b"\x80\x02\x8b\xff\xff\xff\x7f",
        "header.safetensors": b"\xff" * 16,
        "long.safetensors": struct.pack("<Q", 1 << 40),
        "deep.safetensors": struct.pack("<Q", 100_000) + b"[" * 100_000,
        "script.params": struct.pack("<QQQ", 0x112, 0, 1 << 60),
        "empty.params": struct.pack("<QQQQ", 0x112, 0, 0, 0),
        "empty.dat": b"", "empty.pth": b"", "empty.safetensors": b"", "text.pth": b"hello",
        "zip.dat": b"PK\x03\x04", "h5.h5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    }  # fmt: skip
    return seeds | {name: Seed(data, hostile=True) for name, data in hostile.items()}


def _zip(members: Mapping[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return target.getvalue()


def _pickles(checkpoint: bytes) -> dict[str, Seed]:
    """The pickle inside a checkpoint's zip, whose checksum is made right."""
    with zipfile.ZipFile(io.BytesIO(checkpoint)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    inner = next(name for name in members if name.endswith("data.pkl"))
    return {"inner.pth": Seed(members[inner], lambda data: _zip({**members, inner: data}))}


def _params() -> bytes:
    """MXNet's parameters: two small arrays."""
    array = np.arange(6, dtype="<f4").tobytes()
    one = struct.pack("<IiiqqIII", 0xF993FAC9, 0, 2, 2, 3, 1, 0, 0) + array
    names = b"".join(struct.pack("<Q", len(n)) + n for n in (b"arg:pre_fc1_weight", b"aux:b"))
    return struct.pack("<QQQ", 0x112, 0, 2) + one * 2 + struct.pack("<Q", 2) + names


def _dlib() -> bytes:
    """The beginning of dlib's network."""
    from facerec.weights.catalog import PackageFile, find_model
    from facerec.weights.packages import package_file

    file = find_model("dlib_resnet").file
    assert isinstance(file, PackageFile)
    source = package_file(file.package, file.path)
    return source.read_bytes()[:200_000]


def _import(path: Path, dice: Random) -> Action:
    forced = ("--as", dice.choice(("ir", "mxnet", "dlib", "facenet", "mobilefacenet", "resnet")))
    return ["import", path.name, "-o", "out.safetensors", *(forced if dice.random() < 0.2 else ())]


def _chips(card: Any) -> np.ndarray:
    return np.stack([noise(card.input_height, card.input_width, seed) for seed in range(17)])


def _models(folder: Path) -> Mapping[str, Seed]:
    """facerec's own model, and it exported."""
    from facerec.models.exporting import export_model

    card = make_card(16, architecture="test_mobilefacenet", input_height=112, input_width=112)
    model = folder / "m.safetensors"
    torch.manual_seed(0)
    write_artefact(model, create_network(card).eval(), card, "nothing")
    content = model.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    body = content[8 + length :]
    seeds = {
        "m.safetensors": Seed(content),
        "card.safetensors": Seed(
            content[8 : 8 + length], lambda text: struct.pack("<Q", len(text)) + text + body
        ),
    }
    for to, name in (("onnx", "m.onnx"), ("openvino", "m.xml"), ("torchscript", "m.ts")):
        export_model(str(model), folder / name, _chips(card), to=to)
        seeds[name] = Seed((folder / name).read_bytes())
    (folder / "weights.bin").write_bytes((folder / "m.bin").read_bytes())
    return seeds | {name: Seed(data, hostile=True) for name, data in _graphs(card).items()}


def _graphs(card: Any) -> dict[str, bytes]:
    """ONNX graphs that fit the card in name only."""
    from onnx import TensorProto, helper, numpy_helper

    from facerec.models.runtimes.foreign import CARD_KEY

    def graph(
        nodes: list[Any],
        takes: list[Any],
        gives: list[Any],
        *tensors: Any,
        text: str = card.to_json(),
    ) -> bytes:
        made = helper.make_graph(nodes, "g", takes, gives, list(tensors))
        model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        helper.set_model_props(model, {CARD_KEY: text})
        return bytes(model.SerializeToString())

    info, kinds = helper.make_tensor_value_info, TensorProto
    image: list[Any] = ["N", 3, 112, 112]

    def flat(
        takes: int, gives: int, shape: list[Any] = image, out: list[Any] | None = None
    ) -> bytes:
        nodes = [helper.make_node("Cast", ["x"], ["c"], to=kinds.FLOAT),
                 helper.make_node("ReduceMean", ["c", "axes"], ["r"], keepdims=0),
                 helper.make_node("Gemm", ["r", "w"], ["g"]),
                 helper.make_node("Cast", ["g"], ["y"], to=gives)]  # fmt: skip
        return graph(
            nodes, [info("x", takes, shape)], [info("y", gives, out or ["N", 16])],
            numpy_helper.from_array(np.array([2, 3]), "axes"),
            numpy_helper.from_array(np.ones((3, 16), np.float32), "w"),
        )  # fmt: skip

    same = helper.make_node("Identity", ["x"], ["y"])
    x, y = info("x", kinds.FLOAT, image), info("y", kinds.FLOAT, ["N", 16])
    outside = helper.make_tensor("w", kinds.FLOAT, [3, 16], bytes(192), raw=True)
    outside.ClearField("raw_data")
    outside.data_location = kinds.EXTERNAL
    entry = outside.external_data.add()
    entry.key, entry.value = "location", "../../../../../../etc/passwd"
    large = numpy_helper.from_array(np.array([1 << 20, 1 << 16]), "s")
    return {
        "bytes.onnx": flat(kinds.UINT8, kinds.FLOAT),
        "half.onnx": flat(kinds.FLOAT16, kinds.FLOAT16),
        "double.onnx": flat(kinds.DOUBLE, kinds.DOUBLE),
        "texts.onnx": flat(kinds.FLOAT, kinds.STRING),
        "whole.onnx": flat(kinds.FLOAT, kinds.INT64),
        "last.onnx": flat(kinds.FLOAT, kinds.FLOAT, ["N", 112, 112, 3]),
        "fixed.onnx": flat(kinds.FLOAT, kinds.FLOAT, [0, 3, 112, 112]),
        "free.onnx": flat(kinds.FLOAT, kinds.FLOAT, ["a", "b", "c", "d"], ["n", "m"]),
        "scalar.onnx": graph([helper.make_node("ReduceMean", ["x"], ["y"], keepdims=0)], [x],
                             [info("y", kinds.FLOAT, [])]),
        "picture.onnx": graph([same], [x], [info("y", kinds.FLOAT, image)]),
        "no_output.onnx": graph([same], [x], []),
        "no_input.onnx": graph([helper.make_node("RandomNormal", [], ["y"], shape=[1, 16])], [], [y]),
        "two.onnx": graph([helper.make_node("Add", ["x", "z"], ["y"])],
                          [x, info("z", kinds.FLOAT, image)], [y]),
        "nan.onnx": graph([helper.make_node("Log", ["x"], ["l"]), helper.make_node("ReduceMean", ["l", "a"], ["y"])],
                          [x], [y], numpy_helper.from_array(np.array([2, 3]), "a")),
        "outside.onnx": graph([helper.make_node("Gemm", ["x", "w"], ["y"])], [x], [y], outside),
        "large.onnx": graph([helper.make_node("Expand", ["x", "s"], ["y"])], [x], [y], large),
        "unknown.onnx": graph([helper.make_node("Teleport", ["x"], ["y"], domain="com.x")], [x], [y]),
        "text.onnx": graph([same], [x], [y], text="[" * 50_000),
        "none.onnx": b"",
        "deep.xml": b"<net>" + b"<a>" * 50_000,
        "laughs.xml": b'<?xml version="1.0"?><!DOCTYPE n [<!ENTITY a "xxxxxxxxxx">'
        + b"".join(b'<!ENTITY %c "%s">' % (97 + n, b"&%c;" % (96 + n) * 10) for n in range(1, 12))
        + b"]><net>&l;</net>",
        "file.xml": b'<?xml version="1.0"?><!DOCTYPE n [<!ENTITY a SYSTEM "file:///etc/passwd">]><net>&a;</net>',
        "none.ts": b"",
        "system.ts": pickle.dumps(_Hostile()),
    }  # fmt: skip


def _open(path: Path, _: Random) -> Action:
    """Its embedder is made and given one chip."""
    weights = path.parent / "weights.bin"
    if path.suffix == ".xml" and weights.exists():
        weights.rename(path.with_suffix(".bin"))

    def embed() -> None:
        from facerec.engine.building import open_embedder
        from facerec.profile.loading import Profile

        embedder = open_embedder(Profile.load(flags={"model.name": path.name}))
        embedder.embed(_chips(embedder.card)[:1])

    return embed


def _weights_beside(folder: Path) -> None:
    made = folder.parent / "seeds" / "weights.bin"
    if made.exists():
        (folder / "weights.bin").write_bytes(made.read_bytes())


KINDS = (
    Kind("weights", _weights, _import),
    Kind("models", _models, _open, (*BINARY, *TEXT), _weights_beside),
)
