"""What a quick command may not import: a second's wait would be felt on every tab key."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = {"torch", "tensorflow", "sklearn", "cv2", "scipy", "h5py", "torchvision", "matplotlib"}
SCRIPT = """
import sys
from facerec.cli import app
sys.argv = ["facerec", *sys.argv[1:]]
app.run()
sys.stderr.write("\\n" + " ".join(sys.modules))
"""


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--help"],
        ["--version"],
        ["gallery"],
        ["album", "scan", "--help"],
        ["album", "people", "-a", "none.db"],
        ["cleanup", "--help"],
        ["evaluate", "lfw", "--help"],
        ["detect", "--help"],
        ["embed", "--help"],
        ["recognize", "image", "--help"],
        ["bench", "--help"],
        ["bench", "--verify"],
        ["profile", "show"],
        ["profile", "schema"],
        ["download", "list"],
        ["docs"],
        ["docs", "train"],
        ["docs", "trian"],
        ["download", "weights", "w600k_mbf"],
        ["embed", "--nonsense"],
        ["nonsense"],
        ["recognise"],
        ["export", "x", "--to", "onx"],
        ["compare", "a", "b", "--metric", "cosin"],
        ["embed", "/nowhere/at/all"],
        ["recognize", "image", "x.jpg", "--set", "detector.nonsense=1"],
    ],
)
def test_it_loads_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True
    )
    assert HEAVY & set(done.stderr.split()) == set()
    assert done.stdout or "facerec: " in done.stderr


@pytest.mark.parametrize("command", [[], ["embed"], ["evaluate", "lfw"], ["cleanup"]])
def test_help_in_a_pipe_loads_neither_rich_nor_the_schema(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *command, "--help"], capture_output=True, text=True
    )
    loaded = set(done.stderr.split())
    assert {"rich", "facerec.profile.schema", "facerec.card"} & loaded == set()


def test_completion_loads_nothing_heavy() -> None:
    environment = {
        **os.environ,
        "COMP_WORDS": "facerec embed --profile d",
        "COMP_CWORD": "3",
        "_FACEREC_COMPLETE": "complete_bash",
    }
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "facerec"],
        capture_output=True,
        text=True,
        env=environment,
    )
    loaded = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "facerec.cli.options" in loaded
    assert HEAVY & loaded == set()


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import facerec, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (HEAVY | {"pydantic", "typer"}) & set(done.stdout.split()) == set()
