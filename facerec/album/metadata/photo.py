"""One photo's named regions: in the file, in its sidecars, and where Picasa and
digiKam keep them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from facerec.album.metadata.containers import (
    EXTENDED,
    embeddable,
    exif_orientation,
    iim_keywords,
    put_packet,
    take_extension,
    take_packet,
)
from facerec.album.metadata.digikam import digikam_regions
from facerec.album.metadata.merging import SUBJECT, merge_faces, names_people, says_who
from facerec.album.metadata.picasa import picasa_regions
from facerec.album.metadata.reading import (
    microsoft_regions,
    mwg_regions,
    other_shape,
    placeless_names,
)
from facerec.album.metadata.regions import Box, Region, overlap
from facerec.album.metadata.sidecars import find_sidecars, sidecars, sidecars_to_write
from facerec.album.metadata.xmp import EXTENSION, LONGEST_PACKET, Xmp, require_kept
from facerec.errors import InputError
from facerec.files.writing import replacing
from facerec.imaging.contents import START, image_kind
from facerec.imaging.decode import Header, read_header
from facerec.imaging.photos import normalise_person, read_file, unreadable

Where = Literal["sidecar", "embedded"]

# XML 1.0, section 2.2: all but these, and surrogates, which no name has.
_NO_XML = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")

_OF_PEOPLE = (
    b"metadataworkinggroup.com/schemas/regions/", b"ns.microsoft.com/photo/1.2/",
    b"digikam.org/ns/", b"iptc.org/std/Iptc4xmpExt/", b"purl.org/dc/elements/",
)  # fmt: skip
"""In the names of the namespaces of which we read or write anything."""

_SAME = 0.5
"""Overlap from which regions of two programs are the same one."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is said of a photo, best first.

    Attributes:
        regions: of all kinds; of those that lie at one place only the first.
        orientation: EXIF's.
        size: width and height of the upright picture.
        problems: what could not be read, a line each.
    """

    regions: tuple[Region, ...]
    orientation: int
    size: tuple[int, int]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """A file that is to be written.

    Attributes:
        path: the photo or a sidecar.
        before: its bytes; None: it is not there yet.
        after: its bytes then.
        names: whom it then names anew.
        embedded: whether it is the photo.
    """

    path: Path
    before: bytes | None
    after: bytes
    names: tuple[str, ...]
    embedded: bool = False


def read_regions(path: str | Path) -> list[Region]:
    """The named regions of a photo; see `read_metadata`.

    Raises:
        InputError: the photo or its metadata cannot be read.
    """
    found = read_metadata(Path(path))
    if found.problems:
        raise InputError(found.problems[0])
    return list(found.regions)


def read_metadata(path: Path, data: bytes | None = None) -> Metadata:
    """What the photo, its sidecars, Picasa's list and digiKam's database say; a sidecar before the
    photo.

    Args:
        data: the photo's bytes; None: they are read.

    Raises:
        InputError: the photo cannot be read.
        MissingError: the package exiv2 is not installed.
    """
    data = read_file(path) if data is None else data
    header = _header(data, str(path))
    turn = header.orientation
    beside, doubt = find_sidecars(path)
    problems = [] if doubt is None else [str(doubt)]
    packets: list[Xmp] = []
    for name, read in _packets(path, beside, data, header):
        try:
            packet = read()
            if packet:
                packets.append(Xmp(packet, name))
        except InputError as error:
            problems.append(str(error))
    sides = _sides(data, header)
    size = header.width, header.height
    found: list[Region] = []
    for read_packet in (partial(mwg_regions, sides=sides), microsoft_regions):
        for xmp in packets:
            regions = [region for _, region in read_packet(xmp, turn)]
            if other_shape(xmp, size):
                regions = [replace(region, box=None) for region in regions]
            found += regions
    for read_list in (partial(picasa_regions, path, turn), partial(digikam_regions, path, size)):
        try:
            found += read_list()
        except InputError as error:
            problems.append(str(error))
    found += [region for xmp in packets for region in placeless_names(xmp)]
    return Metadata(tuple(_once(found)), turn, size, tuple(problems))


def _once(found: Sequence[Region]) -> list[Region]:
    """Each named region once, those without a place last and only of names that have none."""
    regions: list[Region] = []
    for region in found:
        if region.box and region.name and not any(_is_same(region, other) for other in regions):
            regions.append(region)
    named = {region.name for region in regions} | {""}
    for region in found:
        if region.box is None and region.name not in named:
            named.add(region.name)
            regions.append(region)
    return regions


def _header(data: bytes, name: str) -> Header:
    """The header, with the orientation that EXIF says: whoever reads regions goes by that alone."""
    header = read_header(data, name)
    if image_kind(data[:START]) == "AVIF":
        return replace(header, orientation=exif_orientation(data))
    return header


def _sides(data: bytes, header: Header) -> tuple[int, int] | None:
    """Width and height of the stored image; None where EXIF may not be what turns it: decoders of
    HEIC and AVIF go by the container."""
    if image_kind(data[:START]) in ("HEIF", "AVIF"):
        return None
    size = header.width, header.height
    return size if header.orientation < 5 else size[::-1]


def _is_same(one: Region, other: Region) -> bool:
    if one.box is None or other.box is None or one.kind != other.kind:
        return False
    return overlap(one.box, other.box) >= _SAME


def _packets(
    path: Path, sidecars: Sequence[Path], data: bytes, header: Header
) -> Iterator[tuple[str, Callable[[], bytes | None]]]:
    for sidecar in sidecars:
        yield str(sidecar), lambda sidecar=sidecar: _read_sidecar(sidecar)  # type: ignore[misc]
    yield str(path), lambda: _embedded(path, data, header)
    yield str(path), lambda: _extension(path, data, only_people=True)


def _embedded(path: Path, data: bytes, header: Header) -> bytes | None:
    # Pillow's of a JPEG or PNG is not the packet as it is written.
    if header.xmp and image_kind(data[:START]) not in ("JPEG", "PNG"):
        return header.xmp
    return take_packet(data, str(path))


def _extension(path: Path, data: bytes, *, only_people: bool = False) -> bytes | None:
    """The rest of a JPEG's XMP, beyond its packet; None without one.

    Args:
        only_people: None too for one that speaks of nobody, as a depth map of megabytes.
    """
    if image_kind(data[:START]) != "JPEG" or EXTENDED not in data:
        return None
    packet = take_packet(data, str(path))
    guid = Xmp(packet, str(path)).texts(EXTENSION).get("", "") if packet else ""
    extension = take_extension(data, guid, str(path))
    if extension is None or (only_people and not any(one in extension for one in _OF_PEOPLE)):
        return None
    return extension


def _read_sidecar(path: Path) -> bytes | None:
    try:
        size = path.stat().st_size
        if size > LONGEST_PACKET:
            raise unreadable(path, f"{size:,} bytes of XMP; at most {LONGEST_PACKET:,} are read")
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, f"cannot be read: {error.strerror or error}") from error


def plan_regions(
    path: Path, faces: Sequence[Region], where: Where, refused: Sequence[Region] = (),
    shown: Sequence[Box] = (),
) -> list[Change]:  # fmt: skip
    """What writing the names of a photo's faces would change, without changing it.

    Args:
        faces: with name and box.
        where: a kind that cannot hold it gets a sidecar either way; one that is there and names
            people is written with the photo too, as it is believed before it.
        refused: faces with a name that is not theirs, which is taken away.
        shown: see `merge_faces`.

    Raises:
        InputError: the photo, or the XMP that is there, cannot be read or kept.
        MissingError: the package exiv2 is not installed.
    """
    faces = [replace(face, name=_writable(face.name, path)) for face in faces]
    told = _Told(faces, refused, shown)
    data = read_file(path)
    header = _header(data, str(path))
    sides = _sides(data, header)
    beside: dict[Path, bytes | None]
    if where == "embedded" and embeddable(data, path.name) is not None:
        changes = _plan_photo(path, data, header, told)
        beside = {
            one: packet
            for one in sidecars(path)
            if (packet := _read_sidecar(one)) and names_people(Xmp(packet, str(one)))
        }
    else:
        changes, beside = [], {one: _read_sidecar(one) for one in sidecars_to_write(path)}
    for sidecar, before in beside.items():
        # Many programs read only a sidecar where there is one, so a new one begins with all that
        # the photo says.
        embedded = None if before else _all_embedded(path, data, header)
        packet = _merged(
            before or embedded, told, header, sides, str(sidecar),
            photo=None if before else data, sidecar=True,
        )  # fmt: skip
        if packet is not None:
            names = _new_names(before, packet, str(sidecar))
            changes.append(Change(sidecar, before, packet, names))
        elif embedded and faces:
            after = Xmp(embedded, str(path)).encode(sidecar=True)
            names = _new_names(None, after, str(sidecar))
            changes.append(Change(sidecar, before, after, names))
    return changes


@dataclass(frozen=True, slots=True)
class _Told:
    """What is to be written; see `merge_faces`."""

    faces: Sequence[Region]
    refused: Sequence[Region]
    shown: Sequence[Box]


def _plan_photo(path: Path, data: bytes, header: Header, told: _Told) -> list[Change]:
    """What writing into the photo itself would change."""
    extension = _extension(path, data, only_people=True)
    if extension and says_who(Xmp(extension, str(path))):
        raise unreadable(path, "says who is there in extended XMP; use --xmp sidecar")
    embedded = _embedded(path, data, header)
    packet = _merged(embedded, told, header, _sides(data, header), str(path), photo=data)
    if packet is None:
        return []
    names = _new_names(embedded, packet, str(path))
    return [Change(path, data, put_packet(data, packet, str(path)), names, True)]


def _all_embedded(path: Path, data: bytes, header: Header) -> bytes | None:
    """The packet, with what did not fit into it."""
    packet, extension = _embedded(path, data, header), _extension(path, data)
    return _joined(packet, extension, str(path)) if packet and extension else packet


def _joined(packet: bytes, extension: bytes, name: str) -> bytes:
    """A packet and what did not fit into it, as one; a sidecar has room for both."""
    require_kept(packet, name)
    require_kept(extension, name)
    xmp = Xmp(packet, name)
    xmp.add_extension(Xmp(extension, name))
    return xmp.encode(sidecar=False)


def _writable(name: str, path: Path) -> str:
    """A name as it is read back.

    Raises:
        InputError: XML 1.0 has no such character, or Exiv2 takes the name for its own syntax.
    """
    name = normalise_person(name).strip()
    if _NO_XML.search(name) or name.startswith("type="):
        raise unreadable(path, f"the name {name!r} cannot be written as XMP")
    return name


def _merged(
    packet: bytes | None, told: _Told, header: Header, sides: tuple[int, int] | None, name: str, *,
    photo: bytes | None, sidecar: bool = False,
) -> bytes | None:  # fmt: skip
    """The packet with the names in it; None: it has them all.

    Args:
        photo: the image file that it says all about: readers who find keywords in it look at no
            IPTC-IIM; None: a sidecar that is there already.
    """
    if packet:
        require_kept(packet, name)
    xmp = Xmp(packet or None, name)
    if photo is not None and not xmp.items(SUBJECT):
        xmp.set_items(SUBJECT, iim_keywords(photo))
    size = header.width, header.height
    turn = header.orientation
    if not merge_faces(xmp, told.faces, size, turn, sides, told.refused, told.shown):
        return None
    merged = xmp.encode(sidecar=sidecar)
    missing = {face.name for face in told.faces} - set(_names(merged, name))
    if missing:
        raise unreadable(name, f"the name {min(missing)!r} cannot be written as XMP")
    return merged


def _new_names(before: bytes | None, after: bytes, name: str) -> tuple[str, ...]:
    """The names of regions that a packet had not, in order."""
    counts = Counter(_names(before, name)) if before else Counter()
    new: list[str] = []
    for one in _names(after, name):
        if counts[one]:
            counts[one] -= 1
        elif one:
            new.append(one)
    return tuple(new)


def _names(packet: bytes, name: str) -> list[str]:
    return [region.name for _, region in mwg_regions(Xmp(packet, name), 1, None)]


def write_regions(path: str | Path, faces: Sequence[Region], where: Where) -> list[Change]:
    """Write the names of a photo's faces; see `plan_regions`.

    Raises:
        InputError: as `plan_regions`.
        UsageError: a file cannot be written.
    """
    changes = plan_regions(Path(path), faces, where)
    for change in changes:
        write_change(change)
    return changes


def write_change(change: Change) -> None:
    """Write a file, atomically; its mode stays.

    Raises:
        UsageError: it cannot be written.
    """
    with replacing(change.path) as temporary:
        temporary.write_bytes(change.after)
