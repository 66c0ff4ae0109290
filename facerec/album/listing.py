"""What a listing of photos tells without reading them: which are new, and which are gone.

A photo is known by its path, size and time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from facerec.album.photos import read_places, remove_places
from facerec.album.records import Place
from facerec.album.store import Album
from facerec.imaging.names import is_url
from facerec.imaging.photos import Photo


def place_of(photo: Photo) -> Place:
    """Where a photo lies."""
    path = _absolute(str(photo))
    size, _, mtime_ns = photo.version.partition(" ")
    return Place(path, int(size) if size else None, int(mtime_ns) if mtime_ns else None)


def _absolute(name: str) -> str:
    # Not `resolve`: a linked folder keeps the name that the user gave.
    return name if is_url(name) else os.path.normpath(Path(name).absolute())


def unknown_photos(album: Album, photos: Sequence[Photo]) -> list[Photo]:
    """The photos that must be read: new, changed, or once undecodable; each place once."""
    failed = {photo for (photo,) in album.rows("SELECT id FROM photos WHERE error IS NOT NULL")}
    known = {place: photo not in failed for place, photo in read_places(album)}
    listed = {(place := place_of(photo)).path: (place, photo) for photo in reversed(photos)}
    return [
        photo
        for place, photo in reversed(listed.values())
        if place.size is None or not known.get(place, False)
    ]


def remove_gone(album: Album, photos: Sequence[Photo]) -> int:
    """Remove places below the folders and archives that were listed, in which no photo lies now.

    A folder that gave no photo, as a disk that is not there, loses none, and neither does what
    lies below a folder that cannot be listed.

    Args:
        photos: all that were listed.

    Returns:
        how many.
    """
    listed = {place_of(photo).path for photo in photos}
    trees = {_absolute(photo.tree) for photo in photos if photo.tree}
    gone = [
        place.path
        for place, _ in read_places(album)
        if place.path not in listed
        and not trees.isdisjoint(above := _parents(place.path))
        and listed.isdisjoint(above)
    ]
    with album.transaction():
        remove_places(album, gone)
    return len(gone)


def _parents(path: str) -> list[str]:
    if not is_url(path):
        return list(map(str, Path(path).parents))
    head, _, tail = path.partition("://")
    folders = tail.split("/")[:-1]
    return [f"{head}://{'/'.join(folders[:count])}" for count in range(1, len(folders) + 1)]
