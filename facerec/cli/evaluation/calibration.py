"""Writes calibrated thresholds into a card, a model or a gallery."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from facerec.cli.console import say
from facerec.errors import FacerecError, UsageError
from facerec.files.writing import check_output

if TYPE_CHECKING:
    from facerec.card import Calibration, ModelCard, Norms
    from facerec.cli.evaluation.options import Run

_GALLERIES, _MODEL = (".h5", ".hdf5"), ".safetensors"


def check_calibration(target: Path, run: Run) -> None:
    """Refuse before the work what `write_calibration` would refuse after it.

    Raises:
        UsageError: several models are measured, the ending is of nothing that holds thresholds, or
            the place cannot be written.
        IncompatibleError: it belongs to another model.
        MissingError: there is no such gallery or model, or it is damaged.
    """
    if len(run.models) > 1:
        raise UsageError("--calibrate takes one --model")
    from facerec.weights.cards import CARD_SUFFIXES

    if target.suffix not in (*_GALLERIES, _MODEL, *CARD_SUFFIXES):
        raise UsageError(
            f"--calibrate {target}: a card ends in {', '.join(CARD_SUFFIXES)}, "
            f"a model in {_MODEL}, a gallery in {' or '.join(_GALLERIES)}"
        )
    check_output(target)
    _card_in(target, None)


def check_owner(target: Path, card: ModelCard) -> None:
    """Refuse before the work thresholds for what belongs to another model.

    Raises:
        IncompatibleError: naming both models.
    """
    own = _card_in(target, card)
    if own is not None:
        card.require_same_model(own, str(target))


def _card_in(target: Path, assumed: ModelCard | None) -> ModelCard | None:
    """The card that a gallery, a model or a card's file holds; None where there is none yet.

    Args:
        assumed: the model that is measured, for what does not name its own.
    """
    if target.suffix in _GALLERIES:
        from facerec.gallery import Gallery

        return Gallery.open(target, assume=assumed).card
    if target.suffix == _MODEL:
        from facerec.weights.store import load_card

        return load_card(target)
    from facerec.weights.cards import read_card

    return read_card(target, assumed.sha256 if assumed else None) if target.exists() else None


def write_calibration(
    target: Path, card: ModelCard, calibration: Calibration, norms: Norms | None
) -> FacerecError | None:
    """Write what was measured into a card, a model or a gallery, as it then is: who else writes it
    is waited for, and what they wrote stays.

    Args:
        card: of the model that was measured.
        norms: None leaves those of the target.

    Returns:
        why it could not be written; it is for `finish` to raise, once the figures are told.
    """
    from facerec.files.locking import locked

    def tell() -> None:
        say(f"{target}: another facerec is writing it; the thresholds wait for it")

    try:
        with locked(target, waiting=tell):
            _write(target, card, calibration, norms)
    except FacerecError as error:
        return error
    if norms is not None and norms.usual is None:
        say(f"{target}: no usual norms, since all vectors have the same: the model normalises them")
    return None


def _with_known_cohort(calibration: Calibration, *cards: ModelCard) -> Calibration:
    """The calibration, with the first cohort that the cards know where its own set gave none: new
    thresholds from pairs of one's own do not cost the probabilities."""
    known = (card.calibration.cohort for card in cards if card.calibration is not None)
    cohort = calibration.cohort or next(filter(None, known), None)
    return calibration.model_copy(update={"cohort": cohort})


def _write(target: Path, card: ModelCard, calibration: Calibration, norms: Norms | None) -> None:
    from facerec.evaluation.thresholds import with_calibration

    if target.suffix in _GALLERIES:
        from facerec.gallery import Gallery

        gallery = Gallery.open(target, assume=card)
        card.require_same_model(gallery.card, str(target))
        calibration = _with_known_cohort(calibration, gallery.card, card)
        written = with_calibration(gallery.card, calibration, norms)
        gallery.card = written.model_copy(update={"calibrated_for": "gallery"})
        gallery.save(target)
        return
    if target.suffix == _MODEL:
        from facerec.weights.store import read_model, write_model

        own, state = read_model(target)
        card.require_same_model(own, str(target))
        calibration = _with_known_cohort(calibration, own, card)
        tensors = {name: tensor.numpy() for name, tensor in state.items()}
        write_model(target, tensors, with_calibration(own, calibration, norms))
        return
    from facerec.weights.cards import read_card, write_card

    own = card
    if target.exists():
        own = read_card(target, card.sha256)
        card.require_same_model(own, str(target))
    calibration = _with_known_cohort(calibration, own, card)
    write_card(target, with_calibration(own, calibration, norms))
