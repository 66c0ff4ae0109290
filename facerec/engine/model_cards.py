"""Which card counts for a network: the profile's, its file's or the catalogue's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from facerec.card import ModelCard
from facerec.files.hashing import sha256_of
from facerec.models.runtimes.onnx import onnx_card, onnx_sha256
from facerec.models.runtimes.openvino import openvino_card, openvino_sha256
from facerec.models.runtimes.torchscript import torchscript_card
from facerec.profile.schema import ModelSection
from facerec.weights.cards import choose_card
from facerec.weights.catalog import catalogue
from facerec.weights.downloads import require_download
from facerec.weights.store import own_card


class _Format(NamedTuple):
    card: Callable[[Path], ModelCard | None]
    sha256: Callable[[Path], str]


_FORMATS = {
    ".onnx": _Format(onnx_card, onnx_sha256),
    ".ts": _Format(torchscript_card, sha256_of),
    ".xml": _Format(openvino_card, openvino_sha256),
}


def find_card(section: ModelSection) -> ModelCard:
    """The card of a section's one network as it was calibrated, whatever the section averages.

    Raises:
        IncompatibleError: the section's card is of another model than the file's own.
        MissingError: the model is missing or damaged; or the section's card is, or belongs to other
            weights.
        UsageError: there is no card.
    """
    name = section.only_name
    made = _FORMATS.get(Path(name).suffix)
    return choose_card(
        name, carried_card(name), section.only_card, made.sha256 if made else sha256_of
    )


def carried_card(name: str) -> ModelCard | None:
    """The card that a model's file carries, or the catalogue's; None: there is none.

    Raises:
        MissingError: the model is missing or damaged.
    """
    path = Path(name)
    if made := _FORMATS.get(path.suffix):
        return made.card(path)
    record = catalogue().get(name)
    if record is not None and record.file.format == "onnx":
        sha256 = onnx_sha256(require_download(name, record))
        return record.card.model_copy(update={"sha256": sha256})
    return own_card(name)
