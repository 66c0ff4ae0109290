"""Write the completion scripts of `completions/`, as `facerec --show-completion` prints them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "completions"
FILES = {
    "bash": "facerec.bash",
    "zsh": "_facerec",
    "fish": "facerec.fish",
    "powershell": "facerec.ps1",
}


def script(shell: str) -> str:
    """The completion script of a shell."""
    # Otherwise Typer takes the shell from the parent process and no argument.
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    command = [sys.executable, "-m", "facerec", "--show-completion", shell]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment
    ).stdout


if __name__ == "__main__":
    for shell, name in FILES.items():
        (FOLDER / name).write_text(script(shell), encoding="utf-8")
