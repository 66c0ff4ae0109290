from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.write_completions import FILES, FOLDER, script


@pytest.mark.parametrize("shell", FILES)
def test_the_shipped_scripts_are_fresh(shell: str) -> None:
    shipped = (FOLDER / FILES[shell]).read_text(encoding="utf-8")
    assert shipped == script(shell), "run: make completions"


def complete(*words: str) -> list[str]:
    environment = {
        **os.environ,
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
        "_FACEREC_COMPLETE": "complete_bash",
    }
    command = [sys.executable, "-m", "facerec"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    return done.stdout.split("\n")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("facerec", "reco"), "recognize"),
        (("facerec", "recognize", "im"), "image"),
        (("facerec", "embed", "--ali"), "--aligned"),
        (("facerec", "embed", "--profile", "def"), "default"),
        (("facerec", "embed", "--set", "detector.min"), "detector.min_face="),
        (("facerec", "train", "--set", "train.backbone=ir_1"), "train.backbone=ir_101"),
        (("facerec", "detect", "--detector", "yu"), "yunet"),
    ],
)
def test_bash_completes_commands_options_and_values(words: tuple[str, ...], expected: str) -> None:
    assert expected in complete(*words)
