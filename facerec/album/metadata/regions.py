"""A named area of a photo, and how its orientation turns it.

MWG 2.0, section 5.9: regions are those of the stored image, so whoever applies its EXIF orientation
turns them too. digiKam, Immich and ExifTool's own conversions do. Some programs write those of the
upright picture, of which its dimensions tell, or the faces. Our boxes are of the upright picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

FACE = "Face"

Box = tuple[float, float, float, float]
"""Left, top, right, bottom: fractions of the picture's width and height."""

_LEAST_OVERLAP = 0.2
"""Intersection over union of two boxes of one face. Programs draw them tight around the features,
or around the whole head: those two overlap by 0.3 and more, and neighbours by less than 0.1."""

_SAME_SHAPE = 0.03
"""Share by which the ratios of two pictures' sides may differ: a raw file's preview lacks some rows
or columns of it, and sides are rounded; crops that people make differ by more."""

_INVERSE = {6: 8, 8: 6}


@dataclass(frozen=True, slots=True)
class Region:
    """What a program says is in a part of a photo.

    Attributes:
        name: whom or what it shows; empty if it does not say.
        box: where, in the upright picture; None if it does not say.
        kind: `Face`, `Pet`, `Focus`, `BarCode`, or what the program wrote.
        source: where that was found: `mwg`, `microsoft`, `picasa`, `digikam` or `iptc`.
    """

    name: str
    box: Box | None
    kind: str = FACE
    source: str = "mwg"

    @property
    def is_face(self) -> bool:
        """Whether it shows somebody."""
        return self.kind.casefold() == "face"


def to_upright(box: Box, orientation: int) -> Box:
    """A box of the stored image in the upright picture.

    Args:
        orientation: EXIF's, 1 to 8.
    """
    left, top, right, bottom = box
    corners = [_turn(left, top, orientation), _turn(right, bottom, orientation)]
    (x1, x2), (y1, y2) = (sorted(values) for values in zip(*corners, strict=True))
    return x1, y1, x2, y2


def to_stored(box: Box, orientation: int) -> Box:
    """A box of the upright picture in the stored image; see `to_upright`."""
    return to_upright(box, _INVERSE.get(orientation, orientation))


def _turn(x: float, y: float, orientation: int) -> tuple[float, float]:
    """A point of the stored image in the upright picture: Exif 2.32, table 6."""
    return {
        2: (1 - x, y),
        3: (1 - x, 1 - y),
        4: (x, 1 - y),
        5: (y, x),
        6: (1 - y, x),
        7: (1 - y, 1 - x),
        8: (y, 1 - x),
    }.get(orientation, (x, y))


def same_shape(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether two pictures, by width and height, may be one at two sizes, and none a crop."""
    across, down = one[0] * other[1], one[1] * other[0]
    return abs(across - down) <= _SAME_SHAPE * max(across, down)


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    union = _area(one) + _area(other) - width * height
    return width * height / union


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def match_boxes(one: Sequence[Box | None], other: Iterable[Box | None]) -> dict[int, int]:
    """Pair boxes that show one face, those that overlap most first.

    Returns:
        index in `one` → index in `other`.
    """
    pairs = sorted(
        (-overlap(a, b), i, j)
        for j, b in enumerate(other)
        for i, a in enumerate(one)
        if a is not None and b is not None and overlap(a, b) >= _LEAST_OVERLAP
    )
    matched: dict[int, int] = {}
    taken: set[int] = set()
    for _, i, j in pairs:
        if i not in matched and j not in taken:
            matched[i] = j
            taken.add(j)
    return matched


def fit_regions(
    regions: Sequence[Region], faces: Sequence[Box | None], orientation: int
) -> tuple[list[Region], int]:
    """The regions of one program as the picture's faces say that they are meant.

    Args:
        regions: of faces, turned upright by `orientation`.

    Returns:
        the regions, and the orientation that turns them upright: 1 where more of them show a face
        as they were written.
    """
    turned = [region.box for region in regions]
    matched = len(match_boxes(turned, faces))
    if orientation == 1 or matched == len(turned):
        return list(regions), orientation
    written = [box and to_stored(box, orientation) for box in turned]
    if len(match_boxes(written, faces)) <= matched:
        return list(regions), orientation
    return [
        replace(region, box=region.box and to_stored(region.box, orientation)) for region in regions
    ], 1
