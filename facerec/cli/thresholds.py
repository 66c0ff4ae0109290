"""What a card says of strangers: thresholds beyond the calibrated ones, probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facerec.cli.console import say

if TYPE_CHECKING:
    from facerec.card import ModelCard
    from facerec.profile.schema import RecognizeSection


def remark_on_threshold(card: ModelCard, section: RecognizeSection, used: float) -> None:
    """Warn of a threshold above all calibrated ones, whose false-accept rate is unknown, and of a
    share of false names that no threshold keeps to.

    No warning of a threshold without calibration, or where `far` chooses it.

    Args:
        card: whose thresholds hold; see `deciding_card`.
        used: the threshold, as `decision_threshold` gives it.
    """
    if section.threshold is None and section.max_false_names is not None and used == 0:
        say(
            f"recognize.max_false_names {section.max_false_names:g}: {card.name} gives no "
            "similarity that is so rare among strangers here; nobody is named but by a photo that "
            "is enrolled"
        )
    given, calibration = section.threshold, card.calibration
    if given is None or calibration is None or not calibration.thresholds:
        return
    metric = section.metric or card.metric
    loosest = max(calibration.thresholds, key=float)
    limit = card.threshold(float(loosest), metric)
    if given > limit:
        say(
            f"threshold {given:g}: looser than any calibrated for {card.name}; {limit:.4f} accepts "
            f"{100 * float(loosest):g} % of strangers, how many more this accepts is not known"
        )


def remark_on_cohort(card: ModelCard) -> None:
    """Warn of a card without a cohort, which tells no probabilities."""
    if card.calibration is None or card.calibration.cohort is None:
        say(
            f"{card.name}: its card knows no cohort of strangers, so no probability is told; "
            "facerec evaluate lfw --calibrate CARD measures one"
        )


def percent(probability: float | None) -> str:
    """A probability as tables and labels show it, never as certain."""
    if probability is None:
        return ""
    if 0.0005 <= probability < 0.9995:
        return f"{100 * probability:.1f} %"
    return "> 99.9 %" if probability > 0.5 else "< 0.1 %"
