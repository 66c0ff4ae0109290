"""TorchScript files, with or without a model card inside."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from facerec.card import ModelCard
from facerec.errors import MissingError
from facerec.files.parsing import MALFORMED
from facerec.models.embedder import TorchEmbedder
from facerec.models.runtimes.foreign import CARD_KEY, parse_card


class TorchScriptEmbedder(TorchEmbedder):
    """A TorchScript network, in fp32, and the card that says how to feed it.

    Args:
        path: the file.
        card: preprocessing and metric.
        device: a torch device.
        batch: most chips in one forward pass.

    Raises:
        MissingError: the file is absent or cannot be read.
    """

    def __init__(self, path: Path, card: ModelCard, *, device: str, batch: int) -> None:
        super().__init__(_load(path, device)[0], card, device=device, batch=batch)
        self._path = path

    def _run(self, x: Tensor) -> Tensor:
        try:
            y = self._network(x)
        except RuntimeError as error:
            # TorchScript's own trace comes first.
            problem = str(error).strip().splitlines()[-1][:120]
            raise MissingError(f"{self._path}: PyTorch cannot run it: {problem}") from error
        size = self.card.embedding_size
        if not isinstance(y, Tensor) or y.ndim < 2 or y.shape[0] != len(x) or y[0].numel() != size:
            gives = tuple(y.shape) if isinstance(y, Tensor) else f"a {type(y).__name__}"
            raise MissingError(
                f"{self._path}: gives {gives} for {len(x)} faces, but {self.card.name}'s card says "
                f"{size} values for each"
            )
        return y.flatten(1).float()


def torchscript_card(path: Path) -> ModelCard | None:
    """The card that `facerec export --to torchscript` embedded; None: there is none.

    Raises:
        MissingError: the file is absent or cannot be read.
    """
    return parse_card(_load(path, "cpu")[1], path)


def _load(path: Path, device: str) -> tuple[Any, str]:
    """The network, and the text of its card; empty: there is none."""
    if not path.is_file():
        raise MissingError(f"{path}: no such model file")
    inside: dict[str, Any] = {CARD_KEY: ""}
    try:
        with warnings.catch_warnings():
            # Deprecated in favour of torch.export, whose files load only in the version that wrote
            # them.
            warnings.simplefilter("ignore")
            network = torch.jit.load(  # type: ignore[no-untyped-call]
                str(path), map_location=device, _extra_files=inside
            )
    except MALFORMED as error:
        raise MissingError(f"{path}: not a readable TorchScript file") from error
    text = inside[CARD_KEY]
    return network, text if isinstance(text, str) else text.decode("utf-8", "replace")
