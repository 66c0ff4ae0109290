"""Regions and names in XMP, as programs write them.

- MWG 2.0, section 5.9: `mwg-rs:Regions`, centre, width and height as fractions, a kind for each.
- Microsoft's people tagging (Windows Live Photo Gallery): `MP:RegionInfo`, "left, top, width,
  height" as fractions.
- digiKam: people without a place in the picture as tags below `People/`; IPTC Extension:
  `PersonInImage`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import count

from facerec.album.metadata.regions import FACE, Box, Region, same_shape, to_upright
from facerec.album.metadata.xmp import Xmp
from facerec.imaging.photos import normalise_person

MWG = "Xmp.mwg-rs.Regions"
MWG_LIST = f"{MWG}/mwg-rs:RegionList"
MICROSOFT_LIST = "Xmp.MP.RegionInfo/MPRI:Regions"
DIMENSIONS = f"{MWG}/mwg-rs:AppliedToDimensions"
PEOPLE = "Xmp.iptcExt.PersonInImage"
_TAGS = "Xmp.digiKam.TagsList"
_TAGS_ROOT = "People/"
_NOBODY = {"unknown", "unconfirmed", "ignored"}
"""digiKam's own tags below `People/`."""

_MOST = 10_000
"""Regions of a photo."""


def mwg_regions(
    xmp: Xmp, orientation: int, sides: tuple[int, int] | None
) -> Iterator[tuple[int, Region]]:
    """MWG's regions, and their numbers in the list, from 1.

    A circle is the square around it; what is no area, such as a point, lies nowhere.

    Args:
        orientation: EXIF's.
        sides: width and height of the stored image; None: not known.
    """
    turn = areas_orientation(xmp, orientation, sides)
    across, down = _dimensions(xmp)
    for number, fields in _structures(xmp, MWG_LIST):
        area = {name: fields.get(f"mwg-rs:Area/stArea:{name}", "") for name in "xywhd"}
        lengths = (area["w"] or area["d"], area["h"] or area["d"])
        x, y, width, height = map(_number, (area["x"], area["y"], *lengths))
        if fields.get("mwg-rs:Area/stArea:unit", "").strip() == "pixel":
            # Without a size, or of one of zero, nobody can tell where it is.
            x, y, width, height = x / across, y / down, width / across, height / down
        box = _box(x - width / 2, y - height / 2, width, height, turn)
        kind = fields.get("mwg-rs:Type", "").strip() or FACE
        yield number, Region(_name(fields.get("mwg-rs:Name", "")), box, kind, "mwg")


def areas_orientation(xmp: Xmp, orientation: int, sides: tuple[int, int] | None) -> int:
    """The orientation that turns MWG's areas upright.

    EXIF's, unless the dimensions that they apply to are those of the upright picture, whose sides
    EXIF exchanges; where it exchanges none, they do not tell.

    Args:
        orientation: EXIF's.
        sides: width and height of the stored image; None: not known.
    """
    if sides is None or orientation < 5:
        return orientation
    across, down = _dimensions(xmp)
    width, height = sides
    exchanged = (width > height and across < down) or (width < height and across > down)
    return 1 if exchanged else orientation


def other_shape(xmp: Xmp, size: tuple[int, int]) -> tuple[float, float] | None:
    """Width and height of the picture that a packet's regions were drawn on, if that has another
    shape, as before a program cropped it and left them as they were; None: it may be this one.

    Microsoft's regions do not say their size; digiKam writes them beside MWG's, of one picture.

    Args:
        size: width and height of the picture, upright or as stored.
    """
    drawn = _dimensions(xmp)
    if math.isnan(drawn[0] + drawn[1]) or not xmp.texts(f"{MWG_LIST}["):
        return None
    return None if same_shape(drawn, size) or same_shape(drawn, size[::-1]) else drawn


def _dimensions(xmp: Xmp) -> tuple[float, float]:
    """Width and height that MWG's areas apply to; NaN where they are not said, or not above 0."""
    size = xmp.texts(f"{DIMENSIONS}/stDim:")
    sides = (_number(size.get(side, "")) for side in "wh")
    across, down = (side if side > 0 else math.nan for side in sides)
    return across, down


def microsoft_regions(xmp: Xmp, orientation: int) -> Iterator[tuple[int, Region]]:
    """Microsoft's regions, and their numbers in the list, from 1."""
    for number, fields in _structures(xmp, MICROSOFT_LIST):
        rectangle = fields.get("MPReg:Rectangle", "")
        # Where a comma is the decimal sign, only blanks tell the numbers apart.
        parts = re.split(r",\s+", rectangle.strip())
        parts = parts if len(parts) == 4 else rectangle.split(",")
        left, top, width, height = map(_number, parts if len(parts) == 4 else [""] * 4)
        box = _box(left, top, width, height, orientation)
        name = _name(fields.get("MPReg:PersonDisplayName", ""))
        yield number, Region(name, box, FACE, "microsoft")


def placeless_names(xmp: Xmp) -> Iterator[Region]:
    """People who are said to be in the picture, without where."""
    for tag in xmp.items(_TAGS):
        name = _name(tag.rpartition("/")[2])
        if tag.startswith(_TAGS_ROOT) and name and name.casefold() not in _NOBODY:
            yield Region(name, None, FACE, "digikam")
    for person in xmp.items(PEOPLE):
        if _name(person):
            yield Region(_name(person), None, FACE, "iptc")


def _structures(xmp: Xmp, key: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The fields of each structure in an array."""
    found: dict[int, dict[str, str]] = {}
    for rest, text in xmp.texts(f"{key}[").items():
        number, _, field = rest.partition("]")
        if number.isdecimal() and int(number) <= _MOST:
            found.setdefault(int(number), {})[field.removeprefix("/")] = text
    for place in count(1):
        if place not in found:
            return
        yield place, found[place]


def _number(text: str) -> float:
    """A fraction, also with the comma of other countries; NaN if it is none."""
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        return math.nan


def _box(left: float, top: float, width: float, height: float, orientation: int) -> Box | None:
    """A box of the upright picture; None if these are no four usable fractions."""
    values = (left, top, width, height)
    if not all(map(math.isfinite, values)) or not (0 < width <= 2 and 0 < height <= 2):
        return None
    if not (-1 <= left <= 1 and -1 <= top <= 1):
        return None
    return to_upright((left, top, left + width, top + height), orientation)


def _name(text: str) -> str:
    return normalise_person(text).strip()
