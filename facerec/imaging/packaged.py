"""Images that other packages than Pillow decode: HEIC, JPEG XL, and what cameras call raw."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from PIL import Image as Pillow

from facerec.errors import InputError
from facerec.faces import Image
from facerec.imaging.photos import unreadable

# A preview with a shorter longer side may have lost faces; then the picture itself is developed.
_LEAST_PREVIEW = 1000


def open_heif(data: bytes, name: str) -> Pillow.Image:
    """Open a HEIC or HEIF by libheif, which turns it upright.

    Raises:
        InputError: pillow-heif is not installed.
    """
    plugin = _package("pillow_heif", name, "HEIC", "pillow-heif")
    # Not by Pillow's register, which a program that imports facerec may see.
    opened: Pillow.Image = plugin.HeifImageFile(io.BytesIO(data))
    return opened


def open_jxl(data: bytes, name: str) -> Pillow.Image:
    """Open a JPEG XL by libjxl, which decodes it at once: check `jxl_header` before.

    Raises:
        InputError: pillow-jxl-plugin is not installed.
    """
    plugin = _package("pillow_jxl.JpegXLImagePlugin", name, "JPEG XL", "facerec[photos]")
    opened: Pillow.Image = plugin.JXLImageFile(io.BytesIO(data))
    return opened


@dataclass(frozen=True, slots=True)
class JxlHeader:
    """What a JPEG XL's codestream begins with (ISO/IEC 18181-1, annex D).

    Attributes:
        width, height: pixels, as stored.
        orientation: 1 to 8, as in EXIF; the decoder applies it.
    """

    width: int
    height: int
    orientation: int


def jxl_header(data: bytes) -> JxlHeader:
    """Read a JPEG XL's header.

    Raises:
        ValueError: it has none.
    """
    bits = _Bits(_jxl_codestream(data)[2:])
    eighths = bits.take(1)
    height = _jxl_side(bits, eighths)
    ratio = bits.take(3)
    if ratio:
        above, below = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
        width = height * above // below
    else:
        width = _jxl_side(bits, eighths)
    plain = bits.take(1) or not bits.take(1)
    return JxlHeader(width, height, 1 if plain else 1 + bits.take(3))


def _jxl_codestream(data: bytes) -> bytes:
    """The beginning of the codestream, bare or in a container's boxes."""
    if data[:2] == b"\xff\x0a":
        return data[:64]
    for kind, start, _ in jxl_boxes(data):
        if kind in (b"jxlc", b"jxlp"):
            # A part begins with its number.
            return data[start + (4 if kind == b"jxlp" else 0) :][:64]
    raise ValueError("no codestream")


def jxl_boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind of each box of a JPEG XL container (ISO/IEC 18181-2), and where its content starts and
    ends."""
    place = 0
    while place + 8 <= len(data):
        size, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        start = place + 8
        if size == 1:
            size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
        # Of 0 bytes: to the end of the file.
        end = place + size if size >= start - place else len(data)
        yield kind, start, end
        place = end


def _jxl_side(bits: _Bits, eighths: int) -> int:
    if eighths:
        return 8 * (1 + bits.take(5))
    return 1 + bits.take((9, 13, 18, 30)[bits.take(2)])


class _Bits:
    """Bits of bytes, least significant first."""

    def __init__(self, data: bytes) -> None:
        self._left = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        taken = self._left & ((1 << count) - 1)
        self._left >>= count
        return taken


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """What stands for a raw file: the JPEG in it, or its developed pixels, upright.

    Attributes:
        encoded: an image file; None if there are pixels.
        pixels: `(H, W, 3) uint8` RGB; None if there is an image file.
        orientation: of the raw file, 1 to 8 as in EXIF: for an image file that has none; pixels
            are turned by it already.
    """

    encoded: bytes | None
    pixels: Image | None
    orientation: int


def raw_preview(data: bytes, name: str, max_pixels: int) -> Preview:
    """The preview that a camera stored in a raw file, or the file developed if it is too small.

    Raises:
        InputError: rawpy is not installed; or there are too many pixels.
        Exception: whatever rawpy raises on damage.
    """
    rawpy = _package("rawpy", name, "a camera's raw file", "facerec[raw]")
    with rawpy.imread(io.BytesIO(data)) as raw:
        sizes = raw.sizes
        if sizes.raw_width * sizes.raw_height > max_pixels:
            raise unreadable(
                name,
                f"{sizes.raw_width}x{sizes.raw_height} is more than {max_pixels:,} pixels",
            )
        # LibRaw's flips: half a turn, a quarter left, a quarter right.
        orientation = {3: 3, 5: 8, 6: 6}.get(sizes.flip, 1)
        encoded = _stored_preview(rawpy, raw)
        if encoded is not None:
            return Preview(encoded, None, orientation)
        pixels = np.ascontiguousarray(raw.postprocess(use_camera_wb=True, half_size=True))
        return Preview(None, pixels, orientation)


def _stored_preview(rawpy: Any, raw: Any) -> bytes | None:
    """The largest JPEG in a raw file, unless it is a thumbnail."""
    try:
        thumb = raw.extract_thumb()
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
        return None
    if thumb.format != rawpy.ThumbFormat.JPEG:
        return None
    encoded = bytes(thumb.data)
    with Pillow.open(io.BytesIO(encoded), formats=("JPEG",)) as opened:
        small = max(opened.size) < min(_LEAST_PREVIEW, max(raw.sizes.width, raw.sizes.height) // 2)
    return None if small else encoded


def _package(module: str, name: str, kind: str, install: str) -> Any:
    try:
        return sys.modules.get(module) or import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise InputError(
            f"{name}: is {kind}, and {package} is not installed; pip install '{install}'"
        ) from error
