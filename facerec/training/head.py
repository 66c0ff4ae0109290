"""Class centres from elsewhere: another run's classifier, or a file of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from facerec.errors import MissingError, UsageError
from facerec.training.checkpoint import newest_checkpoint, read_tensors
from facerec.training.losses.classifier import Classifier
from facerec.training.run_folder import PEOPLE


def load_head(
    place: str, classifier: Classifier, people: Sequence[str], tell: Callable[[str], None]
) -> None:
    """Set a classifier's centres, of this rank's shard, from another's; matched by name.

    Args:
        place: a run's folder or checkpoint, or a safetensors file with `weight` `(C, D)` or
            `(C, S, D)`, optionally `bias` `(C,)`, and in its metadata `people`, a JSON list.
            Without names there must be as many people, in the same order.
        people: of the classifier's rows, over all ranks.
        tell: called with how many were found.

    Raises:
        MissingError: there is no head.
        UsageError: it is of another size, or has none of the people.
    """
    tensors, names = _read(Path(place))
    weight = tensors["weight"]
    weight = weight[:, None] if weight.dim() == 2 else weight
    shape = tuple(classifier.weight.shape[1:])
    if tuple(weight.shape[1:]) != shape:
        raise UsageError(
            f"train.initial_head {place}: its centres are {tuple(weight.shape[1:])}, those in "
            f"training {shape} (sub-centres, embedding size)"
        )
    if names is None and len(weight) != len(people):
        raise UsageError(
            f"train.initial_head {place}: it has {len(weight)} people without names, the data "
            f"{len(people)}"
        )
    rows = {name: row for row, name in enumerate(people if names is None else names)}
    known = [rows.get(name) for name in people]
    found = sum(row is not None for row in known)
    if not found:
        raise UsageError(f"train.initial_head {place}: knows none of the {len(people)} people")
    bias = tensors.get("bias")
    with torch.no_grad():
        for own, label in enumerate(classifier.shard):
            row = known[label]
            if row is None:
                continue
            classifier.weight[own] = weight[row]
            if classifier.bias is not None and bias is not None:
                classifier.bias[own] = bias[row]
    tell(f"train.initial_head {place}: has centres of {found} of {len(people)} people")


def _read(place: Path) -> tuple[dict[str, Tensor], list[str] | None]:
    """Tensors by name, and the rows' people if they are known."""
    names = None
    if place.is_dir():
        checkpoint = newest_checkpoint(place)
        tensors = read_tensors(checkpoint, "classifier/")
        listed = checkpoint.resolve().parent.parent / PEOPLE
        if listed.is_file():
            names = json.loads(listed.read_text(encoding="utf-8"))
    else:
        try:
            with safe_open(place, framework="pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
                text = (file.metadata() or {}).get("people")
            names = None if text is None else json.loads(text)
        except (OSError, SafetensorError, ValueError) as error:
            raise MissingError(f"train.initial_head {place}: cannot be read: {error}") from error
    if "weight" not in tensors or tensors["weight"].dim() not in (2, 3):
        raise MissingError(f"train.initial_head {place}: holds no centres, `weight`")
    if names is not None and len(names) != len(tensors["weight"]):
        raise MissingError(
            f"train.initial_head {place}: its people and its centres differ in number"
        )
    return tensors, names
