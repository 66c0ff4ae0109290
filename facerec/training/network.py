"""What is trained: the backbone, and the card that will travel with it."""

from __future__ import annotations

import torch
from torch import nn

from facerec.alignment.templates import arcface_template
from facerec.card import ModelCard
from facerec.errors import MissingError
from facerec.models.factory import create_network
from facerec.profile.schema import TrainSection
from facerec.training.losses.margins import (
    AdaFaceMargin,
    CombinedMargin,
    CurricularFaceMargin,
    MagFaceMargin,
    Margin,
)
from facerec.weights.store import load_model

_UNKNOWN = "0" * 64


def create_backbone(section: TrainSection, name: str) -> tuple[nn.Module, ModelCard]:
    """The network to train and its card, whose hash is not known yet.

    Args:
        name: what the card calls the model.

    Raises:
        MissingError: there is no such network, or no such model to start from.
    """
    torch.manual_seed(section.seed)
    if section.initial is not None:
        card, state = load_model(section.initial)
        backbone = create_network(card)
        backbone.load_state_dict(state)
        source = f"{card.name}, {card.source}"
        fresh = {"name": name, "sha256": _UNKNOWN, "calibration": None, "source": source}
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
        # Center loss draws features together by Euclidean distance.
        metric="euclidean" if section.centre_weight else "cosine",
        sha256=_UNKNOWN,
        source="facerec train",
    )
    try:
        return create_network(card), card
    except (ZeroDivisionError, RuntimeError) as error:
        raise MissingError(
            f"{section.backbone} cannot be built for {side}x{side}: {error}"
        ) from error


def create_margin(section: TrainSection) -> Margin | None:
    """The profile's margin; None for plain softmax. Empty margins are the papers' own."""
    given = {} if section.margin is None else {"margin": section.margin}
    match section.loss:
        case "softmax":
            return None
        case "normface":
            return Margin()
        case "arcface":
            return CombinedMargin(m2=given.get("margin", 0.5))
        case "cosface":
            return CombinedMargin(m3=given.get("margin", 0.35))
        case "sphereface":
            return CombinedMargin(m1=given.get("margin", 4.0))
        case "combined":
            return CombinedMargin(section.m1, section.m2, section.m3)
        case "adaface":
            return AdaFaceMargin(**given)
        case "curricularface":
            return CurricularFaceMargin(**given)
        case "magface":
            return MagFaceMargin()
