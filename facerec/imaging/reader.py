"""Reading many pictures ahead of their use, in order, with bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from facerec.ahead import map_ahead
from facerec.errors import InputError
from facerec.faces import Frame
from facerec.imaging.decode import decode_image, read_file
from facerec.imaging.stored import Photo

Wanted = Callable[[str, str], bool]


def read_frames(
    photos: Iterable[Photo], *, workers: int, max_pixels: int, wanted: Wanted | None = None
) -> Iterator[Frame]:
    """Decode pictures in threads, in the order given, at most `2 * workers` ahead.

    What cannot be read becomes a frame with an error.

    Args:
        wanted: told a source and its hash, says whether to decode it; a frame that is not
            wanted has neither image nor error.
    """
    return map_ahead(
        photos,
        lambda photo: read_frame(photo, max_pixels, wanted),
        workers=workers,
    )


def read_frame(photo: Photo, max_pixels: int, wanted: Wanted | None = None) -> Frame:
    """Read and decode one picture; see `read_frames`."""
    try:
        data = read_file(photo, max_pixels) if isinstance(photo, Path) else photo.read()
    except InputError as error:
        return Frame(str(photo), None, "", error)
    return decode_frame(str(photo), data, max_pixels, wanted)


def decode_frame(source: str, data: bytes, max_pixels: int, wanted: Wanted | None = None) -> Frame:
    """Decode one picture from its bytes; see `read_frames`."""
    digest = hashlib.sha256(data).hexdigest()
    if wanted is not None and not wanted(source, digest):
        return Frame(source, None, digest)
    try:
        return Frame(source, decode_image(data, source, max_pixels), digest)
    except InputError as error:
        return Frame(source, None, digest, error)
