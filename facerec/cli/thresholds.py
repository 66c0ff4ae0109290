"""Warning of thresholds beyond the calibrated ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facerec.cli.console import say

if TYPE_CHECKING:
    from facerec.card import ModelCard
    from facerec.profile.schema import RecognizeSection


def remark_on_threshold(card: ModelCard, section: RecognizeSection) -> None:
    """Warn of a threshold above all calibrated ones, whose false-accept rate is unknown.

    No warning without calibration, or where `far` chooses the threshold.

    Args:
        card: whose thresholds hold; see `deciding_card`.
    """
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
