"""When a photo was taken, by its EXIF data."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from PIL import Image as Pillow

from facerec.imaging.contents import RAW, START, image_kind
from facerec.imaging.packaged import jxl_boxes, open_heif
from facerec.imaging.quiet import quiet_pillow

_EXIF_IFD = 0x8769
# Exif 2.32, 4.6.5: when it was recorded, when it was digitised; and TIFF 6.0, when it was changed.
_ORIGINAL, _DIGITISED, _CHANGED = 0x9003, 0x9004, 0x0132
_TIME = re.compile(r"(\d{4})[:/.-](\d\d?)[:/.-](\d\d?)(?:[ T]+(\d\d?):(\d\d?)(?::(\d\d?))?)?")
_EARLIEST = 1826
"""The year of the first photograph."""
_HEADERS = (b"II*\0", b"MM\0*")
# What Olympus and Panasonic write in its place.
_RAW_HEADERS = re.compile(rb"II(RO|RS|U\0)|MMOR")
_PNG_CHUNKS = (b"eXIf", b"Raw profile type exif")
"""Without these Pillow would decode the whole picture, to see whether EXIF data follow it."""
_MARK = b"Exif\0\0"
_START = 1 << 20
"""Bytes at the start of a camera's raw file in which its preview's EXIF data is sought."""


def taken_at(data: bytes) -> str | None:
    """The local time at which a photo was taken, `2019-07-14T15:04:05`.

    A camera's clock has no time zone; where one is noted it is left out. Files without EXIF data,
    with a clock that was never set, or damaged give None.

    Args:
        data: the bytes of an image file.
    """
    try:
        with quiet_pillow():
            exif = _exif(data)
            return _first(exif.get_ifd(_EXIF_IFD), exif)
    except Exception:  # noqa: BLE001  (whatever Pillow and libheif raise on hostile bytes)
        return None


def _first(recorded: Mapping[int, Any], exif: Mapping[int, Any]) -> str | None:
    for value in (recorded.get(_ORIGINAL), recorded.get(_DIGITISED), exif.get(_CHANGED)):
        time = parse_time(value) if isinstance(value, str) else None
        if time is not None:
            return time
    return None


def parse_time(text: str) -> str | None:
    """EXIF's `2019:07:14 15:04:05`, and what programs write for it, as ISO 8601; None: no time."""
    found = _TIME.match(text.strip(" \0"))
    if found is None:
        return None
    try:
        time = datetime(*(int(part or 0) for part in found.groups()))  # type: ignore[arg-type]
    except ValueError:
        return None
    return time.isoformat() if time.year >= _EARLIEST else None


def _exif(data: bytes) -> Pillow.Exif:
    """EXIF data of an image file; empty where there is none."""
    kind = image_kind(data[:START])
    if kind == RAW:
        return _of_raw(data)
    if kind == "JXL":
        return _load(_of_jxl(data))
    if kind is None or (kind == "PNG" and not any(chunk in data for chunk in _PNG_CHUNKS)):
        return Pillow.Exif()
    with _open(kind, data) as opened:
        return opened.getexif()


def _open(kind: str, data: bytes) -> Pillow.Image:
    return open_heif(data, "") if kind == "HEIF" else Pillow.open(io.BytesIO(data), formats=(kind,))


def _of_raw(data: bytes) -> Pillow.Exif:
    if _RAW_HEADERS.match(data):
        return _load((b"II*\0" if data.startswith(b"II") else b"MM\0*") + data[4:])
    if data.startswith(_HEADERS):
        return _load(data)
    place = data.find(_MARK, 0, _START)
    return _load(data[place + len(_MARK) : place + _START] if place >= 0 else b"")


def _of_jxl(data: bytes) -> bytes:
    """The TIFF data in a JPEG XL container's `Exif` box; empty without one."""
    for kind, start, _ in jxl_boxes(data):
        if kind == b"Exif":
            # Some writers leave out the offset of the TIFF data.
            if not data.startswith(_HEADERS, start):
                start += 4 + int.from_bytes(data[start : start + 4], "big")
            return data[start:]
    return b""


def _load(tiff: bytes) -> Pillow.Exif:
    exif = Pillow.Exif()
    if tiff:
        exif.load(_MARK + tiff)
    return exif
