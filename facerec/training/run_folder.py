"""A run's folder: its profile, its environment, the model it leaves."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from torch import nn

from facerec.card import ModelCard
from facerec.errors import UsageError
from facerec.faces import Floats
from facerec.files import replacing
from facerec.profile.loading import Profile
from facerec.weights.store import write_model

MODEL, BEST, BEST_FIGURE, LOG, CHECKPOINTS, TENSORBOARD = (
    "model.safetensors", "best.safetensors", "best.txt", "log.jsonl", "checkpoints", "tensorboard",
)  # fmt: skip
PROFILE, _ENVIRONMENT = "profile.yaml", "environment.json"
_PACKAGES = ("facerec", "torch", "torchvision", "numpy", "opencv-python")
# Keys that may change on --resume: duration, what is written, where it computes.
_FREE = {
    "runtime", "gallery", "recognize", "evaluate", "download", "description", "train.epochs",
    "train.max_steps",
    "train.evaluate", "train.evaluate_every", "train.save_every", "train.keep", "train.log_every",
    "train.compile", "train.precision", "data.train", "data.check_aligned",
}  # fmt: skip


def require_free(folder: Path, profile: Profile, *, resume: bool) -> None:
    """Check that the folder can take the run, without writing to it.

    Raises:
        UsageError: it holds a run and `resume` is not set; or it holds none, or another recipe's,
            and `resume` is set.
    """
    described = folder / PROFILE
    if resume:
        if not described.is_file():
            raise UsageError(f"{folder}: holds no run to go on with")
        _require_same(described, profile)
    elif described.exists():
        raise UsageError(
            f"{folder}: holds a run; --resume goes on with it, or choose another --out"
        )


def describe(folder: Path, profile: Profile) -> None:
    """Make the folder and write the resolved profile and the environment into it.

    Raises:
        UsageError: it cannot be written.
    """
    with replacing(folder / PROFILE) as temporary:
        text = yaml.safe_dump(profile.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        temporary.write_text(text, encoding="utf-8")
    with replacing(folder / _ENVIRONMENT) as temporary:
        temporary.write_text(json.dumps(_environment(), indent=2) + "\n", encoding="utf-8")


def read_best_figure(folder: Path) -> float | None:
    """The best headline figure of the run so far, percent; None without one."""
    try:
        return float((folder / BEST_FIGURE).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _require_same(described: Path, profile: Profile) -> None:
    earlier = yaml.safe_load(described.read_text(encoding="utf-8"))
    now, defaults = profile.model_dump(mode="json"), Profile().model_dump(mode="json")
    for section, values in now.items():
        if section in _FREE:
            continue
        for key, value in values.items():
            # A run begun before the key existed had its default.
            before = earlier.get(section, {}).get(key, defaults[section][key])
            if before != value and f"{section}.{key}" not in _FREE:
                raise UsageError(
                    f"{described}: began with {section}.{key} {before}, not {value}; "
                    "leave it as it was, or start a new run"
                )


def _environment() -> dict[str, Any]:
    import torch

    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "git": _git_state(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_state() -> dict[str, Any] | None:
    """Commit of the working directory and whether it has changes; None outside of git."""
    try:
        commit, changes = (
            subprocess.run(
                ["git", *arguments], capture_output=True, text=True, timeout=10, check=True
            ).stdout.strip()
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "changed": bool(changes)}


def write_artefact(path: Path, network: nn.Module, card: ModelCard, training: str) -> ModelCard:
    """Write a network with its card as one safetensors file, atomically.

    Args:
        training: how it was trained, for the card.

    Returns:
        The card as written, with the SHA-256 of the weights.
    """
    state: dict[str, Floats] = {
        name: value.detach().cpu().contiguous().numpy()
        for name, value in network.state_dict().items()
    }
    written = card.model_copy(update={"sha256": _hash(state), "training": training})
    write_model(path, state, written)
    return written


def _hash(state: dict[str, Floats]) -> str:
    """SHA-256 over names and values: the file's own would depend on the card in its header."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(state[name]).tobytes())
    return digest.hexdigest()
