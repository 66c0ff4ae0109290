"""What Pillow passes over in a TIFF: where its planes lie, which end is white, how deep it is."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image as Pillow
from PIL import TiffImagePlugin, UnidentifiedImageError

from facerec.imaging.contents import TIFF
from facerec.imaging.quiet import quiet_pillow

_BITS, _COLOURS, _SAMPLES = 258, 262, 277
_LARGEST, _PLANES, _EXTRA, _SAMPLE_FORMAT = 281, 284, 338, 339
_OFFSETS = (273, 324)  # of strips, of tiles
_WHITE_IS_ZERO, _APART, _SIGNED = 0, 2, 2
_ALPHA = (1, 2)
_BIG = 43  # the version in BigTIFF's header

_COLOURS_IN_WORDS = {
    _WHITE_IS_ZERO: "grey whose white is 0",
    1: "grey",
    2: "RGB",
    3: "palette",
    5: "CMYK",
    6: "YCbCr",
    8: "Lab",
    32803: "sensor",
}
_USUAL_SAMPLES = {2: 3, 5: 4, 6: 3, 8: 3}
_FORMATS_IN_WORDS = {_SIGNED: "signed ", 3: "floating-point "}

# Greys that Pillow's table of sorts lacks and its unpackers read: what it calls 12 bits is packed
# high bits first in either byte order. As in the table's own rows of 16 bits, none is inverted.
_MORE_GREYS: dict[
    tuple[bytes, int, tuple[int], int, tuple[int, ...], tuple[int, ...]], tuple[str, str]
] = {
    (TiffImagePlugin.MM, 0, (1,), 1, (16,), ()): ("I;16B", "I;16B"),
    (TiffImagePlugin.MM, 1, (1,), 1, (12,), ()): ("I;16", "I;12"),
    (TiffImagePlugin.MM, 0, (1,), 1, (12,), ()): ("I;16", "I;12"),
    (TiffImagePlugin.II, 0, (1,), 1, (12,), ()): ("I;16", "I;12"),
}


def keeps_planes_apart(opened: Pillow.Image) -> bool:
    """Whether an image is a TIFF of which Pillow's own decoder would scramble the samples.

    Of planes without compression it takes 16-bit samples for those of 8 bits, and does not invert.
    """
    return (
        opened.format == TIFF
        and _numbers(opened, _PLANES) == (_APART,)
        and opened.info.get("compression") == "raw"
    )


def open_by_libtiff(data: bytes) -> Pillow.Image:
    """Open a TIFF that Pillow decodes by libtiff, as it does those with compression.

    Its own decoder refuses planes without compression of which some are of no known use, too.

    Raises:
        UnidentifiedImageError: Pillow reads no TIFF of this sort, or it has no pixels.
    """
    with quiet_pillow():  # holds the lock: the setting and the table are of the whole process
        before, table = TiffImagePlugin.READ_LIBTIFF, TiffImagePlugin.OPEN_INFO
        TiffImagePlugin.READ_LIBTIFF = True
        TiffImagePlugin.OPEN_INFO = {**_MORE_GREYS, **table}
        try:
            opened = Pillow.open(io.BytesIO(data), formats=(TIFF,))
        finally:
            TiffImagePlugin.READ_LIBTIFF, TiffImagePlugin.OPEN_INFO = before, table
    if not any(_numbers(opened, tag) for tag in _OFFSETS):
        raise UnidentifiedImageError
    return opened


def sort_of_tiff(data: bytes) -> str:
    """What a TIFF's first image is made of, in words, as "16-bit signed RGB with alpha".

    Raises:
        the errors of Pillow's plugins, for one whose directory is damaged.
    """
    tags = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if data[2] == _BIG else 8])
    file = io.BytesIO(data)
    file.seek(tags.next)
    with quiet_pillow():
        tags.load(file)
        colours, bits = tags[_COLOURS], tags.get(_BITS, (1,))
        samples, kinds = tags.get(_SAMPLES, len(bits)), tags.get(_SAMPLE_FORMAT, (1,))
        extra_kinds = tags.get(_EXTRA, ())
    extra = samples - _USUAL_SAMPLES.get(colours, 1)
    has_alpha = extra == 1 and extra_kinds and extra_kinds[0] in _ALPHA
    more = " with alpha" if has_alpha else f" with {extra} more samples" if extra > 0 else ""
    what = _COLOURS_IN_WORDS.get(colours, f"samples of kind {colours}")
    return f"{max(bits)}-bit {_FORMATS_IN_WORDS.get(max(kinds), '')}{what}{more}"


def check_samples(opened: Pillow.Image) -> None:
    """Refuse a TIFF whose samples Pillow gives as if they were others.

    Raises:
        ValueError: they are signed, of 8 or 16 bits; or they are colours of fewer bits than their
            16, of which Pillow keeps the upper 8; or grey or a palette with alpha in planes of
            their own, of which it loses the alpha.
    """
    bits = max(_numbers(opened, _BITS), default=1)
    if bits <= 16 and _SIGNED in _numbers(opened, _SAMPLE_FORMAT):
        raise ValueError(
            "signed samples are not supported, as their range is unknown; save it with unsigned "
            "ones of 8 or 16 bits"
        )
    used = _declared_bits(opened)
    if bits == 16 and used and len(opened.getbands()) > 1:
        raise ValueError(
            f"colours of {used} bits in samples of 16 are not supported; save it with 8 or 16 bits"
        )
    if _numbers(opened, _PLANES) == (_APART,) and len(opened.getbands()) == 2:
        raise ValueError(
            "grey or a palette with alpha in planes of their own is not supported; save it "
            "without alpha, or as interleaved samples"
        )


def largest_sample(opened: Pillow.Image, grey: np.ndarray) -> int:
    """The value that stands for one end of the greys, where 0 stands for the other.

    It is `2**BitsPerSample - 1` (TIFF 6.0), but cameras of 10 to 14 bits whose samples lie in 16
    say theirs in MaxSampleValue.

    Args:
        grey: `(H, W)`, the samples of an image of more than 8 bits a sample.
    """
    bits = max(_numbers(opened, _BITS), default=16)
    used = _declared_bits(opened)
    if used and used < bits and grey.max(initial=0) < 1 << used:
        bits = used
    return (1 << bits) - 1


def white_is_zero(opened: Pillow.Image) -> bool:
    """Whether the largest sample of a TIFF of greys stands for black."""
    return _numbers(opened, _COLOURS) == (_WHITE_IS_ZERO,)


def _declared_bits(opened: Pillow.Image) -> int | None:
    """Bits of the samples that are used, 9 to 15, where MaxSampleValue says so.

    Some programs write the largest sample that a picture happens to have; that is seldom the
    largest of as many bits.
    """
    largest = set(_numbers(opened, _LARGEST))
    return next((bits for bits in range(9, 16) if largest == {(1 << bits) - 1}), None)


def _numbers(opened: Pillow.Image, tag: int) -> tuple[int, ...]:
    """A tag's whole numbers; none if it is absent, or the image no TIFF."""
    value = getattr(opened, "tag_v2", {}).get(tag, ())
    values = value if isinstance(value, tuple) else (value,)
    return tuple(number for number in values if isinstance(number, int))
