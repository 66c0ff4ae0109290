"""Training and verification sets: RecordIO and `.bin`."""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tests.fuzz.cases import Action, Kind, Seed
from tests.fuzz.kinds.images import encoded, portrait

_MAGIC = 0xCED7230A


def _record(content: bytes) -> bytes:
    return struct.pack("<II", _MAGIC, len(content)) + content + bytes(-len(content) % 4)


def _records(folder: Path) -> Mapping[str, Seed]:
    png = encoded(portrait(16), "PNG")
    images = [struct.pack("<IfQQ", 0, label, 0, 0) + png for label in (0, 0, 1)]
    ranges = [struct.pack("<IfQQ2f", 2, 0, 0, 0, *pair) for pair in ((1, 3), (3, 4))]
    head = struct.pack("<IfQQ2f", 2, 0, 0, 0, 4, 6)
    offsets, data = [], b""
    for content in (head, *images, *ranges):
        offsets.append(len(data))
        data += _record(content)
    index = "".join(f"{key}\t{at}\n" for key, at in enumerate(offsets)).encode()
    (folder / "train.rec").write_bytes(data)
    (folder / "train.idx").write_bytes(index)

    def headed(*labels: float) -> bytes:
        return (
            _record(struct.pack(f"<IfQQ{len(labels)}f", len(labels), 0, 0, 0, *labels)) + data[40:]
        )

    many = data.replace(struct.pack("<2f", 1, 3), struct.pack("<2f", 1, 1e18))
    return {
        "train.rec": Seed(data),
        "many.rec": Seed(many, hostile=True),
        "train.idx": Seed(index),
        "endless.rec": Seed(headed(1, 1e18), hostile=True),
        "nan.rec": Seed(headed(float("nan"), float("inf")), hostile=True),
        "minus.rec": Seed(headed(-5, 1e9), hostile=True),
        "labels.rec": Seed(_record(struct.pack("<IfQQ", 0xFFFFFFFF, 0, 0, 0)) + data, hostile=True),
        "parts.rec": Seed(struct.pack("<II", _MAGIC, 1 << 29) * 100_000, hostile=True),
        "minus.idx": Seed(b"0\t-5\n1\t-1\n", hostile=True),
        "far.idx": Seed(b"0\t99999999999999999999\n1\t9223372036854775807\n", hostile=True),
        "same.idx": Seed(b"".join(b"%d\t40\n" % key for key in range(100_000)), hostile=True),
        "deep.idx": Seed(b"\xff\xfe0\t0\n", hostile=True),
    }


def _staged(folder: Path) -> None:
    (folder / "good").mkdir()
    _records(folder / "good")


def _read_records(path: Path, _: Random) -> Action:
    """The file takes the place of the good one."""
    path.replace(path.parent / "good" / f"train{path.suffix}")

    def read() -> None:
        from facerec.errors import InputError
        from facerec.training.data.opening import open_examples

        examples = open_examples("good")
        for index in range(min(len(examples.labels), 4)):
            try:
                examples.image(index)
            except InputError:
                continue

    return read


class _Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, ("touch escaped",)


def _bins(_: Path) -> Mapping[str, Seed]:
    images = [encoded(portrait(112), "JPEG")] * 4
    flags = [True, False]
    target = io.BytesIO()
    pickle.dump((images, flags), target, protocol=2)
    arrays = [np.frombuffer(image, np.uint8) for image in images]
    seeds = {f"p{p}.bin": Seed(pickle.dumps((images, flags), protocol=p)) for p in (2, 4)}
    seeds["arrays.bin"] = Seed(pickle.dumps((arrays, np.array(flags)), protocol=4))
    hostile = {
        "system.bin": pickle.dumps((_Hostile(), flags)),
        "deep.bin": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
        "tuples.bin": b"\x80\x02)" + b"\x85" * 100_000 + b".",
        "self.bin": b"\x80\x02]q\0h\0a.",
        "laughs.bin": b"\x80\x02]q\0" + b"".join(b"](" + b"h%c" % n * 10 + b"eq%c" % (n + 1) for n in range(20)) + b".",
        "long.bin": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60),
        "number.bin": b"\x80\x02\x8b" + struct.pack("<I", 1 << 20) + bytes(1 << 20) + b".",
        "int.bin": b"I" + b"9" * 100_000 + b"\n.",
        "none.bin": b"N.", "empty.bin": b"", "text.bin": b"hello",
        "flags.bin": pickle.dumps((images, [2, "x"])),
        "odd.bin": pickle.dumps((images[:3], flags)),
        "globals.bin": b"cbuiltins\neval\n(S'1'\ntR.",
    }  # fmt: skip
    return seeds | {name: Seed(data, hostile=True) for name, data in hostile.items()}


def _read_bin(path: Path, dice: Random) -> Action:
    if dice.random() < 0.2:
        return ["evaluate", "bin", "--data", path.name, "--aligned", "--json"]

    def read() -> None:
        from facerec.evaluation.protocols.pairs import open_protocol

        protocol, source = open_protocol("bin", path, None)
        for key in protocol.keys[:4]:
            source.read(key)

    return read


KINDS = (Kind("records", _records, _read_records, stage=_staged), Kind("bins", _bins, _read_bin))
