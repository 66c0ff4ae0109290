"""The model that a run leaves: weights and card in one file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from torch import nn

from facerec.card import ModelCard
from facerec.faces import Floats
from facerec.weights.store import write_model


def write_artefact(path: Path, network: nn.Module, card: ModelCard, training: str) -> ModelCard:
    """Write a network with its card, atomically.

    Args:
        training: how it was trained, for the card.

    Returns:
        The card as written, with the weights' hash.
    """
    state: dict[str, Floats] = {
        name: value.detach().cpu().contiguous().numpy()
        for name, value in network.state_dict().items()
    }
    written = card.model_copy(update={"sha256": _hash(state), "training": training})
    write_model(path, state, written)
    return written


def _hash(state: dict[str, Floats]) -> str:
    """SHA-256 over names and values: the file's own would depend on the card inside it."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(state[name]).tobytes())
    return digest.hexdigest()
