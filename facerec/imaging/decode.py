"""Encoded bytes to upright RGB: decoding, EXIF orientation, pixel bound, downscale factor.

Every image becomes `(H, W, 3) uint8` RGB:

- the EXIF orientation is applied; ICC profiles are ignored, as face models are trained that way;
- transparency is composited on white, since the colour stored under it is arbitrary, often black;
- samples of 12 and 16 bits are scaled to 8; signed ones and those of 32 bits are refused, as their
  range is unknown;
- CMYK is read in Adobe's inverted convention, which JPEG files follow;
- an animation or a multi-page file gives its first image;
- damage that the decoder can bridge passes, as it does in viewers; missing data does not, but for
  a JPEG's end marker and its last rows;
- a camera's raw file gives the preview in it, or is developed where that is small;
- a JPEG may be decoded at a downscale factor of 2, 4 or 8: the decoder skips the higher DCT
  frequencies, which is faster than decoding in full.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)
from PIL import Image as Pillow

from facerec.errors import InputError
from facerec.faces import DownscaleFactor, Image, Original
from facerec.files.hush import can_hush, hushed
from facerec.imaging.contents import RAW, START, TIFF, describe, image_kind
from facerec.imaging.names import has_raw_suffix
from facerec.imaging.packaged import Preview, jxl_header, open_heif, open_jxl, raw_preview
from facerec.imaging.photos import MAX_PIXELS, AnyPhoto, read_bytes, unreadable
from facerec.imaging.quiet import quiet_pillow
from facerec.imaging.tiff import (
    check_samples,
    keeps_planes_apart,
    largest_sample,
    open_by_libtiff,
    sort_of_tiff,
    white_is_zero,
)
from facerec.imaging.videos import LENGTH, is_video

# An allow-list: Pillow knows 40 more formats, one of which starts Ghostscript. The JPEG plugin
# opens cameras' multi-picture files (MPO).
_FORMATS = tuple(
    plugin.format
    for plugin in (
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        WebPImagePlugin.WebPImageFile,
        GifImagePlugin.GifImageFile,
        TiffImagePlugin.TiffImageFile,
        BmpImagePlugin.BmpImageFile,
        PpmImagePlugin.PpmImageFile,
        Jpeg2KImagePlugin.Jpeg2KImageFile,
        AvifImagePlugin.AvifImageFile,
    )
)
_READABLE = "JPEG, PNG, WebP, GIF, TIFF, BMP, PNM, HEIC, AVIF, JPEG XL, JPEG 2000 or RAW"

# What Pillow's plugins were seen to raise on hostile bytes.
_DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    EOFError,
    struct.error,
    zlib.error,
    Pillow.DecompressionBombError,
)

# How libjxl, libwebp and libtiff answer damage of any kind.
_VAGUE = ("Generic Error", "could not create decoder object", "decoder error")

# The limit of libjpeg-turbo's own fuzzers; real progressive files have about ten scans. Each scan
# is a pass over the whole image, so a small file could keep a core busy for hours.
_MAX_SCANS = 500

_WIDTH, _HEIGHT, _ORIENTATION = 0x0100, 0x0101, 0x0112
_DNG_VERSION = 0xC612
_END = b"\xff\xd9"
# Differences of DC coefficients, whatever the Huffman table is.
_NOISE = bytes(range(0xFE, 0x10, -7)) * 4
_TRUNCATED = "is truncated: its end is missing"


def read_image(photo: AnyPhoto, max_pixels: int = MAX_PIXELS) -> Image:
    """Read a photo, or an image file by its path, as `(H, W, 3) uint8` RGB, upright.

    Raises:
        InputError: it is missing, unreadable, not an image, damaged, a URL, or has more than
            `max_pixels` pixels; one line that starts with its name.
        UsageError: it is neither a photo nor a path.
    """
    return decode_image(read_bytes(photo, max_pixels), str(photo), max_pixels)


def decode_image(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Image:
    """Decode an image file's bytes to `(H, W, 3) uint8` RGB, upright.

    Args:
        data: the whole file.
        name: what an error calls it.
        max_pixels: more are refused, before any is decoded.

    Raises:
        InputError: one line, "name: reason".
    """
    return decode_downscaled(data, name, max_pixels, full_size)[0]


def full_size(height: int, width: int) -> int:
    """A `DownscaleFactor` of 1 for every image."""
    return 1


def decode_downscaled(
    data: bytes, name: str, max_pixels: int, downscale: DownscaleFactor
) -> tuple[Image, Original | None]:
    """As `decode_image`, with a JPEG decoded at the downscale factor that `downscale` gives.

    Returns:
        the image; the original, if the image is a downscaled version of it.
    """
    if not data:
        raise unreadable(name, "is empty")
    kind = image_kind(data[:START])
    if kind == RAW or (kind in (None, TIFF) and has_raw_suffix(name)):
        return _read_raw(data, name, max_pixels, downscale)
    opened = _open(kind, data, name, max_pixels)
    _check_size(*opened.size, name, max_pixels)
    if opened.format == TIFF and _DNG_VERSION in getattr(opened, "tag_v2", ()):
        return _read_raw(data, name, max_pixels, downscale)
    if opened.format in ("JPEG", "MPO"):
        return _read_jpeg(opened, data, name, downscale)
    try:
        _load(opened)
        # Not before: loading rotates TIFF itself, and PNG may store EXIF after the pixels.
        orientation = 1 if _is_turned(opened, data) else _orientation(opened)
        return _upright(_to_rgb(opened), orientation), None
    except _DECODING_ERRORS as error:
        raise unreadable(name, _undecodable(error)) from error


@dataclass(frozen=True, slots=True)
class Header:
    """What an image file says besides its pixels.

    Attributes:
        width, height: pixels of the upright picture.
        orientation: 1 to 8 as EXIF says, also where the decoder has turned the picture already;
            of AVIF as its container says.
        xmp: its XMP packet; None without one, or of a kind that Pillow does not look into.
    """

    width: int
    height: int
    orientation: int
    xmp: bytes | None


def read_header(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Header:
    """Read an image file's header; its pixels only where a decoder cannot be kept from it.

    Raises:
        InputError: one line, "name: reason".
    """
    kind = image_kind(data[:START])
    if kind == RAW or (kind in (None, TIFF) and has_raw_suffix(name)):
        return _raw_header(data, name, max_pixels)
    opened = _open(kind, data, name, max_pixels)
    if opened.format == TIFF and _DNG_VERSION in getattr(opened, "tag_v2", ()):
        return _raw_header(data, name, max_pixels)
    try:
        width, height = _stored_size(opened)
        orientation = opened.info.get("original_orientation") or _orientation(opened)
        turned = kind == "HEIF" or _is_turned(opened, data)
        if orientation >= 5 and not turned:
            width, height = height, width
        xmp = opened.info.get("xmp")
    except _DECODING_ERRORS as error:
        raise unreadable(name, _undecodable(error)) from error
    return Header(width, height, orientation, xmp if isinstance(xmp, bytes) and xmp else None)


def _raw_header(data: bytes, name: str, max_pixels: int) -> Header:
    """Of what stands for a raw file, turned as the raw file says where that does not."""
    preview = _raw_preview(data, name, max_pixels)
    if preview.encoded is None:
        assert preview.pixels is not None
        height, width = preview.pixels.shape[:2]
        return Header(width, height, preview.orientation, None)
    inner = read_header(preview.encoded, name, max_pixels)
    orientation = inner.orientation if inner.orientation != 1 else preview.orientation
    width, height = inner.width, inner.height
    if inner.orientation == 1 and orientation >= 5:
        width, height = height, width
    return Header(width, height, orientation, None)


def _stored_size(opened: Pillow.Image) -> tuple[int, int]:
    """Width and height before EXIF's orientation; Pillow gives those of a TIFF after it."""
    if opened.format != TIFF:
        return opened.size
    tags = getattr(opened, "tag_v2")  # noqa: B009  (of this format alone)
    return int(tags[_WIDTH]), int(tags[_HEIGHT])


