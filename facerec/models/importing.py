"""Import: another project's weight file as safetensors with a model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from facerec.card import ModelCard
from facerec.errors import UsageError
from facerec.files.hashing import sha256_of
from facerec.models.factory import create_network
from facerec.weights.catalog import find_model
from facerec.weights.layouts import Imported, State
from facerec.weights.layouts.reading import read_foreign
from facerec.weights.store import write_model

_COUNTERS = "num_batches_tracked"


def import_model(
    source: Path, target: Path, *, layout: str | None = None, name: str | None = None,
    card: ModelCard | None = None,
) -> tuple[str, ModelCard]:  # fmt: skip
    """Convert a weight file.

    Args:
        source: another project's file.
        target: the safetensors file to write.
        layout: see `read_foreign`.
        name: of the model; None: the file's stem.
        card: where preprocessing is not the layout's usual one.

    Returns:
        the layout and the card as written.

    Raises:
        MissingError: the source cannot be read.
        UsageError: its layout is unknown, its weights do not fit, or the target cannot be written.
    """
    found, imported = read_foreign(source, layout)
    described = _describe(source, found, imported, name or source.stem, card)
    write_model(target, fit_state(imported, described, source), described)
    return found, described


def fit_state(imported: Imported, card: ModelCard, source: Path) -> State:
    """The weights, checked against the network's names and shapes.

    Raises:
        UsageError: some are missing, unknown or of another shape; the first ones are named.
    """
    import torch

    with torch.device("meta"):
        network = create_network(card)
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    state = dict(imported.state)
    for name, shape in wanted.items():
        if name.endswith(_COUNTERS) and name not in state:
            # PyTorch before 0.4.1 and other frameworks do not count batches.
            state[name] = np.zeros(shape, np.int64)
    problems = {
        "missing": [name for name in wanted if name not in state],
        "unknown": [name for name in state if name not in wanted],
        "of another shape": [
            f"{name} {state[name].shape}, not {shape}"
            for name, shape in wanted.items()
            if name in state and state[name].shape != shape
        ],
    }
    told = [f"{kind}: {_first(names)}" for kind, names in problems.items() if names]
    if told:
        raise UsageError(f"{source}: does not fit {card.architecture}; {'; '.join(told)}")
    return state


def _describe(
    source: Path, layout: str, imported: Imported, name: str, given: ModelCard | None
) -> ModelCard:
    sha256 = sha256_of(source)
    if given is not None:
        change: dict[str, Any] = {"sha256": sha256, "architecture": imported.architecture}
        return given.model_copy(update=change)
    if not imported.card:
        return find_model(imported.architecture).card.model_copy(update={"name": name})
    return imported.describe(name, sha256, source.name, layout)


def _first(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
