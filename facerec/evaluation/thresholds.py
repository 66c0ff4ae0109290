"""Calibration: recognition thresholds at fixed false-accept rates, from measured pairs."""

from __future__ import annotations

from facerec.card import Calibration, Cohort, Metric, ModelCard, Norms, similarity_to_distance
from facerec.engine.quality import usual_norms
from facerec.errors import UsageError
from facerec.evaluation.curve import ScoreCurve
from facerec.evaluation.metrics import allowed_impostors, tar_at_far
from facerec.evaluation.verification import rate_name
from facerec.faces import Floats

CALIBRATED = (1e-2, 1e-3, 1e-4)
"""False-accept rates calibrated, if there are enough impostor pairs."""


def require_impostors(total: int, data: str) -> None:
    """Refuse a set whose impostor pairs are too few for any of `CALIBRATED`.

    Args:
        data: name of the set.

    Raises:
        UsageError: there are fewer than 100.
    """
    if not any(allowed_impostors(far, total) for far in CALIBRATED):
        raise UsageError(
            f"a threshold needs at least 100 pairs of different people, {data} has {total}"
        )


def calibrate(
    curve: ScoreCurve, metric: Metric, data: str, cohort: Cohort | None = None
) -> Calibration:
    """The thresholds, as distances in `metric`.

    Args:
        data: name of the set.
        cohort: of its people, see `facerec.evaluation.cohort`.

    Raises:
        UsageError: there are fewer than 100 impostor pairs.
    """
    total = curve.impostor_total
    require_impostors(total, data)
    fars = [far for far in CALIBRATED if allowed_impostors(far, total) >= 1]
    return Calibration(
        data=data,
        pairs=curve.genuine_total + total,
        thresholds={
            rate_name(far): similarity_to_distance(tar_at_far(curve, far).threshold, metric)
            for far in fars
        },
        cohort=cohort,
    )


def measured_norms(card: ModelCard, norms: Floats, data: str) -> Norms | None:
    """What the card says of norms, with the usual ones as measured; None where they mean nothing.

    Args:
        norms: `(I,) float32` of faces; NaN for those without.
        data: name of the set.
    """
    if card.norms is None:
        return None
    return card.norms.model_copy(update={"usual": usual_norms(norms), "data": data})


def with_calibration(
    card: ModelCard, calibration: Calibration, norms: Norms | None = None
) -> ModelCard:
    """The card with this calibration, and with these norms unless they are None."""
    return card.model_copy(update={"calibration": calibration, "norms": norms or card.norms})
