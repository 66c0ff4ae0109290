"""By whose five points a gallery's faces were aligned.

Detectors place the points of a face at somewhat different spots, so that it is cut out somewhat
differently. The gallery's card records whose points they are: `mtcnn`, or the name of a detector
that placed its own, `none` for images that were aligned already, and `unknown` for what was
enrolled before this was recorded.
"""

from __future__ import annotations

from collections.abc import Iterable

from facerec.card import ModelCard
from facerec.gallery.base import GalleryStore

UNKNOWN = "unknown"


def record_points(gallery: GalleryStore, points: Iterable[str]) -> None:
    """Note by whose points faces that are about to be added were aligned."""
    new = set(points)
    if new <= set(gallery.card.points):
        return
    card = with_points(gallery.card, new, others=bool(gallery.counts()))
    if card != gallery.card:
        gallery.card = card


def with_points(card: ModelCard, points: Iterable[str], *, others: bool) -> ModelCard:
    """The card with the points of more faces.

    Args:
        others: whether there are faces already, of which the card tells.
    """
    before = points_recorded(card) if others else ()
    recorded = tuple(dict.fromkeys([*before, *sorted(points)]))
    known = () if set(recorded) == {UNKNOWN} else recorded
    return card.model_copy(update={"points": known})


def points_recorded(card: ModelCard) -> tuple[str, ...]:
    """Whose points a gallery's card records; `unknown` where it records none."""
    return card.points or (UNKNOWN,)
