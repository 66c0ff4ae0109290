"""Build the backbone with its model card, and the margin, that a profile asks for."""

from __future__ import annotations

import torch
from torch import nn

from facerec.alignment.templates import arcface_template
from facerec.card import ModelCard
from facerec.errors import MissingError, UsageError
from facerec.models.factory import create_network
from facerec.profile.schema import TrainSection
from facerec.registry import LOSSES
from facerec.training.losses.margins import MARGIN_KEYS, Margin
from facerec.weights.store import load_model

_PLACEHOLDER = "0" * 64


def create_backbone(section: TrainSection, name: str) -> tuple[nn.Module, ModelCard]:
    """The network to train and its card, with a placeholder for the hash of the weights.

    Args:
        name: of the model, for the card.

    Raises:
        MissingError: no such network, or no such model to start from.
    """
    torch.manual_seed(section.seed)
    if section.initial is not None:
        card, state = load_model(section.initial)
        backbone = create_network(card)
        backbone.load_state_dict(state)
        source = f"{card.name}, {card.source}"
        fresh = {"name": name, "sha256": _PLACEHOLDER, "calibration": None, "source": source}
        return backbone, card.model_copy(update=fresh)
    side = section.input
    card = ModelCard(
        name=name,
        architecture=section.backbone,
        embedding_size=section.embedding_size,
        input_height=side,
        input_width=side,
        mean=(127.5, 127.5, 127.5),
        std=(127.5, 127.5, 127.5),
        template=arcface_template(side),
        # Center loss minimises Euclidean distances.
        metric="euclidean" if section.centre_weight else "cosine",
        sha256=_PLACEHOLDER,
        source="facerec train",
    )
    try:
        return create_network(card), card
    except (ZeroDivisionError, RuntimeError) as error:
        raise MissingError(
            f"{section.backbone} cannot be built for {side}x{side}: {error}"
        ) from error


def require_keys_of_loss(section: TrainSection) -> None:
    """Refuse a margin that the profile's loss would ignore.

    Raises:
        UsageError: `margin`, `m1`, `m2` or `m3` is set and the loss does not take it.
    """
    taken = LOSSES.fact(section.loss, "keys")
    if taken is None:
        # Of another package, which knows its keys itself.
        return
    for key in MARGIN_KEYS:
        value, default = getattr(section, key), TrainSection.model_fields[key].default
        if key not in taken and value != default:
            known = " and ".join(f"train.{name}" for name in taken) or "no margin of the profile"
            raise UsageError(
                f"train.{key} {value}: {section.loss} takes {known}; "
                f"--set train.{key}={'null' if default is None else default} leaves it out"
            )


def create_margin(section: TrainSection) -> Margin | None:
    """The margin of the profile's loss; None for plain softmax.

    Raises:
        ProfileError: `train.options` do not fit the loss.
    """
    loss = LOSSES.get(section.loss)
    options = loss.options(section.options, "train.options")
    margin: Margin | None = (
        loss.target(section) if options is None else loss.target(section, options)
    )
    return margin
