"""digiKam's names: its own database, `digikam4.db`, in the photos' folder or one above.

Schema of versions 2 to 8 (`dbconfig.xml`): a photo is `Images.name` in `Albums.relativePath` below
`AlbumRoots.specificPath`; a face that somebody has named is a row of `ImageTagProperties` with
`tagRegion` and `<rect x="12" y="34" width="56" height="78"/>`, in pixels of the upright picture
(digiKam turns them with EXIF's orientation). Those are of the whole photo, of `ImageInformation`'s
width and height before it is turned, also where digiKam and we look at a raw file's smaller
preview. What it suggests has other properties, and is not read. Its database is only read.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from facerec.album.metadata.names import composed
from facerec.album.metadata.regions import FACE, Region, same_shape
from facerec.errors import InputError
from facerec.imaging.photos import normalise_person, unreadable

FILE = "digikam4.db"
_TABLES = {"AlbumRoots", "Albums", "Images", "ImageTagProperties", "Tags", "TagProperties"}
_FACES = """
SELECT specificPath, relativePath, Images.name, Tags.name, person.value, faces.value, {size}
FROM ImageTagProperties AS faces
JOIN Images ON Images.id = faces.imageid
JOIN Albums ON Albums.id = Images.album
JOIN AlbumRoots ON AlbumRoots.id = Albums.albumRoot
JOIN Tags ON Tags.id = faces.tagid
LEFT JOIN TagProperties AS person ON person.tagid = Tags.id AND person.property = 'person'
{information}
WHERE faces.property = 'tagRegion' AND Images.status = 1 AND NOT EXISTS (
  SELECT 1 FROM TagProperties WHERE TagProperties.tagid = Tags.id
  AND TagProperties.property IN ('unknownPerson', 'unconfirmedPerson', 'ignoredPerson'))
"""
_INFORMATION = "ImageInformation"
_JOIN = f"LEFT JOIN {_INFORMATION} AS information ON information.imageid = Images.id"
_SIZE = "information.width, information.height, information.orientation"
"""What digiKam 0.9 did not keep."""
_MOST, _SECONDS, _BUSY = 5_000_000, 60.0, 5.0
"""Faces of a database; seconds that reading it may take, and that another writer is waited for."""
_RECTANGLE = re.compile(r"\s*<rect\s([^<>]*?)/?>(?:\s*</rect>)?\s*")
_SIDE = re.compile(r"""\b(x|y|width|height)=["'](-?\d{1,6})["']""")

Pixels = tuple[int, int, int, int]
"""Left, top, width, height."""


class _Face(NamedTuple):
    root: str
    name: str
    box: Pixels
    size: tuple[int, int] | None  # width and height of the upright picture; None: not known


_Version = tuple[tuple[int, int], ...]
"""Sizes and times of change of a database and its log."""
_Faces = dict[tuple[str, str], list[_Face]]
"""By folder below the root, and photo."""


def digikam_regions(photo: Path, size: tuple[int, int]) -> Iterator[Region]:
    """The faces that somebody has named in digiKam.

    Args:
        size: width and height of the upright picture.

    Raises:
        InputError: a database is there, and cannot be read.
    """
    found = _database_of(photo)
    if found is None:
        return
    folder, beside = composed(photo.absolute().parent), composed(found[0].parent)
    for face in _faces_of(_read(*found), photo.name, folder, beside):
        yield _region(face, size)


def naming_database(photo: Path, name: str) -> Path | None:
    """The database above a photo in which a face, of whatever photo, has that name; None without
    one, or if it cannot be read."""
    found = _database_of(photo)
    try:
        return found[0] if found is not None and name in _names(*found) else None
    except InputError:
        return None


def _database_of(photo: Path) -> tuple[Path, _Version] | None:
    for above in photo.absolute().parents:
        place = above / FILE
        try:
            facts = [one.stat() for one in (place, *_log_of(place))]
        except OSError:
            continue
        return place, tuple((one.st_size, one.st_mtime_ns) for one in facts)
    return None


def _log_of(place: Path) -> list[Path]:
    """Where commits may lie that are not in the database yet."""
    log = place.with_name(f"{place.name}-wal")
    return [log] if log.exists() else []


def _faces_of(known: _Faces, name: str, folder: str, beside: str) -> Iterator[_Face]:
    """A photo's faces: of the root that its folder lies in, or of the one with the database, which
    may have been copied together."""
    parts = folder.rstrip("/").split("/")
    for count in range(1, len(parts) + 1):
        above, below = "/".join(parts[:count]), "/" + "/".join(parts[count:])
        for face in known.get((below, composed(name)), ()):
            if f"{above}/".endswith(face.root) or above == beside:
                yield face


def _region(face: _Face, picture: tuple[int, int]) -> Region:
    """Without a place where it lies beyond the picture, or was drawn on one of another shape."""
    left, top, across, down = face.box
    width, height = face.size or picture
    inside = across > 0 and down > 0 and left < width and top < height
    inside = inside and left + across > 0 and top + down > 0
    if not (inside and same_shape((width, height), picture)):
        return Region(face.name, None, FACE, "digikam")
    box = (left / width, top / height, (left + across) / width, (top + down) / height)
    return Region(face.name, box, FACE, "digikam")


@lru_cache(maxsize=2)
def _read(path: Path, _version: _Version) -> _Faces:
    """All named faces of a database; again if the file has changed."""
    address = f"file:{quote(os.fsencode(path))}?mode=ro"
    end = time.monotonic() + _SECONDS
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=_BUSY)) as database:
            # It may be a stranger's: nothing in its schema is run, and nothing runs for ever.
            database.execute("PRAGMA trusted_schema = OFF")
            database.set_progress_handler(lambda: time.monotonic() > end, 100_000)
            database.text_factory = lambda data: data.decode("utf-8", "replace")
            tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            names = {name for (name,) in tables}
            if not names >= _TABLES:
                raise unreadable(path, "is no database of digiKam")
            size, join = (_SIZE, _JOIN) if _INFORMATION in names else ("NULL, NULL, NULL", "")
            faces = _FACES.format(size=size, information=join)
            return _collect(database.execute(f"{faces} LIMIT {_MOST}"))
    except sqlite3.Error as error:
        raise unreadable(path, f"cannot be read: {error}") from error


@lru_cache(maxsize=2)
def _names(path: Path, version: _Version) -> frozenset[str]:
    return frozenset(face.name for faces in _read(path, version).values() for face in faces)


def _collect(rows: sqlite3.Cursor) -> _Faces:
    faces: _Faces = {}
    for root, folder, name, tag, person, value, *size in rows:
        found = _RECTANGLE.fullmatch(str(value))
        sides = dict(_SIDE.findall(found[1])) if found else {}
        if len(sides) == 4:
            box = int(sides["x"]), int(sides["y"]), int(sides["width"]), int(sides["height"])
            where = "/" + composed(str(folder)).strip("/"), composed(str(name))
            root = f"{composed(str(root or '')).rstrip('/')}/"
            person = normalise_person(str(person or tag)).strip()
            faces.setdefault(where, []).append(_Face(root, person, box, _upright(*size)))
    return faces


def _upright(width: object, height: object, orientation: object) -> tuple[int, int] | None:
    """Sides of the upright picture; None where the database does not say them."""
    if not (isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0):
        return None
    turned = isinstance(orientation, int) and orientation >= 5
    return (height, width) if turned else (width, height)
