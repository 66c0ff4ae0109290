"""The seed's detector, MTCNN in TensorFlow, through every command that detects."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from facerec import Gallery
from tests.conftest import spawn

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"
    ),
]
USES = ("--detector", "mtcnn-tensorflow")


def command(*arguments: object) -> str:
    done = spawn(*arguments, *USES, timeout=300)
    assert done.returncode == 0, done.stderr
    noise = [line for line in done.stderr.splitlines() if not line.startswith("facerec: ")]
    assert not noise
    return done.stdout


def test_what_it_enrols_it_recognises_and_so_does_the_default(
    people: Path, picture: Path, tmp_path: Path
) -> None:
    command("embed", people, "-o", tmp_path / "seed.h5")
    out = command("recognize", "image", picture, "-g", tmp_path / "seed.h5", "--json")
    names = sorted(path.name for path in people.iterdir())
    assert sorted(face["name"] for face in json.loads(out)["faces"] if face["name"]) == names
    done = spawn("embed", people, "-o", tmp_path / "ours.h5")
    assert done.returncode == 0, done.stderr
    one, other = (Gallery.open(tmp_path / f"{name}.h5").templates() for name in ("seed", "ours"))
    assert ((one * other).sum(axis=1) > 0.99).all()


def test_it_aligns_with_the_seeds_crop(people: Path, tmp_path: Path) -> None:
    command("align", people, tmp_path / "chips", "--crop", "seed", "--template", "arcface")
    chips = sorted((tmp_path / "chips").rglob("*.png"))
    assert len(chips) == 2


def test_it_cleans_up(dirty: Path, tmp_path: Path) -> None:
    out = command("cleanup", dirty, "--dry-run", "--report", tmp_path / "report", "--json")
    kinds = {(record["kind"], record["files"][0]) for record in map(json.loads, out.splitlines())}
    assert ("no-face", "eileen_collins/noise.png") in kinds


def test_its_detections_are_evaluated(portraits: dict[str, Path], tmp_path: Path) -> None:
    lines = []
    for name, file in portraits.items():
        shutil.copy(file, tmp_path / f"{name}.jpg")
        done = spawn("detect", tmp_path / f"{name}.jpg", "--json")
        (face,) = json.loads(done.stdout)["faces"]
        x1, y1, x2, y2 = np.array(face["box"])
        lines += [f"{name}.jpg", "1", f"{x1:.0f} {y1:.0f} {x2 - x1:.0f} {y2 - y1:.0f}"]
    (tmp_path / "boxes.txt").write_text("\n".join(lines) + "\n")
    out = command(
        "evaluate", "detection", "--data", tmp_path, "--annotations", tmp_path / "boxes.txt",
        "--json",
    )  # fmt: skip
    record = json.loads(out.splitlines()[0])
    assert record["detector"]["name"] == "mtcnn-tensorflow"
    assert record["average_precision"] == 100
