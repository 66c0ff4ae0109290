"""What a card says of strangers: thresholds beyond the calibrated ones, probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facerec.cli.console import say

if TYPE_CHECKING:
    from facerec.card import ModelCard
    from facerec.gallery.base import GalleryStore
    from facerec.gallery.match import Matcher
    from facerec.profile.schema import RecognizeSection


def remark_on_matcher(matcher: Matcher, section: RecognizeSection, address: str) -> None:
    """Warn of what recognition in a gallery cannot do, or does with limits unknown."""
    remark_on_threshold(matcher.card, section, matcher.threshold)
    remark_on_cohort(matcher.card)
    _remark_on_nobody(matcher.gallery, section, address)


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


def _remark_on_nobody(gallery: GalleryStore, section: RecognizeSection, address: str) -> None:
    """Warn of a gallery that has nobody to recognise, or nobody with the metadata asked for."""
    if len(gallery) and gallery.counts(section.where):
        return
    wanted = " ".join(f"{key}={value}" for key, value in section.where.items())
    asked = f" with {wanted}" if len(gallery) and wanted else ""
    say(f"{address}: nobody{asked} is enrolled there, so nobody is recognised")


def percent(probability: float | None) -> str:
    """A probability as tables and labels show it, never as certain."""
    if probability is None:
        return ""
    if 0.0005 <= probability < 0.9995:
        return f"{100 * probability:.1f} %"
    return "> 99.9 %" if probability > 0.5 else "< 0.1 %"
