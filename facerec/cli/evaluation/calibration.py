"""Writes calibrated thresholds into a card, a model or a gallery."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facerec.card import Calibration, ModelCard


def write_calibration(target: Path, card: ModelCard, calibration: Calibration) -> None:
    from facerec.evaluation.thresholds import with_calibration

    if target.suffix in (".h5", ".hdf5"):
        from facerec.files import locked
        from facerec.gallery import Gallery

        with locked(target):
            gallery = Gallery.open(target, assume=card)
            card.require_same_model(gallery.card, str(target))
            gallery.card = with_calibration(gallery.card, calibration)
            gallery.save(target)
        return
    if target.suffix == ".safetensors":
        from facerec.weights.store import read_model, write_model

        own, state = read_model(target)
        card.require_same_model(own, str(target))
        tensors = {name: tensor.numpy() for name, tensor in state.items()}
        write_model(target, tensors, with_calibration(own, calibration))
        return
    from facerec.weights.cards import read_card, write_card

    if target.exists():
        own = read_card(target, card.sha256)
        card.require_same_model(own, str(target))
    write_card(target, with_calibration(card, calibration))
