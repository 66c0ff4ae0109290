"""How much smaller a picture may be read, so that the faces sought are still found."""

from __future__ import annotations

import copy
from typing import TypeVar

Kind = TypeVar("Kind", bound="Reducible")

_LARGE_PIXELS = 1_000_000
"""Reading fewer takes some milliseconds."""
_ENOUGH = 40
"""Pixels of MTCNN's smallest face that are left: nearly as many as its third network's crops have.
On photos twice enlarged, 1 of 52 faces sought from 80 pixels on was lost at a half and none was
added; landmarks moved by 0.4 % of the face."""


def power_of_two(factor: float) -> int:
    """The largest of 1, 2, 4 and 8 that is not above the factor."""
    return max((power for power in (2, 4, 8) if power <= factor), default=1)


def reduction_of(height: int, width: int, most: float) -> int:
    """The factor for a picture that may be at most so many times smaller."""
    return 1 if height * width < _LARGE_PIXELS else power_of_two(most)


def reduction_for_mtcnn(height: int, width: int, min_face: float) -> int:
    """The factor for a picture in which MTCNN looks for faces of `min_face` pixels or more."""
    return reduction_of(height, width, min_face / _ENOUGH)


class Reducible:
    """What detectors share that look for smaller faces in a picture that was read smaller; the
    rule is MTCNN's."""

    _min_face: float

    def reduction(self, height: int, width: int) -> int:
        """See `Detector.reduction`."""
        return reduction_for_mtcnn(height, width, self._min_face)

    def reduced(self: Kind, factor: int) -> Kind:
        """See `Detector.reduced`; the networks are shared."""
        reduced = copy.copy(self)
        reduced._min_face = self._min_face / factor
        return reduced
