"""Other projects' checkpoint layouts, mapped to facerec's parameter names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from facerec.card import ModelCard
from facerec.faces import Floats

State = dict[str, Floats]


@dataclass(frozen=True, slots=True)
class Imported:
    """Weights under the parameter names of one of facerec's networks, and its preprocessing.

    Attributes:
        architecture: a name of `BACKBONES`.
        state: the weights.
        card: fields of the model card that the layout implies.
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
            layout: the file's.
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
    """A project's parameter names.

    Attributes:
        name: as `--as` takes it.
        project: that saves it.
        fits: recognises the layout by names and shapes.
        convert: renames the weights; raises ValueError for an unknown network.
    """

    name: str
    project: str
    fits: Callable[[State], bool]
    convert: Callable[[State], Imported]
