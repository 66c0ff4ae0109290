"""Model cards as YAML or JSON files, for weights without one inside."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from facerec.alignment.templates import ARCFACE, arcface_template
from facerec.card import ModelCard
from facerec.errors import MissingError, UsageError
from facerec.files.parsing import parse_yaml
from facerec.files.text import read_text
from facerec.files.writing import replacing

CARD_SUFFIXES = (".yaml", ".yml", ".json")


def read_card(path: str | Path, sha256: str | None = None) -> ModelCard:
    """Read a card.

    Its `template` may be `arcface`, ArcFace's scaled to the side of its input.

    Args:
        sha256: hash of the weights it belongs to; a card that names none gets it.

    Raises:
        MissingError: the file cannot be read, is no card, or belongs to other weights.
    """
    try:
        fields: Any = parse_yaml(read_text(path))
    except (yaml.YAMLError, UsageError) as error:
        raise MissingError(f"{path}: a model card is YAML or JSON, this is neither") from error
    if not isinstance(fields, dict):
        raise MissingError(f"{path}: a model card is a mapping")
    if sha256 is not None:
        fields.setdefault("sha256", sha256)
    side = fields.get("input_height")
    if fields.get("template") == ARCFACE.name and isinstance(side, int) and side > 0:
        fields["template"] = arcface_template(side).model_dump(mode="json")
    try:
        text = json.dumps(fields)
    except TypeError as error:
        raise MissingError(f"{path}: invalid model card: {error}") from error
    card = ModelCard.from_json(text, path)
    if sha256 is not None and card.sha256 != sha256:
        raise MissingError(
            f"{path}: belongs to other weights (sha256 {card.sha256[:12]}…, not {sha256[:12]}…)"
        )
    return card


def choose_card(
    model: str | Path,
    own: ModelCard | None,
    given: str | Path | None,
    sha256: Callable[[Path], str],
) -> ModelCard:
    """The card that counts for a model: the given one, else its own.

    Args:
        model: its file, or its name where it has a card of its own.
        own: the card that it carries; None: it carries none.
        given: a card's file, of the same model as its own; one that names no weights gets theirs.
        sha256: hash of the model's weights; asked where it carries no card.

    Raises:
        IncompatibleError: the given card is of another model than its own.
        MissingError: the given card cannot be read, is no card, or belongs to other weights.
        UsageError: there is neither.
    """
    if given is None:
        if own is None:
            raise UsageError(f"{model}: carries no model card; give one with --card or model.card")
        return own
    if own is None:
        return read_card(given, sha256(Path(model)))
    card = read_card(given, own.sha256)
    own.require_same_model(card, str(given))
    return card


def write_card(path: str | Path, card: ModelCard) -> None:
    """Write a card as YAML or, for `.json`, as JSON, atomically.

    Raises:
        UsageError: the ending is another one, or the place cannot be written.
    """
    fields = card.model_dump(mode="json")
    suffix = Path(path).suffix
    if suffix == ".json":
        text = json.dumps(fields, indent=2) + "\n"
    elif suffix in CARD_SUFFIXES:
        text = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)
    else:
        raise UsageError(f"{path}: a model card's file ends in {', '.join(CARD_SUFFIXES)}")
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
