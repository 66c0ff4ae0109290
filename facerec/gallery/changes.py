"""The changes of a gallery, one value each: what a journal keeps and is played back from."""

from __future__ import annotations

from dataclasses import dataclass

from facerec.card import ModelCard
from facerec.gallery.base import Batch


@dataclass(frozen=True, slots=True, eq=False)
class Append:
    """Entries were added; with `replace`, in place of what their source gave their person."""

    batch: Batch
    replace: bool


@dataclass(frozen=True, slots=True)
class Remove:
    """A person was removed, or what one source gave them."""

    person: str
    source: str | None


@dataclass(frozen=True, slots=True)
class Rename:
    """A person has another name."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Merge:
    """A person's entries became another's."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class NewCard:
    """The card changed."""

    card: ModelCard


Change = Append | Remove | Rename | Merge | NewCard
