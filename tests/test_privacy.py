"""No command looks up or connects to another host, or leaves files in HOME beyond its own cache.

An audit hook in every process, workers too, notes lookups and connections of Python's sockets.
Connections that C++ makes pass it by, but ONNX Runtime's telemetry leaves a device id in HOME.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, spawn
from tests.serving.processes import serving

HOOK = """
import os, sys

def note(event, arguments):
    if event == "socket.connect":
        address = arguments[1]
        if not isinstance(address, tuple) or address[0].startswith(("127.", "::1")):
            return
    elif event not in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        return
    elif arguments[0] in (None, "localhost", "127.0.0.1", "::1"):
        return
    with open(os.environ["NETWORK_LOG"], "a") as file:
        file.write(f"{event} {arguments[:2]}\\n")

sys.addaudithook(note)
"""
WORKERS = """
import numpy as np
from facerec.engine import engine, pool
from facerec.faces import Frame
from facerec.profile.loading import Profile

pool._MIN_SECONDS = pool._MIN_FRAMES = 0
detect, answers = pool.WorkerPool.detect, []
pool.WorkerPool.detect = lambda self, frames: answers.append(detect(self, frames)) or answers[-1]

def frames():
    while len(answers) < 4:
        yield Frame("", np.zeros((60, 60, 3), np.uint8))

profile = Profile.load(settings=["runtime.processes=2", "runtime.threads=1"])
for _ in engine.Engine.from_profile(profile).faces(frames()):
    pass
assert None not in answers
"""


class Sandbox:
    """A fresh HOME, and a log of what its processes ask the network for."""

    def __init__(self, folder: Path) -> None:
        hook = folder / "hook"
        self.home, self.log = folder / "home", folder / "network.log"
        for made in (hook, self.home):
            made.mkdir()
        (hook / "sitecustomize.py").write_text(HOOK)
        hidden = ("XDG_", "CI", "TF_BUILD", "JENKINS_URL", "FACEREC_HOME", "ORT_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        self.environment = kept | {
            "HOME": str(self.home), "PYTHONPATH": f"{hook}:{ROOT}", "NETWORK_LOG": str(self.log),
        }  # fmt: skip

    def run(self, *arguments: object) -> None:
        """Run the command line, which succeeds."""
        done = spawn(*arguments, cwd=self.home.parent, env=self.environment)
        assert done.returncode == 0, done.stderr

    def run_script(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", script], env=self.environment, capture_output=True, text=True,
            timeout=120,
        )  # fmt: skip

    def assert_private(self) -> None:
        """Nothing was asked of the network, and only facerec's cache lies in HOME."""
        assert not self.log.exists(), self.log.read_text()
        files = [path.relative_to(self.home) for path in self.home.rglob("*") if path.is_file()]
        assert [str(file) for file in files if file.parts[:2] != (".cache", "facerec")] == []


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory, portraits: dict[str, Path]) -> Sandbox:
    folder = tmp_path_factory.mktemp("sandbox")
    for name, file in portraits.items():
        for number in (1, 2):
            copy = folder / "people" / name / f"{name}_{number:04d}{file.suffix}"
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
    return Sandbox(folder)


@pytest.fixture(scope="module")
def gallery(sandbox: Sandbox) -> Path:
    sandbox.run("embed", "people", "-o", "people.h5")
    return sandbox.home.parent / "people.h5"


@pytest.mark.parametrize(
    "command",
    [
        "detect people",
        "album scan people",
        "album people",
        "cleanup people",
        "demo",
        "profile show",
        "model list",
        "download list",
    ],
)
def test_a_command_keeps_to_itself(sandbox: Sandbox, command: str) -> None:
    sandbox.run(*command.split())
    sandbox.assert_private()


@pytest.mark.parametrize("command", ["gallery list", "recognize image people"])
def test_a_command_with_a_gallery_keeps_to_itself(
    sandbox: Sandbox, gallery: Path, command: str
) -> None:
    sandbox.run(*command.split(), "-g", gallery)
    sandbox.assert_private()


def test_evaluating_keeps_to_itself(sandbox: Sandbox) -> None:
    folder = sandbox.home.parent / "people"
    photos = sorted(path.relative_to(folder) for path in folder.glob("*/*"))
    lines = [
        f"{one} {other} {int(one.parent == other.parent)}"
        for one, other in itertools.combinations(photos, 2)
    ]
    (sandbox.home.parent / "pairs.txt").write_text("\n".join(lines))
    sandbox.run("evaluate", "pairs", "--data", "people", "--pairs", "pairs.txt")
    sandbox.assert_private()


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "bench detect",
        "export dlib_resnet -o dlib.onnx",
        "embed people -o openvino.h5 --set runtime.engine=openvino",
        "embed people -o onnx.h5 --set runtime.engine=onnxruntime",
        "train -o run --set data.synthetic=true --set train.backbone=test_ir --set train.input=32 "
        "--set train.max_steps=2 --set train.batch=8 --set data.synthetic_people=12",
    ],
)
def test_a_long_command_keeps_to_itself(sandbox: Sandbox, command: str) -> None:
    sandbox.run(*command.split())
    sandbox.assert_private()


def test_the_server_keeps_to_itself(sandbox: Sandbox, gallery: Path, picture: Path) -> None:
    httpx = pytest.importorskip("httpx")
    pytest.importorskip("fastapi", reason="the extra [serve] is not installed")
    with serving("-g", gallery, env=sandbox.environment) as server:
        for path in ("detect", "recognize", "people/ann/faces"):
            url = f"{server.url}/v1/{path}"
            assert httpx.post(url, content=picture.read_bytes(), timeout=60).is_success
        assert server.end() == 0
    sandbox.assert_private()


@pytest.mark.slow
def test_milvus_lite_keeps_to_itself(sandbox: Sandbox) -> None:
    pytest.importorskip("milvus_lite")
    sandbox.run("embed", "people", "-o", "milvus+lite://people.db")
    sandbox.assert_private()


@pytest.mark.slow
def test_worker_processes_keep_to_themselves(sandbox: Sandbox) -> None:
    done = sandbox.run_script(WORKERS)
    assert (done.returncode, done.stderr) == (0, "")
    sandbox.assert_private()


def test_the_hook_sees_a_lookup(tmp_path: Path) -> None:
    watched = Sandbox(tmp_path)
    watched.run_script("import socket; socket.getaddrinfo('nowhere.invalid', 443)")
    assert "nowhere.invalid" in watched.log.read_text()
