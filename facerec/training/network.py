"""Build the backbone with its model card, and the margin, that a profile asks for."""

from __future__ import annotations

import torch
from torch import nn

from facerec.alignment.templates import arcface_template
from facerec.card import ModelCard, Norms
from facerec.errors import MissingError, UsageError
from facerec.models.factory import create_network
from facerec.profile.schema import DataSection, TrainSection
from facerec.registry import LOSSES
from facerec.training.losses.classifier import Classifier, Objective
from facerec.training.losses.margins import MARGIN_KEYS, Margin
from facerec.training.losses.triplet import TripletLoss
from facerec.weights.store import load_model

Head = Classifier | TripletLoss
# Keys of `train` that a loss without a classifier does not take.
_HEAD_KEYS = (
    "m1", "m2", "m3", "sub_centres", "focal_gamma", "label_smoothing", "share",
    "head_warmup", "head_factor",
)  # fmt: skip
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
        fresh = {
            "name": name, "sha256": _PLACEHOLDER, "calibration": None, "source": source,
            "norms": _norms(section),
        }  # fmt: skip
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
        norms=_norms(section),
    )
    try:
        return create_network(card), card
    except (ZeroDivisionError, RuntimeError) as error:
        raise MissingError(
            f"{section.backbone} cannot be built for {side}x{side}: {error}"
        ) from error


def _norms(section: TrainSection) -> Norms | None:
    told = LOSSES.fact(section.loss, "norm_tells_quality")
    return Norms(loss=section.loss) if told else None


def require_keys_of_loss(section: TrainSection, data: DataSection) -> None:
    """Refuse a key that the profile's loss would ignore, and single images for a loss of pairs.

    Raises:
        UsageError: `margin`, `m1`, `m2` or `m3`, or a key of classifiers, is set and the loss does
            not take it; or batches hold a person's images by chance alone, and it needs several.
    """
    taken = LOSSES.fact(section.loss, "keys")
    if taken is None:
        # Of another package, which knows its keys itself.
        return
    without_classifier = LOSSES.fact(section.loss, "builds") == "head"
    if without_classifier and data.per_person < 2:
        raise UsageError(
            f"{section.loss} needs several images of a person in a batch: "
            "--set data.balance=true --set data.per_person=4"
        )
    refused = _HEAD_KEYS if without_classifier else MARGIN_KEYS
    for key in refused:
        value, default = getattr(section, key), TrainSection.model_fields[key].default
        if key not in taken and value != default:
            known = " and ".join(f"train.{name}" for name in taken) or "no margin"
            raise UsageError(
                f"train.{key} {value}: {section.loss} takes {known}; "
                f"--set train.{key}={'null' if default is None else default} leaves it out"
            )


def create_head(section: TrainSection, classes: int, embedding_size: int) -> Head:
    """The profile's classifier, or the loss that works without one.

    Raises:
        ProfileError: `train.options` do not fit the loss.
    """
    loss = LOSSES.get(section.loss)
    if loss.facts.get("builds") == "head":
        head: Head = loss.target(section, classes)
        return head
    return Classifier(
        classes, embedding_size, create_margin(section), scale=section.scale,
        sub_centres=section.sub_centres, share=section.share, seed=section.seed,
        objective=Objective(section.label_smoothing, section.focal_gamma),
    )  # fmt: skip


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
