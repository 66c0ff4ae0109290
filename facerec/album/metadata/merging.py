"""Our names in the XMP that is there: only the same face's name changes, all else stays."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from facerec.album.metadata.reading import (
    DIMENSIONS,
    MICROSOFT_LIST,
    MWG,
    MWG_LIST,
    PEOPLE,
    areas_orientation,
    microsoft_regions,
    mwg_regions,
    other_shape,
)
from facerec.album.metadata.regions import (
    FACE,
    Box,
    Region,
    fit_regions,
    match_boxes,
    to_stored,
)
from facerec.album.metadata.xmp import Xmp
from facerec.imaging.photos import unreadable

SUBJECT = "Xmp.dc.subject"
_MICROSOFT_NAME = f"{MICROSOFT_LIST}[{{}}]/MPReg:PersonDisplayName"
_TAGS_ROOT = "People"
_TAGS = {
    "Xmp.digiKam.TagsList": "/", "Xmp.MicrosoftPhoto.LastKeywordXMP": "/",
    "Xmp.lr.hierarchicalSubject": "|", "Xmp.mediapro.CatalogSets": "|",
}  # fmt: skip
"""Where digiKam and Lightroom keep whole paths of tags, and what is between their parts."""


def merge_faces(
    xmp: Xmp, faces: Sequence[Region], size: tuple[int, int], orientation: int,
    sides: tuple[int, int] | None, refused: Sequence[Region] = (), shown: Sequence[Box] = (),
) -> bool:  # fmt: skip
    """Put named faces into XMP.

    A region of another program that shows the same face gets our name and keeps its place and all
    else; other regions, pets and barcodes stay. Names are added to the keywords and to the people
    in the picture; one that a region had and none has any more is taken from both, and tags below
    `People` are called as the region is now. A region that shows a face by a name that was refused
    loses it.

    Args:
        faces: with name and box.
        refused: faces with a name that is not theirs.
        shown: boxes of other faces, which tell too whether regions are of the stored image.
        size: width and height of the upright picture.
        orientation: EXIF's.
        sides: width and height of the stored image; None: not known.

    Returns:
        whether anything changed.

    Raises:
        InputError: the regions that are there are those of a picture of another shape.
    """
    drawn = other_shape(xmp, size)
    if drawn:
        shapes = "{:g}x{:g}, not {}x{}".format(*drawn, *size)
        raise unreadable(xmp.name, f"its regions are of the picture before a crop ({shapes})")
    boxes = [*dict.fromkeys([*(face.box for face in (*faces, *refused)), *shown])]
    # As the other areas of the list are.
    turn = areas_orientation(xmp, orientation, sides)
    places, turn = _fit(mwg_regions(xmp, orientation, sides), boxes, turn)
    matched = match_boxes([face.box for face in faces], [region.box for _, region in places])
    renamed: defaultdict[str, list[str]] = defaultdict(list)
    added: list[Region] = []
    for index, face in enumerate(faces):
        if index not in matched:
            added.append(face)
            continue
        number, region = places[matched[index]]
        if region.name != face.name:
            xmp.set_text(f"{MWG_LIST}[{number}]/mwg-rs:Name", face.name)
            renamed[region.name].append(face.name)
    for number, name in _wrong(places, matched, refused):
        xmp.set_items(f"{MWG_LIST}[{number}]/mwg-rs:Name", ())
        renamed.setdefault(name, [])
    if added:
        _append(xmp, added, size, orientation, turn)
    places, _ = _fit(microsoft_regions(xmp, orientation), boxes, orientation)
    _rename_microsoft(xmp, places, faces, renamed, refused)
    named = {region.name for _, region in mwg_regions(xmp, orientation, sides)}
    named |= {region.name for _, region in microsoft_regions(xmp, orientation)}
    gone = {name: names for name, names in renamed.items() if name and name not in named}
    changed = bool(added or renamed)
    for key in (SUBJECT, PEOPLE):
        before = xmp.items(key)
        kept = [item for item in before if item not in gone]
        names = dict.fromkeys(face.name for face in faces)
        after = [*kept, *(name for name in names if name not in kept)]
        if after != before:
            xmp.set_items(key, after)
            changed = True
    for key, sign in _TAGS.items():
        _rename_tags(xmp, key, sign, gone)
    return changed


def _fit(
    numbered: Iterable[tuple[int, Region]], boxes: Sequence[Box | None], orientation: int
) -> tuple[list[tuple[int, Region]], int]:
    """The regions of faces with their numbers, and the orientation; see `fit_regions`."""
    found = [(number, region) for number, region in numbered if region.is_face]
    fitted, turn = fit_regions([region for _, region in found], boxes, orientation)
    return [(number, region) for (number, _), region in zip(found, fitted, strict=True)], turn


def _rename_tags(xmp: Xmp, key: str, sign: str, gone: Mapping[str, Sequence[str]]) -> None:
    """Call those who are called otherwise now so in the tags of people, wherever below."""
    tags = xmp.items(key)
    after: list[str] = []
    for tag in tags:
        path, _, name = tag.rpartition(sign)
        names = gone.get(name) if _is_persons(tag, sign) else None
        after += [tag] if names is None else [f"{path}{sign}{one}" for one in names]
    if after != tags:
        xmp.set_items(key, list(dict.fromkeys(after)))


def _wrong(
    places: Sequence[tuple[int, Region]], matched: Mapping[int, int], refused: Sequence[Region]
) -> Iterator[tuple[int, str]]:
    """Number and name of each region that shows a face by a name that was refused.

    Args:
        matched: whose values are the places of regions that show faces with a name of their own.
    """
    taken = set(matched.values())
    others = [place for at, place in enumerate(places) if at not in taken]
    for name in dict.fromkeys(face.name for face in refused):
        called = [(number, region) for number, region in others if region.name == name]
        faces = [face.box for face in refused if face.name == name]
        for place in match_boxes(faces, [region.box for _, region in called]).values():
            yield called[place][0], name


def says_who(xmp: Xmp) -> bool:
    """Whether there is anything in it that `merge_faces` looks at."""
    return names_people(xmp) or bool(xmp.texts(SUBJECT))


def names_people(xmp: Xmp) -> bool:
    """Whether it has regions, or people without one; keywords may be of anything."""
    tags = [tag for key, sign in _TAGS.items() for tag in xmp.items(key) if _is_persons(tag, sign)]
    return bool(tags) or any(xmp.texts(key) for key in (MWG, MICROSOFT_LIST, PEOPLE))


def _is_persons(tag: str, sign: str) -> bool:
    return tag.startswith(f"{_TAGS_ROOT}{sign}")


def _append(
    xmp: Xmp, faces: Sequence[Region], size: tuple[int, int], orientation: int, turn: int
) -> None:
    """Add regions.

    Args:
        turn: the orientation that turns the list's areas upright.
    """
    xmp.add_structure(MWG)
    numbers = {
        int(key.split("]")[0]) for key in xmp.texts(f"{MWG_LIST}[") if key.split("]")[0].isdecimal()
    }
    if not numbers or not xmp.texts(f"{DIMENSIONS}/"):
        width, height = size if orientation < 5 else size[::-1]
        xmp.add_structure(DIMENSIONS)
        xmp.set_text(f"{DIMENSIONS}/stDim:w", str(width))
        xmp.set_text(f"{DIMENSIONS}/stDim:h", str(height))
        xmp.set_text(f"{DIMENSIONS}/stDim:unit", "pixel")
    xmp.add_bag(MWG_LIST)
    for number, face in enumerate(faces, start=max(numbers, default=0) + 1):
        assert face.box is not None, "a face lies somewhere"
        left, top, right, bottom = to_stored(face.box, turn)
        start = f"{MWG_LIST}[{number}]/mwg-rs:"
        xmp.set_text(f"{start}Name", face.name)
        xmp.set_text(f"{start}Type", FACE)
        values = {
            "x": (left + right) / 2, "y": (top + bottom) / 2,
            "w": right - left, "h": bottom - top,
        }  # fmt: skip
        for name, value in values.items():
            xmp.set_text(f"{start}Area/stArea:{name}", f"{value:.6f}")
        xmp.set_text(f"{start}Area/stArea:unit", "normalized")


def _rename_microsoft(
    xmp: Xmp, places: Sequence[tuple[int, Region]], faces: Sequence[Region],
    renamed: defaultdict[str, list[str]], refused: Sequence[Region],
) -> None:  # fmt: skip
    """The same face's name in Microsoft's regions, if there are any; adds none.

    Args:
        places: the regions, with their numbers.
        renamed: gets what each was called before.
    """
    matched = match_boxes([face.box for face in faces], [region.box for _, region in places])
    for index, place in matched.items():
        number, region = places[place]
        if region.name != faces[index].name:
            xmp.set_text(_MICROSOFT_NAME.format(number), faces[index].name)
            renamed[region.name].append(faces[index].name)
    for number, name in _wrong(places, matched, refused):
        xmp.set_items(_MICROSOFT_NAME.format(number), ())
        renamed.setdefault(name, [])