def _open(kind: str | None, data: bytes, name: str, max_pixels: int) -> Pillow.Image:
    """Open an image; its pixels are decoded by `load`."""
    try:
        if kind == "HEIF":
            return open_heif(data, name)
        if kind == "JXL":
            header = jxl_header(data)
            _check_size(header.width, header.height, name, max_pixels)
            return open_jxl(data, name)
        return _open_by_pillow(kind, data)
    except UnidentifiedImageError:
        if is_video(data[:LENGTH]):
            raise unreadable(name, "is a video; facerec recognize video reads it") from None
        what = describe(data[:START])
        if what:
            raise unreadable(name, f"is {what}, not {_READABLE}") from None
        if kind is not None:
            what = f"{'an' if kind == 'AVIF' else 'a'} {kind}"
            sort = _sort(kind, data)
            raise unreadable(
                name, f"is {what} of a sort that is not read, or damaged{sort}"
            ) from None
        raise unreadable(name, f"is not an image, or its start is damaged ({_READABLE})") from None
    except _DECODING_ERRORS as error:
        raise unreadable(name, _undecodable(error)) from error


def _open_by_pillow(kind: str | None, data: bytes) -> Pillow.Image:
    try:
        with quiet_pillow():
            opened = Pillow.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        if kind != TIFF:
            raise
        return open_by_libtiff(data)
    return open_by_libtiff(data) if keeps_planes_apart(opened) else opened


