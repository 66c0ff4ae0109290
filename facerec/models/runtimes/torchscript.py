"""TorchScript files with a model card inside."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from facerec.card import Augment
from facerec.errors import MissingError
from facerec.files.parsing import MALFORMED
from facerec.models.embedder import TorchEmbedder
from facerec.models.runtimes.foreign import CARD_KEY, carried_card


def load_torchscript(
    path: Path, *, device: str, batch: int, augment: Augment | None = None
) -> TorchEmbedder:
    """An embedder of a file that `facerec export --to torchscript` wrote, in fp32.

    Args:
        augment: what is averaged; None: as the card says.

    Raises:
        MissingError: it cannot be read, or carries no card.
    """
    inside = {CARD_KEY: ""}
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
    card = carried_card(text if isinstance(text, str) else text.decode("utf-8", "replace"), path)
    return TorchEmbedder(network, card.with_augment(augment), device=device, batch=batch)
