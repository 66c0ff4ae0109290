"""From a card and its weights to an `Embedder`."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from facerec.card import ModelCard
from facerec.errors import MissingError
from facerec.models import (
    Embedder,
    dlib_resnet,  # noqa: F401  (registers itself)
)
from facerec.models.backbones import (  # noqa: F401  (register themselves)
    inception_resnet,
    ir,
    iresnet,
    lightnet,
    mobilefacenet,
    mobilefacenet_relu,
    mobilenet_v2,
    mobilenet_v3,
    resnet,
)
from facerec.models.embedder import Team, TorchEmbedder
from facerec.models.registry import FACTORIES


def network_names() -> list[str]:
    """Every network that can be built, without the tiny ones that tests train."""
    return sorted(name for name in FACTORIES if not name.startswith("test_"))


def create_network(card: ModelCard) -> nn.Module:
    """Build the card's architecture with untrained weights.

    Raises:
        MissingError: no such architecture.
    """
    if card.architecture not in FACTORIES:
        known = ", ".join(network_names())
        raise MissingError(f"no network is called {card.architecture}; there are {known}")
    return FACTORIES[card.architecture](card)


def create_embedder(
    card: ModelCard, state: Mapping[str, Tensor], *, device: str, batch: int,
    precision: str = "fp32", team: Team | None = None,
) -> Embedder:  # fmt: skip
    """Build a network, load its weights and make it an embedder; see `TorchEmbedder`.

    Raises:
        MissingError: the weights do not fit the architecture.
    """
    network = load_network(card, state)
    return TorchEmbedder(network, card, device=device, batch=batch, precision=precision, team=team)


def load_network(card: ModelCard, state: Mapping[str, Tensor]) -> nn.Module:
    """Build the card's architecture with these weights, for use, not for training.

    Raises:
        MissingError: no such architecture, or the weights do not fit it.
    """
    network = create_network(card)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise MissingError(
            f"the weights of {card.name} do not fit {card.architecture}: "
            f"{str(error).splitlines()[-1].strip()}"
        ) from error
    return network.eval()
