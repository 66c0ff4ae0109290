"""An embedder around any runtime's network."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from facerec.card import ModelCard
from facerec.errors import MissingError
from facerec.faces import Floats, Image
from facerec.models import mirror_average, require_chips, unit_and_norms
from facerec.models.runtimes.checks import require_right_here, without_averaging

CARD_KEY, INSIDE_KEY = "facerec.card", "facerec.normalised"
"""Metadata keys of exported files: the card, and whether preprocessing is in the graph."""

_NO_NORMS = np.empty(0, np.float32)
_PIXELS = np.dtype(np.uint8)


class Port(NamedTuple):
    """A network's input or output.

    Attributes:
        shape: None: a dynamic dimension.
        type: of its values, floating-point or uint8; None: another, which no embedder has.
        type_name: what the runtime calls it.
    """

    shape: list[int | None]
    type: np.dtype[Any] | None
    type_name: str

    @property
    def size(self) -> int | None:
        """Values for each image; None: not known."""
        sides = [side for side in self.shape[1:] if side is not None]
        return math.prod(sides) if len(sides) == len(self.shape) - 1 else None


class Network(Protocol):
    """A runtime's network.

    Attributes:
        takes: its input.
        gives: its outputs.
        inside: whether preprocessing is in the graph.
        check: see `checks.describe_check`; empty for none.
        arithmetic: see `facerec.models.Embedder`.
    """

    takes: Port
    gives: list[Port]
    inside: bool
    check: str
    arithmetic: str

    def run(self, x: NDArray[Any], output: int) -> Floats:
        """One output, `(N, …)`, for a contiguous `(N, 3, H, W)` of the input's type."""


class ForeignEmbedder:
    """An embedder around a network that maps `(N, 3, H, W)` to D values for each of the N.

    Of several outputs the first of the card's size counts.

    Args:
        path: for messages.
        network: of a fixed or a dynamic batch dimension.
        card: preprocessing and metric.
        batch: most chips per run, for a dynamic batch dimension.

    Raises:
        MissingError: the network's shapes are not the card's, or it takes or gives no such numbers.
    """

    def __init__(self, path: Path, network: Network, card: ModelCard, *, batch: int) -> None:
        self.card = card
        self.arithmetic = network.arithmetic
        self._path, self._network = path, network
        wanted = (3, card.input_height, card.input_width)
        takes = network.takes.shape
        if len(takes) != 4 or any(
            side not in (None, want) for side, want in zip(takes[1:], wanted, strict=True)
        ):
            raise MissingError(f"{path}: takes {takes}, but {card.name}'s card says (N, {wanted})")
        self._output = _output_of(network, card, path)
        self._type = _require_numbers(network, self._output, card, path)
        self._fixed = takes[0] is not None
        self._batch = takes[0] or batch
        self._mean: Floats = np.asarray(card.mean, np.float32).reshape(1, 3, 1, 1)
        self._scale: Floats = np.float32(1) / np.asarray(card.std, np.float32).reshape(1, 3, 1, 1)

    def embed(self, chips: Image) -> Floats:
        """See `Embedder.embed`.

        Raises:
            ValueError: the chips are not of the card's input size.
            MissingError: the network fails, or gives other vectors than its card says.
        """
        return self.embed_with_norms(chips)[0]

    def embed_with_norms(self, chips: Image) -> tuple[Floats, Floats]:
        """See `Embedder.embed_with_norms`; raises what `embed` does."""
        require_chips(chips, self.card)
        units, norms = [np.empty((0, self.card.embedding_size), np.float32)], [_NO_NORMS]
        for start in range(0, len(chips), self._batch):
            unit, norm = self._forward(chips[start : start + self._batch])
            units.append(unit)
            norms.append(norm)
        return np.concatenate(units), np.concatenate(norms)

    def require_right_here(self) -> None:
        """Compare its vectors with the exact ones that the file carries; see `checks`.

        Raises:
            MissingError: what it carries is damaged.
            UsageError: they differ too much on this processor.
        """
        card = without_averaging(self.card)
        plain = ForeignEmbedder(self._path, self._network, card, batch=self._batch)
        require_right_here(plain, self._network.check, self._path)

    def _forward(self, chips: Image) -> tuple[Floats, Floats]:
        if self.card.colour == "BGR" and not self._network.inside:
            chips = chips[..., ::-1]
        x = chips.transpose(0, 3, 1, 2).astype(np.float32)
        if not self._network.inside:
            x = (x - self._mean) * self._scale
        raw = self._run(x)
        if self.card.augment == "none":
            return unit_and_norms(raw)
        return mirror_average(raw, self._run(x[..., ::-1]))

    def _run(self, x: Floats) -> Floats:
        count = len(x)
        if self._fixed and count < self._batch:
            x = np.concatenate([x, np.zeros((self._batch - count, *x.shape[1:]), np.float32)])
        y = self._network.run(np.ascontiguousarray(x, self._type), self._output)
        if y.ndim < 2 or len(y) != len(x) or y[0].size != self.card.embedding_size:
            raise MissingError(
                f"{self._path}: gives {y.shape} for {len(x)} faces, but {self.card.name}'s card "
                f"says {self.card.embedding_size} values for each"
            )
        vectors = y.reshape(len(y), -1)[:count].astype(np.float32)
        lengths = np.linalg.norm(vectors, axis=1)
        if not np.isfinite(lengths).all():
            raise MissingError(f"{self._path}: gives values that are no numbers (NaN)")
        if (lengths < np.finfo(np.float32).tiny).any():
            raise MissingError(f"{self._path}: gives vectors of length 0")
        return vectors


def _output_of(network: Network, card: ModelCard, path: Path) -> int:
    """Which output is the vector: others may be its norm, or features of other sizes."""
    batched = {number: port for number, port in enumerate(network.gives) if len(port.shape) > 1}
    if network.takes.shape[0] == 0 or not batched:
        shapes = " and ".join(str(port.shape) for port in network.gives)
        raise MissingError(f"{path}: no embedder: takes {network.takes.shape} and gives {shapes}")
    for fitting in (card.embedding_size, None):
        for number, port in batched.items():
            if port.size == fitting:
                return number
    sizes = " and ".join(str(port.size) for port in batched.values())
    raise MissingError(
        f"{path}: gives {sizes} values, but {card.name}'s card says {card.embedding_size}"
    )


def _require_numbers(network: Network, output: int, card: ModelCard, path: Path) -> np.dtype[Any]:
    """The type of the network's input, once it is known that its numbers are an embedder's."""
    takes, gives = network.takes, network.gives[output]
    if takes.type is None or gives.type is None or gives.type == _PIXELS:
        raise MissingError(
            f"{path}: takes {takes.type_name} and gives {gives.type_name}; an embedder takes "
            "numbers and gives floating-point ones"
        )
    plain = set(card.mean) == {0.0} and set(card.std) == {1.0}
    if takes.type == _PIXELS and not (network.inside or plain):
        raise MissingError(
            f"{path}: takes pixels of 0-255 (uint8), but {card.name}'s card normalises them; give "
            "a card with mean [0, 0, 0] and std [1, 1, 1]"
        )
    return takes.type


def parse_card(text: str, path: Path) -> ModelCard | None:
    """The card inside a file.

    Args:
        text: of the card; empty if there is none.
        path: for messages.

    Raises:
        MissingError: it is no card.
    """
    return ModelCard.from_json(text, str(path)) if text else None
