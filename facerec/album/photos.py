"""Photos of an album and the places where they lie."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from facerec.album.records import Place, StoredPhoto
from facerec.album.store import Album


def to_stored(path: str) -> str | bytes:
    """A path as SQLite takes it: bytes where it is no Unicode."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def from_stored(path: str | bytes) -> str:
    """The inverse of `to_stored`."""
    return os.fsdecode(path) if isinstance(path, bytes) else path


def find_photo(album: Album, content: str) -> int | None:
    """The photo of that content that could be decoded, or of one that names were written into;
    None: there is none."""
    found = album.row(
        "SELECT id FROM photos WHERE content = ?1 AND error IS NULL"
        " UNION ALL SELECT photo FROM contents WHERE content = ?1",
        (content,),
    )
    return None if found is None else int(found[0])


def known_contents(album: Album) -> set[str]:
    """The contents for which `find_photo` finds a photo."""
    sql = "SELECT content FROM photos WHERE error IS NULL UNION SELECT content FROM contents"
    return {str(content) for (content,) in album.rows(sql)}


def add_photo(
    album: Album, content: str, width: int, height: int, taken: str | None, error: str | None
) -> int:
    """Add a content that the album has not, or that could not be decoded before; returns its id.

    Args:
        error: why it cannot be decoded.
    """
    facts = (width, height, taken, error, content)
    known = album.row("SELECT id FROM photos WHERE content = ?", (content,))
    if known is not None:
        album.execute(
            "UPDATE photos SET width = ?, height = ?, taken = ?, error = ? WHERE content = ?", facts
        )
        return int(known[0])
    added = album.execute(
        "INSERT INTO photos (width, height, taken, error, content) VALUES (?, ?, ?, ?, ?)", facts
    ).lastrowid
    assert added is not None, "a row was inserted"
    return added


def place_photo(album: Album, photo: int, place: Place) -> None:
    """Note where a photo lies; what lay there before no longer does."""
    album.execute(
        "INSERT OR REPLACE INTO places (path, photo, size, mtime_ns) VALUES (?, ?, ?, ?)",
        (to_stored(place.path), photo, place.size, place.mtime_ns),
    )


def lies_whole(album: Album, path: str) -> bool:
    """Whether a photo that could be decoded lay at a path when it was last looked at."""
    found = album.row(
        "SELECT 1 FROM places JOIN photos ON photos.id = photo WHERE path = ? AND error IS NULL",
        (to_stored(path),),
    )
    return found is not None


def read_places(album: Album) -> Iterator[tuple[Place, int]]:
    """All places, each with its photo."""
    for path, size, mtime_ns, photo in album.rows("SELECT path, size, mtime_ns, photo FROM places"):
        yield Place(from_stored(path), size, mtime_ns), int(photo)


def places_of(album: Album, photo: int) -> list[str]:
    """Where a photo lies, sorted."""
    found = album.rows("SELECT path FROM places WHERE photo = ?", (photo,))
    return sorted(from_stored(path) for (path,) in found)


def remove_places(album: Album, paths: Iterable[str]) -> None:
    """Nothing lies there any more; photos, faces and decisions stay."""
    album.execute_many("DELETE FROM places WHERE path = ?", ((to_stored(one),) for one in paths))


def read_photo(album: Album, photo: int) -> StoredPhoto | None:
    """One photo by its number; None: there is none."""
    found = album.row(
        "SELECT content, width, height, taken, error FROM photos WHERE id = ?", (photo,)
    )
    if found is None:
        return None
    content, width, height, taken, error = found
    paths = tuple(places_of(album, photo))
    return StoredPhoto(photo, content, width, height, taken, error, paths)


def read_photos(album: Album) -> Iterator[StoredPhoto]:
    """All photos, by number."""
    places: dict[int, list[str]] = {}
    for place, photo in read_places(album):
        places.setdefault(photo, []).append(place.path)
    sql = "SELECT id, content, width, height, taken, error FROM photos ORDER BY id"
    for photo, content, width, height, taken, error in album.rows(sql):
        paths = tuple(sorted(places.get(photo, ())))
        yield StoredPhoto(photo, content, width, height, taken, error, paths)