def _sort(kind: str, data: bytes) -> str:
    """The end of a line that says why an image is not read: its sort, if it is a TIFF."""
    if kind != TIFF:
        return ""
    try:
        return f": {sort_of_tiff(data)}; save it as 8-bit grey or RGB"
    except _DECODING_ERRORS:
        return ""


def _check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise unreadable(name, "has no pixels")
    if width * height > max_pixels:
        raise unreadable(
            name, f"{width}x{height} is {width * height:,} pixels; at most {max_pixels:,} are read"
        )


def _read_raw(
    data: bytes, name: str, max_pixels: int, downscale: DownscaleFactor
) -> tuple[Image, Original | None]:
    """See `packaged.raw_preview`."""
    preview = _raw_preview(data, name, max_pixels)
    if preview.pixels is not None:
        return preview.pixels, None
    assert preview.encoded is not None
    with Pillow.open(io.BytesIO(preview.encoded), formats=_FORMATS) as opened:
        turned = _ORIENTATION in opened.getexif()
    if turned or preview.orientation == 1:
        return decode_downscaled(preview.encoded, name, max_pixels, downscale)
    return _upright(decode_image(preview.encoded, name, max_pixels), preview.orientation), None


def _raw_preview(data: bytes, name: str, max_pixels: int) -> Preview:
    try:
        return raw_preview(data, name, max_pixels)
    except InputError:
        raise
    except Exception as error:
        # rawpy's errors have no common base but this.
        raise unreadable(name, _undecodable(error)) from error


def _is_turned(opened: Pillow.Image, data: bytes) -> bool:
    """Whether a JPEG XL's decoder has turned it already; then EXIF only repeats it."""
    return (
        opened.format == "JXL"
        and not getattr(opened, "jpeg", False)
        and jxl_header(data).orientation != 1
    )


def _read_jpeg(
    opened: Pillow.Image, data: bytes, name: str, downscale: DownscaleFactor
) -> tuple[Image, Original | None]:
    data, end = _with_end(data, name)
    width, height = opened.size
    if opened.mode in ("RGB", "L"):
        orientation = _orientation(opened)
        factor = _factor(opened, orientation, downscale)
        pixels = _decode_jpeg(data, factor)
        if pixels is not None:
            if _ends_grey(pixels) and not _reaches_end(data, end):
                raise unreadable(name, _TRUNCATED)
            pixels = _upright(pixels, orientation)
            height, width = (height, width) if orientation < 5 else (width, height)
            return pixels, Original(data, height, width, factor) if factor > 1 else None
    try:
        with quiet_pillow():
            opened = Pillow.open(io.BytesIO(data), formats=_FORMATS)
        _load(opened)
        if _ends_grey(np.asarray(opened)) and not _reaches_end(data, end):
            raise unreadable(name, _TRUNCATED)
        return _upright(_to_rgb(opened), _orientation(opened)), None
    except _DECODING_ERRORS as error:
        raise unreadable(name, _undecodable(error)) from error


