"""Photos to frames: decoded ahead of their use, in threads, in order, in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

from facerec.errors import InputError
from facerec.faces import DownscaleFactor, Frame, Image
from facerec.imaging.decode import decode_downscaled, full_size
from facerec.imaging.photos import AnyPhoto, read_bytes
from facerec.parallel.ahead import map_ahead

Wanted = Callable[[str, str], bool]
"""Whether to decode a photo, by its name and the hash of its bytes."""


def read_again(frame: Frame, factor: int = 1) -> Image:
    """Decode the original of a downscaled frame again, at a smaller downscale factor.

    Args:
        factor: at most the frame's; 1 is full size.

    Raises:
        InputError: it cannot be decoded at this factor.
    """
    assert frame.image is not None, "the frame was decoded"
    if frame.original is None or frame.original.factor == factor:
        return frame.image
    height, width = frame.size
    encoded, source = frame.original.encoded, frame.source
    return decode_downscaled(encoded, source, height * width, lambda *_: factor)[0]


def read_frames(
    photos: Iterable[AnyPhoto], *, workers: int, max_pixels: int, wanted: Wanted | None = None,
    downscale: DownscaleFactor = full_size,
) -> Iterator[Frame]:  # fmt: skip
    """Decode photos in threads, in the order given, at most `2 * workers` ahead.

    A photo that cannot be read becomes a frame with an error.

    Args:
        wanted: selects what is decoded; other frames have neither image nor error.
        downscale: the JPEG downscale factor, see `Engine.reduction`.
    """
    return map_ahead(
        photos,
        lambda photo: read_frame(photo, max_pixels, wanted, downscale),
        workers=workers,
    )


def read_frame(
    photo: AnyPhoto, max_pixels: int, wanted: Wanted | None = None,
    downscale: DownscaleFactor = full_size,
) -> Frame:  # fmt: skip
    """Read and decode one photo; see `read_frames`."""
    try:
        data = read_bytes(photo, max_pixels)
    except InputError as error:
        return Frame(str(photo), None, "", error)
    return decode_frame(str(photo), data, max_pixels, wanted, downscale)


def decode_frame(
    source: str, data: bytes, max_pixels: int, wanted: Wanted | None = None,
    downscale: DownscaleFactor = full_size,
) -> Frame:  # fmt: skip
    """Decode one photo from its bytes; see `read_frames`."""
    digest = hashlib.sha256(data).hexdigest()
    if wanted is not None and not wanted(source, digest):
        return Frame(source, None, digest)
    try:
        image, original = decode_downscaled(data, source, max_pixels, downscale)
        return Frame(source, image, digest, original=original)
    except InputError as error:
        return Frame(source, None, digest, error)
