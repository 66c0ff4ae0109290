"""Weights as other projects save them, brought into this one's names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from facerec.card import ModelCard
from facerec.faces import Floats

State = dict[str, Floats]


@dataclass(frozen=True, slots=True)
class Imported:
    """Weights under the names of one of facerec's networks, and how that network is fed.

    Attributes:
        architecture: a name of the registry.
        state: the weights.
        card: fields of the model card that follow from the layout.
    """

    architecture: str
    state: State
    card: dict[str, Any] = field(default_factory=dict)

    def describe(self, name: str, sha256: str, source: str, layout: str) -> ModelCard:
        """The card of the model with these weights.

        Args:
            name: of the model.
            sha256: hex, of the file.
            source: the file's name.
            layout: its.
        """
        described = {
            "name": name,
            "architecture": self.architecture,
            "sha256": sha256,
            "source": f"{source}, imported from the layout {layout}",
        }
        return ModelCard.model_validate(described | self.card)


@dataclass(frozen=True, slots=True)
class Layout:
    """One project's way of naming weights.

    Attributes:
        name: as `--as` takes it.
        project: whose it is.
        fits: whether weights have this layout, by their names and shapes.
        convert: what they are here; ValueError where it cannot be.
    """

    name: str
    project: str
    fits: Callable[[State], bool]
    convert: Callable[[State], Imported]
