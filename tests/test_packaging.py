"""The wheel works away from the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment that holds the built wheel and nothing of the checkout.

    The dependencies are shared with the running environment by a `.pth` line, which does not
    follow that environment's own `.pth` files and so not its link to the checkout.
    """
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    fresh = folder / "fresh"
    venv.create(fresh, with_pip=False)
    python = fresh / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps"]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    site = next(fresh.glob("lib/python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return fresh


def call(environment: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [str(environment / "bin" / "facerec"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=clean)


@pytest.mark.slow
def test_the_wheel_finds_its_profiles_and_runs_the_demo(environment: Path, tmp_path: Path) -> None:
    listed = call(environment, "profile", "list", "--json", cwd=tmp_path)
    profiles = {
        record["name"]: record["file"] for record in map(json.loads, listed.stdout.splitlines())
    }
    assert set(profiles) == {path.stem for path in (ROOT / "configs").glob("*.yaml")}
    assert all(Path(file).is_relative_to(environment) for file in profiles.values())

    guide = Path(call(environment, "docs", "train", "--path", cwd=tmp_path).stdout.strip())
    assert guide.is_relative_to(environment)
    assert guide.read_text("utf-8").startswith("# Train")
    assert (guide.parent.parent / "py.typed").is_file()

    done = call(environment, "demo", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {face["name"] for face in json.loads(done.stdout)["faces"]} == {
        "eileen_collins",
        "grace_hopper",
    }
    assert (tmp_path / "facerec-demo" / "recognised.jpg").is_file()
