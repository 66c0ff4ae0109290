"""Photos that the album knows by content, and that lie elsewhere now; they are only read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from facerec.album.listing import place_of
from facerec.album.photos import find_photo, place_photo, places_of, remove_places
from facerec.album.records import Place
from facerec.album.store import Album
from facerec.errors import InputError
from facerec.imaging.names import is_archive, is_url
from facerec.imaging.photos import Photo, is_file, read_bytes
from facerec.parallel.ahead import map_ahead

_BATCH = 256
"""Photos that are committed together."""


def place_known(
    album: Album, photos: Sequence[Photo], *, max_pixels: int, workers: int,
    observe: Callable[[], None] = lambda: None,
) -> tuple[int, int]:  # fmt: skip
    """Note where known photos lie now, up to the first whose content is new or unreadable.

    Args:
        observe: callback for each photo.

    Returns:
        how many are known, and how many of these have moved; the others are still to be scanned.
    """

    def hash_of(photo: Photo) -> str:
        try:
            return hashlib.sha256(read_bytes(photo, max_pixels)).hexdigest()
        except InputError:
            return ""

    known: list[tuple[int, Place]] = []
    # The first that is not known ends it, and then no thread reads on.
    for photo, content in zip(photos, map_ahead(photos, hash_of, workers=workers), strict=False):
        number = find_photo(album, content)
        if number is None:
            break
        known.append((number, place_of(photo)))
        observe()
    moved = 0
    for start in range(0, len(known), _BATCH):
        with album.transaction():
            moved += sum(move_photo(album, *one) for one in known[start : start + _BATCH])
    return len(known), moved


def move_photo(album: Album, photo: int, place: Place) -> bool:
    """Place a known photo; returns whether it lay elsewhere before, and no longer does."""
    gone = [path for path in places_of(album, photo) if path != place.path and not _exists(path)]
    remove_places(album, gone)
    place_photo(album, photo, place)
    return bool(gone)


def _exists(path: str) -> bool:
    """Whether something is there; behind a URL and in an archive only a scan can tell."""
    if is_url(path) or os.path.lexists(path):
        return True
    return any(is_archive(above.name) and is_file(above) for above in Path(path).parents)
