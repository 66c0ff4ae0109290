"""Model files: safetensors with the card in the header; cache of converted models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from facerec.card import ModelCard
from facerec.errors import FacerecError, MissingError, UsageError
from facerec.faces import Floats
from facerec.files.hashing import sha256_of
from facerec.files.parsing import brief
from facerec.files.writing import replacing
from facerec.weights.cards import choose_card
from facerec.weights.catalog import (
    ModelRecord,
    PackageFile,
    Record,
    find_model,
    read_catalogue,
)
from facerec.weights.dlib import read_dlib_resnet
from facerec.weights.downloads import require_download
from facerec.weights.folder import cache_folder
from facerec.weights.layouts.reading import UNREADABLE, read_foreign
from facerec.weights.sface import read_sface

_CARD_KEY = "facerec.card"
_READERS = {"dlib": read_dlib_resnet, "sface": read_sface}
StateDict = dict[str, Tensor]


def load_model(name: str | Path, given: str | Path | None = None) -> tuple[ModelCard, StateDict]:
    """Card and weights of a catalogue name or a safetensors file.

    A catalogue name in another project's layout is imported at first use.

    Args:
        given: a card's file, see `facerec.weights.cards.choose_card`.

    Raises:
        MissingError: no such model, or its file is absent or damaged; or the given card is.
        UsageError: its layout is unknown, it has no card, or the given one is of another model.
    """
    own, state = _load(name)
    return choose_card(name, own, given, sha256_of), state


def load_card(name: str | Path, given: str | Path | None = None) -> ModelCard:
    """The card of a catalogue name or a safetensors file; see `load_model`."""
    return choose_card(name, own_card(name), given, sha256_of)


def own_card(name: str | Path) -> ModelCard | None:
    """The card of a catalogue name, or that a safetensors file carries.

    Raises:
        MissingError: no such model, or its file is absent or damaged.
        UsageError: its layout is unknown.
    """
    path = Path(name)
    if path.suffix == ".safetensors" or path.is_file():
        return _read(path)[0]
    name = str(name)
    return _load(name)[0] if name in _foreign_names() else find_model(name).card


def read_model(path: str | Path) -> tuple[ModelCard, StateDict]:
    """Card and weights of a safetensors file.

    Raises:
        MissingError: the file is absent or damaged.
        UsageError: it carries no card.
    """
    own, state = _read(path)
    return choose_card(path, own, None, sha256_of), state


def _load(name: str | Path) -> tuple[ModelCard | None, StateDict]:
    path = Path(name)
    if path.suffix == ".safetensors" or path.is_file():
        return _read(path)
    name = str(name)
    if name in (foreign := _foreign_names()):
        return _load_foreign(name, foreign[name])
    record = find_model(name)
    if not isinstance(record.file, PackageFile):
        return _read(require_download(name, record))
    cached = cache_folder() / "models" / f"{name}-{record.file.sha256[:12]}.safetensors"
    try:
        _, state = _read(cached)
    except MissingError:
        state = _convert(record.file, record, cached)
    # The catalogue's card is newer than the one cached with the weights.
    return record.card, state


def _read(path: str | Path) -> tuple[ModelCard | None, StateDict]:
    """What a safetensors file holds; None: no card."""
    if not Path(path).is_file():
        raise MissingError(f"{path}: no such model file")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_CARD_KEY)
            card = None if text is None else ModelCard.from_json(text, path)
            names = list(file.keys())
            return card, {name: file.get_tensor(name) for name in names}
    except UNREADABLE as error:
        raise MissingError(f"{path}: not a readable safetensors file: {brief(error)}") from error


def write_model(path: str | Path, state: Mapping[str, Floats], card: ModelCard) -> None:
    """Write weights and card as one safetensors file, atomically.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        with replacing(path) as temporary:
            save_file(dict(state), temporary, metadata={_CARD_KEY: card.to_json()})
    except SafetensorError as error:
        # As of a full disk.
        raise UsageError(f"{path}: cannot be written: {brief(error)}") from error


def _foreign_names() -> dict[str, Record]:
    """Catalogue names of PyTorch checkpoints; their cards follow from their layouts."""
    return {
        name: record
        for name, record in read_catalogue().weights.items()
        if record.file.format == "pth"
    }


def _load_foreign(name: str, record: Record) -> tuple[ModelCard, StateDict]:
    source = require_download(name, record)
    digest = sha256_of(source)
    cached = cache_folder() / "models" / f"{name}-{digest[:12]}.safetensors"
    try:
        return read_model(cached)
    except FacerecError:
        layout, imported = read_foreign(source, None)
        card = imported.describe(name, digest, source.name, layout)
        return card, _cached(cached, imported.state, card)


def _convert(file: PackageFile, record: ModelRecord, cached: Path) -> StateDict:
    source = file.find_sound()
    return _cached(cached, _READERS[file.format](source), record.card)


def _cached(cached: Path, state: Mapping[str, Floats], card: ModelCard) -> StateDict:
    try:
        write_model(cached, state, card)
        return read_model(cached)[1]
    except FacerecError:
        # Without a writable cache each use converts again.
        import torch

        return {name: torch.from_numpy(values) for name, values in state.items()}