def _load(opened: Pillow.Image) -> None:
    """Decode an image, without what libtiff says on stderr about damage."""
    with hushed():
        opened.load()


def _orientation(opened: Pillow.Image) -> int:
    """EXIF orientation, 1 to 8; 1 if it is absent or unreadable."""
    try:
        with quiet_pillow():
            value = opened.getexif().get(_ORIENTATION, 1)
    except _DECODING_ERRORS:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _with_end(data: bytes, name: str) -> tuple[bytes, int]:
    """A JPEG with an end marker, and that marker's place.

    A file whose end marker alone is missing holds the whole photo. Decoders fill missing data with
    grey, and not all of them report it.

    Raises:
        InputError: the photo's own data is truncated; or it has too many scans.
    """
    scan, progressive, components = _first_scan(data)
    end = data.find(_END, scan)
    if end < 0:
        # Some programs fill the rest with zeros; `FF 00` is data.
        kept = data.rstrip(b"\0")
        if kept.endswith(b"\xff"):
            kept = kept[:-1] if len(kept) == len(data) else kept + b"\0"
        data, end = kept + _END, len(kept)
        if not _reaches_end(data, end):
            raise unreadable(name, _TRUNCATED)
    if data.count(b"\xff\xda", scan, end) > _MAX_SCANS:
        raise unreadable(name, f"is a JPEG of more than {_MAX_SCANS} scans")
    if not _brings_all(data, scan, end, components, progressive=progressive):
        raise unreadable(name, _TRUNCATED)
    return data, end


def _brings_all(data: bytes, scan: int, end: int, components: bytes, *, progressive: bool) -> bool:
    """Whether a JPEG's scans bring all that they promise.

    Where it was cut between scans, and got an end marker, they do not. It is decoded without any
    complaint: blurred, or without colour (ITU-T T.81, B.2.3 and G.1.1). But encoders need not send
    every coefficient, nor every bit (libjpeg's scan scripts ask for DC alone): high frequencies may
    be left out, and the last bits of colours. A component with no AC at all, and bits of the first,
    luma, that no scan refines are what a cut leaves.

    Args:
        scan: past the marker of the first scan.
        end: place of the end marker.
        components: their identifiers in the frame header.
        progressive: coefficients may come in several scans, and bit by bit; else all at once.
    """
    missing_bits: dict[int, list[int | None]] = {one: [None] * 64 for one in components}
    while 0 <= scan < end:
        count = data[scan + 2] if scan + 2 < end else 0
        last = scan + 3 + 2 * count
        if last + 3 > end:
            return False
        first, through, bits = data[last : last + 3] if progressive else (0, 63, 0)
        for component in data[scan + 3 : last : 2]:
            if component in missing_bits:
                brought = [bits & 15] * (min(through, 63) + 1 - first)
                missing_bits[component][first : through + 1] = brought
        marker = data.find(b"\xff\xda", last + 3, end)
        scan = marker + 2 if marker >= 0 else -1
    for number, (mean, *waves) in enumerate(missing_bits.values()):
        sent = [bits for bits in waves if bits is not None]
        is_colour = len(missing_bits) == 3 and number > 0
        if mean is None or not sent or (not is_colour and any([mean, *sent])):
            return False
    return True


def _reaches_end(data: bytes, end: int) -> bool:
    """Whether a JPEG's data lasts until its last rows of blocks.

    More data after all of its pixels is ignored, but otherwise it changes those it stands for.

    Args:
        end: place of the end marker.
    """
    progressive, before = _quickly(data)
    _, after = _quickly(data[:end] + _NOISE + data[end:])
    if before is None or after is None or before.shape != after.shape:
        return False
    changed = np.flatnonzero((before != after).reshape(len(before), -1).any(axis=1))
    # A row of blocks is 1 or 2 pixels at an eighth. A progressive one is missing everywhere.
    return not len(changed) or (not progressive and int(changed[0]) >= len(before) - 2)


