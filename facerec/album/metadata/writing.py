"""`album write`: the names of an album's faces into the metadata of their photos."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facerec.album.metadata.journal import begin_writing, write_file
from facerec.album.metadata.photo import Change, Where, plan_regions
from facerec.album.metadata.regions import Box, Region
from facerec.album.photos import find_photo, places_of
from facerec.album.store import Album
from facerec.errors import FacerecError, MissingError
from facerec.imaging.names import is_url
from facerec.imaging.photos import is_file, read_file, unreadable


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one photo at one place.

    Attributes:
        path: where it lies.
        changes: the files that were written, or would be; none where all names are there.
        error: why nothing could be written.
    """

    path: str
    changes: tuple[Change, ...] = ()
    error: str | None = None


def count_told(album: Album, *, grouped: bool = False) -> int:
    """How many photos show somebody who has a name, or was refused one."""
    return len(_named_faces(album, grouped).keys() | _refused_faces(album).keys())


def write_names(
    album: Album, where: Where, *, grouped: bool = False, write: bool = True
) -> Iterator[Written]:
    """Write the names of confirmed faces into every photo that shows them, and take away those that
    were refused; one step for all.

    A file is written after the journal has its earlier bytes; a killed run is gone on with by
    another, and `undo` takes back what either has written.

    Args:
        grouped: also of faces that a grouping put to somebody who has a name.
        write: False only to find out what would be written.

    Yields:
        of each place of each photo what was done.

    Raises:
        MissingError: the package exiv2 is not installed.
    """
    begun: int | None = None
    named, refused = _named_faces(album, grouped), _refused_faces(album)
    for photo in sorted(named.keys() | refused.keys()):
        for place in places_of(album, photo):
            if photo not in named and _why_none(place):
                continue
            try:
                file = _file(album, photo, place)
                changes = plan_regions(
                    file, named.get(photo, ()), where, refused.get(photo, ()), _boxes(album, photo)
                )
                for change in changes if write else ():
                    if begun is None:
                        begun = begin_writing(album, f"write {where} names into photos")
                    write_file(album, begun, photo, change)
            except MissingError:
                raise
            except FacerecError as error:
                yield Written(place, error=str(error))
            else:
                yield Written(place, tuple(changes))


def _file(album: Album, photo: int, place: str) -> Path:
    """The file of a photo at a place.

    Raises:
        InputError: it is a URL, lies in an archive, is gone, or has other bytes than the album
            knows: the faces may not be that picture's.
    """
    path = Path(place)
    if why := _why_none(place):
        raise unreadable(place, why)
    if not is_file(path):
        raise unreadable(place, "no such file; if it was moved: facerec album scan")
    if find_photo(album, hashlib.sha256(read_file(path)).hexdigest()) != photo:
        raise unreadable(place, "was changed since the last scan; first: facerec album scan")
    return path


def _why_none(place: str) -> str | None:
    """Why names are never written into the photo at a place; None: it may be a file."""
    if is_url(place):
        return "lies behind a URL; names are written into files"
    path = Path(place)
    if not is_file(path) and any(is_file(parent) for parent in path.parents):
        return "lies in an archive; unpack it to write names"
    return None


def _named_faces(album: Album, grouped: bool) -> dict[int, list[Region]]:
    """Faces of people who have a name, by photo."""
    return _by_photo(
        album.rows(
            "SELECT faces.photo, width, height, x1, y1, x2, y2, name FROM faces"
            " JOIN people ON people.id = faces.person JOIN photos ON photos.id = faces.photo"
            " WHERE name IS NOT NULL AND (state = 'confirmed' OR ?)"
            " ORDER BY faces.photo, faces.id",
            (grouped,),
        )
    )


def _refused_faces(album: Album) -> dict[int, list[Region]]:
    """Faces with each name that the user said is not theirs, by photo."""
    return _by_photo(
        album.rows(
            "SELECT faces.photo, width, height, x1, y1, x2, y2, name FROM decisions"
            " JOIN faces ON faces.id = decisions.face JOIN photos ON photos.id = faces.photo"
            " JOIN people ON people.id = decisions.person"
            " WHERE kind = 'is-not' AND name IS NOT NULL ORDER BY faces.photo, faces.id"
        )
    )


def _boxes(album: Album, photo: int) -> list[Box]:
    """All faces of a photo."""
    rows = album.rows(
        "SELECT width, height, x1, y1, x2, y2 FROM faces JOIN photos ON photos.id = photo"
        " WHERE photo = ?",
        (photo,),
    )
    boxes = (fraction_box((x1, y1, x2, y2), *size) for *size, x1, y1, x2, y2 in rows)
    return [box for box in boxes if box is not None]


def _by_photo(rows: Iterable[tuple[Any, ...]]) -> dict[int, list[Region]]:
    found: dict[int, list[Region]] = {}
    for photo, width, height, x1, y1, x2, y2, name in rows:
        box = fraction_box((x1, y1, x2, y2), width, height)
        if box is not None:
            found.setdefault(photo, []).append(Region(name, box))
    return found


def fraction_box(box: Box, width: int, height: int) -> Box | None:
    """A face's box, in pixels of which 0 is the first one's centre, as fractions of the picture;
    None: it lies beyond."""
    left, right = (min(max((x + 0.5) / width, 0.0), 1.0) for x in (box[0], box[2]))
    top, bottom = (min(max((y + 0.5) / height, 0.0), 1.0) for y in (box[1], box[3]))
    return (left, top, right, bottom) if left < right and top < bottom else None
