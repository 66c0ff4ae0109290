"""Networks and embedders from a model card and its weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from facerec.card import ModelCard
from facerec.errors import MissingError
from facerec.models import Embedder
from facerec.models.embedder import TorchEmbedder
from facerec.parallel.threads import TorchThreads
from facerec.registry import BACKBONES


def create_network(card: ModelCard) -> nn.Module:
    """Build the card's architecture with untrained weights.

    Raises:
        MissingError: no such architecture.
    """
    network: nn.Module = BACKBONES.get(card.architecture).target(card)
    return network


def create_embedder(
    card: ModelCard, state: Mapping[str, Tensor], *, device: str, batch: int,
    precision: str = "fp32", pool: TorchThreads | None = None,
) -> Embedder:  # fmt: skip
    """Build a network, load its weights and make it an embedder; see `TorchEmbedder`.

    Raises:
        MissingError: the weights do not fit the architecture.
    """
    network = load_network(card, state)
    return TorchEmbedder(network, card, device=device, batch=batch, precision=precision, pool=pool)


def load_network(card: ModelCard, state: Mapping[str, Tensor]) -> nn.Module:
    """Build the card's architecture with these weights, in evaluation mode: in float32 on the
    processor, whatever `torch.set_default_device` and `torch.set_default_dtype` were told.

    Raises:
        MissingError: no such architecture, or the weights do not fit it.
    """
    # The default device is each thread's own; the default type is the process's, so is not changed.
    with torch.device("cpu"):
        network = create_network(card).float()
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise MissingError(
            f"the weights of {card.name} do not fit {card.architecture}: "
            f"{str(error).splitlines()[-1].strip()}"
        ) from error
    return network.eval()
