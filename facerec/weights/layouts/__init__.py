"""Other projects' checkpoint layouts, mapped to facerec's parameter names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

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
        colour: order of the channels in which the project trains.
        marked: recognises the project by the names before wrappers are taken off; None: by `fits`
            alone. For networks that several projects have, each in its own order of the channels.
    """

    name: str
    project: str
    fits: Callable[[State], bool]
    convert: Callable[[State], Imported]
    colour: Literal["RGB", "BGR"] = "RGB"
    marked: Callable[[State], bool] | None = None

    def read(self, state: State) -> Imported:
        """The weights renamed, and the preprocessing.

        Raises:
            ValueError: the network is not known.
        """
        found = self.convert(state)
        return replace(found, card={"colour": self.colour, **found.card})
