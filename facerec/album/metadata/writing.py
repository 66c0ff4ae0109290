"""`album write`: the names of an album's faces into the metadata of their photos."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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


def count_named(album: Album, *, grouped: bool = False) -> int:
    """How many photos show somebody who has a name."""
    return len(_named_faces(album, grouped))


def write_names(
    album: Album, where: Where, *, grouped: bool = False, write: bool = True
) -> Iterator[Written]:
    """Write the names of confirmed faces into every photo that shows them; one step for all.

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
    for photo, faces in _named_faces(album, grouped).items():
        for place in places_of(album, photo):
            try:
                changes = plan_regions(_file(album, photo, place), faces, where)
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
    if is_url(place):
        raise unreadable(place, "lies behind a URL; names are written into files")
    if not is_file(path):
        if any(is_file(parent) for parent in path.parents):
            raise unreadable(place, "lies in an archive; unpack it to write names")
        raise unreadable(place, "no such file; if it was moved: facerec album scan")
    if find_photo(album, hashlib.sha256(read_file(path)).hexdigest()) != photo:
        raise unreadable(place, "was changed since the last scan; first: facerec album scan")
    return path


def _named_faces(album: Album, grouped: bool) -> dict[int, list[Region]]:
    """Faces of people who have a name, by photo."""
    rows = album.rows(
        "SELECT faces.photo, width, height, x1, y1, x2, y2, name FROM faces"
        " JOIN people ON people.id = faces.person JOIN photos ON photos.id = faces.photo"
        " WHERE name IS NOT NULL AND (state = 'confirmed' OR ?) ORDER BY faces.photo, faces.id",
        (grouped,),
    )
    named: dict[int, list[Region]] = {}
    for photo, width, height, x1, y1, x2, y2, name in rows:
        box = fraction_box((x1, y1, x2, y2), width, height)
        if box is not None:
            named.setdefault(photo, []).append(Region(name, box))
    return named


def fraction_box(box: Box, width: int, height: int) -> Box | None:
    """A face's box, in pixels of which 0 is the first one's centre, as fractions of the picture;
    None: it lies beyond."""
    left, right = (min(max((x + 0.5) / width, 0.0), 1.0) for x in (box[0], box[2]))
    top, bottom = (min(max((y + 0.5) / height, 0.0), 1.0) for y in (box[1], box[3]))
    return (left, top, right, bottom) if left < right and top < bottom else None
