"""Reading many pictures ahead of their use, in order, with bounded memory."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from facerec.errors import InputError
from facerec.faces import Frame
from facerec.imaging.decode import decode_image, read_file
from facerec.imaging.stored import Photo

Wanted = Callable[[str, str], bool]
Item = TypeVar("Item")


def read_frames(
    photos: Iterable[Photo], *, workers: int, max_pixels: int, wanted: Wanted | None = None
) -> Iterator[Frame]:
    """Decode pictures in threads, in the order given; see `read_ahead`.

    What cannot be read becomes a frame with an error.

    Args:
        wanted: told a source and its hash, says whether to decode it; a frame that is not
            wanted has neither image nor error.
    """
    return read_ahead(photos, lambda photo: read_frame(photo, max_pixels, wanted), workers)


def read_ahead(
    items: Iterable[Item], read: Callable[[Item], Frame], workers: int
) -> Iterator[Frame]:
    """`read` each item in threads, in the order given.

    At most `2 * workers` items are read ahead. `items` may be endless.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    waiting: deque[Future[Frame]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(read, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


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
