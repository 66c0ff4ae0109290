"""The catalogue: every model with a name, where its bytes are and how it sees a face."""

from __future__ import annotations

import difflib
from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

from facerec.card import ModelCard
from facerec.errors import MissingError


class PackageFile(BaseModel):
    """A weights file that an installed pip package carries."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    package: str
    path: str
    sha256: str
    size: int
    format: Literal["dlib"]


class ModelRecord(BaseModel):
    """What the catalogue knows of a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: PackageFile
    licence: str
    commercial: bool
    published: str
    card: ModelCard


@cache
def catalogue() -> dict[str, ModelRecord]:
    """All records by name."""
    text = (Path(__file__).parent / "catalog.yaml").read_text(encoding="utf-8")
    records = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return {name: ModelRecord.model_validate(record) for name, record in records["models"].items()}


def find_model(name: str) -> ModelRecord:
    """The record of a model.

    Raises:
        MissingError: no model has that name; the nearest is named.
    """
    records = catalogue()
    if name not in records:
        close = difflib.get_close_matches(name, records, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(records)}"
        raise MissingError(f"no model is called {name}, and there is no such file; {hint}")
    return records[name]
