"""A remark on thresholds that are looser than any calibrated one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facerec.cli.console import say

if TYPE_CHECKING:
    from facerec.card import ModelCard
    from facerec.profile.schema import RecognizeSection


def remark_on_threshold(card: ModelCard, section: RecognizeSection) -> None:
    """Say in one line that nobody knows how many strangers the threshold that was given accepts.

    Nothing is said of a threshold within the calibrated ones, or chosen by a false-accept rate.

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
