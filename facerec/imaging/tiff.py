"""What Pillow passes over in a TIFF: where its planes lie, which end is white, how deep it is."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image as Pillow
from PIL import TiffImagePlugin

from facerec.imaging.contents import TIFF
from facerec.imaging.quiet import quiet_pillow

_BITS, _POLARITY, _LARGEST, _PLANES, _SAMPLE_FORMAT = 258, 262, 281, 284, 339
_WHITE_IS_ZERO, _APART, _SIGNED = 0, 2, 2


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
    """Open a TIFF that Pillow decodes by libtiff, as it does those with compression."""
    with quiet_pillow():  # holds the lock: the setting is of the whole process
        before = TiffImagePlugin.READ_LIBTIFF
        TiffImagePlugin.READ_LIBTIFF = True
        try:
            return Pillow.open(io.BytesIO(data), formats=(TIFF,))
        finally:
            TiffImagePlugin.READ_LIBTIFF = before


def check_samples(opened: Pillow.Image) -> None:
    """Refuse a TIFF whose samples Pillow gives as if they were others.

    Raises:
        ValueError: they are signed, of 8 or 16 bits; or they are colours of fewer bits than their
            16, of which Pillow keeps the upper 8.
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
    return _numbers(opened, _POLARITY) == (_WHITE_IS_ZERO,)


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