def _quickly(data: bytes) -> tuple[bool, Image | None]:
    """Whether a JPEG is progressive; its pixels as stored, at an eighth of its size if not.

    None if it cannot be decoded.
    """
    try:
        with quiet_pillow():
            opened = Pillow.open(io.BytesIO(data), formats=_FORMATS)
        progressive = bool(opened.info.get("progressive"))
        if not progressive:
            opened.draft(None, (max(opened.width // 8, 1), max(opened.height // 8, 1)))
        return progressive, np.asarray(opened)
    except _DECODING_ERRORS:
        return False, None


def _ends_grey(pixels: Image) -> bool:
    """Whether the last pixels are of the grey that decoders put in place of missing data."""
    corner = pixels[-2:, -2:]
    return bool(((corner == 128) | (corner == 127)).all())


def _first_scan(data: bytes) -> tuple[int, bool, bytes]:
    """The image's own frame header, past metadata that may hold thumbnails.

    Returns:
        offset of the first scan; whether the image is progressive; identifiers of its components.
    """
    position, progressive, components = 2, False, b""
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            position += 1
            continue
        marker = data[position + 1]
        if marker == 0xDA:
            return position + 2, progressive, components
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            progressive = marker in (0xC2, 0xC6, 0xCA, 0xCE)
            count = int.from_bytes(data[position + 9 : position + 10], "big")
            components = data[position + 10 : position + 10 + 3 * count : 3]
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:
            position += 1
            continue
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return len(data), progressive, components


def _factor(opened: Pillow.Image, orientation: int, downscale: DownscaleFactor) -> int:
    """Downscale factor for an image as stored, before its EXIF orientation is applied."""
    width, height = opened.size
    factor = downscale(height, width)
    # Rotated, a partial block at the end of a row or column would come first.
    while orientation != 1 and (width % factor or height % factor):
        factor //= 2
    return factor


def _decode_jpeg(data: bytes, factor: int) -> Image | None:
    """`(H, W, 3) uint8` RGB as stored, by OpenCV: up to twice as fast as Pillow, same pixels.

    None if OpenCV cannot decode it, or cannot be kept from printing to stderr.
    """
    if not can_hush():
        return None
    import cv2

    flag_of = {
        1: 0,
        2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
        4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
        8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    }
    flags = flag_of[factor] | cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        with hushed():
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return None if pixels is None else pixels.astype(np.uint8, copy=False)


def _to_rgb(opened: Pillow.Image) -> Image:
    """`(H, W, 3) uint8` RGB of a loaded Pillow image of any mode."""
    check_samples(opened)
    # In Pillow, "I" is 16-bit for these formats and 32-bit for TIFF.
    if opened.mode.startswith("I;16") or (opened.mode == "I" and opened.format in ("PNG", "PPM")):
        wide = np.asarray(opened).astype(np.uint32)
        largest = largest_sample(opened, wide)
        if white_is_zero(opened):
            wide = largest - wide
        grey = ((wide * 255 + largest // 2) // largest).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if opened.mode in ("I", "F"):
        raise ValueError("32-bit samples are not supported; save it with 8 or 16 bits")
    if opened.has_transparency_data and not _has_unset_alpha(opened):
        layer = opened.convert("RGBA")
        white = Pillow.new("RGBA", layer.size, (255, 255, 255, 255))
        opened = Pillow.alpha_composite(white, layer)
    if opened.mode != "RGB":
        opened = opened.convert("RGB")
    return np.array(opened, np.uint8)


def _has_unset_alpha(opened: Pillow.Image) -> bool:
    """Whether it is a BMP that names an alpha channel and leaves all of it 0.

    Windows' programs write such for opaque pictures, and browsers show them so.
    """
    return opened.format == "BMP" and opened.getchannel("A").getextrema() == (0, 0)


def _undecodable(error: Exception) -> str:
    """What is wrong with a file that its decoder refuses, in the first line of the decoder's own
    words, where these are about the file."""
    said = str(error.args[0] if error.args else "").splitlines()
    line = said[0][:200] if said else type(error).__name__
    return "is damaged or truncated" if line.startswith(_VAGUE) else f"cannot be decoded: {line}"


def _upright(pixels: Image, orientation: int) -> Image:
    """Undo an EXIF orientation (Exif 2.32, table 6): mirror, rotate, or both."""
    if orientation in (2, 4, 5, 7):
        pixels = pixels[:, ::-1]
    quarter_turns = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.ascontiguousarray(np.rot90(pixels, quarter_turns))
