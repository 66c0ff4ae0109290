"""Evaluation on the way: `facerec evaluate` as a process of its own.

Any protocol can be asked for, what it needs is given back when it ends, and nothing that goes
wrong there can harm the run.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from facerec.errors import FacerecError

_HEADLINES = ("accuracy", "rank_1")


class MeasuringError(FacerecError):
    """An evaluation gave no figures; training goes on."""


def measure(arguments: str, model: Path, *, calibrate: bool = False) -> dict[str, Any]:
    """The record that `facerec evaluate ARGUMENTS` prints for a model file.

    Args:
        calibrate: also write thresholds into the model file.

    Raises:
        MeasuringError: it failed; with its own last line.
    """
    command = [
        sys.executable, "-m", "facerec", "evaluate", *shlex.split(arguments),
        "--model", str(model), "--no-cache", "--json",
        *(["--calibrate", str(model)] if calibrate else []),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise MeasuringError(f"evaluate {arguments}: {error}") from error
    if done.returncode not in (0, 3):
        told = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise MeasuringError(f"evaluate {arguments}: {told.removeprefix('facerec: ')}")
    try:
        record: dict[str, Any] = json.loads(done.stdout.splitlines()[0])
    except (IndexError, ValueError) as error:
        raise MeasuringError(f"evaluate {arguments}: printed no figures") from error
    return record


def headline(record: dict[str, Any]) -> float | None:
    """The figure by which models are told apart, percent."""
    return next((float(record[key]) for key in _HEADLINES if record.get(key) is not None), None)
