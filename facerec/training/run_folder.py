"""A run's folder: its profile, its environment, the model it leaves."""

from __future__ import annotations

import hashlib
import importlib.metadata
import itertools
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from torch import nn

from facerec.card import ModelCard
from facerec.errors import UsageError, without_credentials, without_user
from facerec.faces import Floats
from facerec.files.writing import replacing
from facerec.profile.loading import Profile
from facerec.weights.store import write_model

MODEL, BEST, BEST_FIGURE, LOG, CHECKPOINTS, TENSORBOARD = (
    "model.safetensors", "best.safetensors", "best.txt", "log.jsonl", "checkpoints", "tensorboard",
)  # fmt: skip
PROFILE, PEOPLE, _ENVIRONMENT = "profile.yaml", "people.json", "environment.json"
RATES = "find-lr.png"
_PACKAGES = ("facerec", "torch", "torchvision", "numpy", "opencv-python")
_MAX_DIFF = 1_000_000
# The sections that training depends on, but for these keys: duration, what is written, where.
_TRAINED = ("data", "train")
_FREE = {
    "train.epochs", "train.max_steps", "train.evaluate", "train.evaluate_every",
    "train.save_every", "train.keep", "train.log_every", "train.histograms_every",
    "train.compile", "train.precision", "data.train", "data.check_aligned",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """What every rank trains.

    Attributes:
        folder: of the run.
        name: of the model.
        profile: of the run.
    """

    folder: Path
    name: str
    profile: Profile


def plan(
    folder: str | Path | None, name: str, profile: Profile, tell: Callable[[str], None], *,
    resume: bool,
) -> Plan:  # fmt: skip
    """Check that the folder can take the run, without writing to it.

    A resumed run keeps the name it began with, and the default of every key that did not exist
    when it began.

    Args:
        folder: None: the first free `runs/NAME-TIME`.
        tell: called with a message about such keys.

    Raises:
        UsageError: it holds a run, or a run's checkpoints, and `resume` is not set; or it holds
            none, or another recipe's, and `resume` is set.
    """
    folder = _free_folder(name) if folder is None else Path(folder)
    described = folder / PROFILE
    if resume:
        if not described.is_file():
            raise UsageError(f"{folder}: holds no run to go on with")
        return Plan(folder, read_name(folder) or name, _continued(described, profile, tell))
    if described.exists():
        raise UsageError(
            f"{folder}: holds a run; --resume goes on with it, or choose another --out"
        )
    # A roll-back would go on from them.
    if any((folder / CHECKPOINTS).glob("step-*")):
        raise UsageError(
            f"{folder}: holds checkpoints of a run without its {PROFILE}; choose another --out"
        )
    return Plan(folder, name, profile)


def describe(plan: Plan, people: Sequence[str]) -> None:
    """Make the folder and write the resolved profile, the people and the environment into it.

    Raises:
        UsageError: it cannot be written.
    """
    with replacing(plan.folder / PROFILE) as temporary:
        values = plan.profile.model_dump(mode="json")
        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        temporary.write_text(text, encoding="utf-8")
    with replacing(plan.folder / PEOPLE) as temporary:
        temporary.write_text(json.dumps(list(people), ensure_ascii=False) + "\n", encoding="utf-8")
    with replacing(plan.folder / _ENVIRONMENT) as temporary:
        text = json.dumps({"model": plan.name, **_environment()}, indent=2)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_name(folder: Path) -> str | None:
    """The name of a run's model; None where the run did not write it."""
    try:
        name = json.loads((folder / _ENVIRONMENT).read_text(encoding="utf-8")).get("model")
    except (OSError, ValueError, AttributeError):
        return None
    return name if isinstance(name, str) else None


def _free_folder(name: str) -> Path:
    begun = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    numbered = itertools.chain([begun], (f"{begun}-{number}" for number in itertools.count(2)))
    return next(folder for each in numbered if not (folder := Path("runs") / each).exists())


def read_best_figure(folder: Path) -> float | None:
    """The best headline figure of the run so far, percent; None without one."""
    try:
        return float((folder / BEST_FIGURE).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _continued(described: Path, profile: Profile, tell: Callable[[str], None]) -> Profile:
    """The profile, with the default of each key that the run began without."""
    earlier = yaml.safe_load(described.read_text(encoding="utf-8"))
    now, defaults = profile.model_dump(mode="json"), Profile().model_dump(mode="json")
    values = dict(profile)
    added: list[str] = []
    for section in _TRAINED:
        began, kept = earlier.get(section, {}), {}
        for key, value in now[section].items():
            if f"{section}.{key}" in _FREE:
                continue
            if key not in began:
                kept[key] = getattr(getattr(Profile(), section), key)
                added.append(f"{section}.{key} {json.dumps(defaults[section][key])}")
            elif began[key] != value:
                raise UsageError(
                    f"{described}: began with {section}.{key} {began[key]}, not {value}; "
                    "leave it as it was (--resume without --profile and --set does), or start a "
                    "new run"
                )
        values[section] = values[section].model_copy(update=kept)
    if added:
        tell(
            f"{described}: began before these keys existed, their defaults hold: {', '.join(added)}"
        )
    return profile.model_copy(update=values)


def _environment() -> dict[str, Any]:
    import torch

    return {
        "command": list(map(without_credentials, sys.argv)),
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
    """The working directory's commit, and how its files differ; None outside of git.

    A diff of over a million characters is cut, and says so.
    """
    try:
        commit, changes, diff = (
            subprocess.run(
                ["git", *arguments],
                capture_output=True, encoding="utf-8", errors="replace", timeout=10, check=True,
            ).stdout
            for arguments in (
                ["rev-parse", "HEAD"],
                ["status", "--porcelain"],
                ["diff", "HEAD", "--no-color", "--no-ext-diff"],
            )
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    # Of URLs of cameras and mirrors in a profile.
    diff = without_user(diff)
    if len(diff) > _MAX_DIFF:
        diff = f"{diff[:_MAX_DIFF]}\n[cut: {len(diff)} characters]"
    return {"commit": commit.strip(), "changed": bool(changes.strip()), "diff": diff}


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
