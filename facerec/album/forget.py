"""Forgetting a person for good: vectors, chips, decisions, name, and what the file kept of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from html import unescape
from pathlib import Path

from facerec.album.journal import purge_steps
from facerec.album.metadata.digikam import naming_database
from facerec.album.metadata.picasa import FILES as PICASA
from facerec.album.metadata.sidecars import every_sidecar
from facerec.album.photos import from_stored
from facerec.album.purge import purge
from facerec.album.store import Album
from facerec.imaging.photos import normalise_person

_ENDS = 1 << 22
"""Bytes at either end of a file in which metadata are sought; pixels lie between."""
_XMP = re.compile(rb"<x:xmpmeta.*?</x:xmpmeta>", re.DOTALL)


def forget_person(album: Album, person: int) -> tuple[int, bool]:
    """Erase a person and all faces taken for them. The undo journal, which knows them, goes too.

    Of each face the photo's content and the box are kept, so that no scan brings it back. Photos
    that the album has not seen yet may show the person again, as a stranger: to know them by their
    face, the face would have to be kept.

    Returns:
        how many faces were erased, and whether the file holds nothing of them any more; else
        another process reads it at the moment, and the next command that writes completes it.
    """
    with album.transaction():
        erased = album.execute(
            "INSERT INTO erased SELECT content, x1, y1, x2, y2 FROM faces"
            " JOIN photos ON photos.id = photo WHERE person = ?",
            (person,),
        ).rowcount
        purge_steps(album)
        album.execute("DELETE FROM faces WHERE person = ?", (person,))
        for one in (*_merged_into(album, person), person):
            album.execute("DELETE FROM decisions WHERE ? IN (person, other)", (one,))
            album.execute("UPDATE people SET merged = NULL WHERE merged = ?", (one,))
            album.execute("DELETE FROM people WHERE id = ?", (one,))
        # Its faces would give a later grouping the name again.
        album.set_meta("gallery", None)
        album.set_meta("purge", "1")
    return erased, purge(album)


def _merged_into(album: Album, person: int) -> list[int]:
    """Those who have become this person, directly or not."""
    return [
        one
        for (one,) in album.rows(
            "WITH RECURSIVE all_of(id) AS (SELECT id FROM people WHERE merged = ? UNION"
            " SELECT people.id FROM people JOIN all_of ON people.merged = all_of.id)"
            " SELECT id FROM all_of",
            (person,),
        )
    ]


def photos_of(album: Album, person: int) -> list[str]:
    """Where the photos lie that show a person."""
    rows = album.rows(
        "SELECT DISTINCT path FROM places JOIN faces USING (photo) WHERE person = ?", (person,)
    )
    return sorted(from_stored(path) for (path,) in rows)


def named_in_metadata(
    photos: Iterable[str], name: str, advance: Callable[[], None] = lambda: None
) -> Iterator[str]:
    """The files that name a person in their XMP, also beside photos, Picasa's lists, and digiKam's
    databases.

    Members of archives and URLs are not looked at.

    Args:
        advance: called after each photo.
    """
    seen: set[Path] = set()
    for photo in photos:
        for file in _with_sidecars(Path(photo)):
            if file not in seen and _names(file, name):
                yield str(file)
            seen.add(file)
        database = naming_database(Path(photo), name)
        if database is not None and database not in seen:
            yield str(database)
            seen.add(database)
        advance()


def _with_sidecars(photo: Path) -> list[Path]:
    return [photo, *every_sidecar(photo), *map(photo.with_name, PICASA)]


def _names(file: Path, name: str) -> bool:
    try:
        with file.open("rb") as stream:
            data = stream.read(_ENDS)
            stream.seek(max(len(data), file.stat().st_size - _ENDS))
            data += stream.read()
    except (OSError, ValueError):
        return False
    said = [data] if file.name in PICASA else _XMP.findall(data)
    return any(name in _read_text(text) for text in said)


def _read_text(text: bytes) -> str:
    """As names are stored: ExifTool writes `O&#39;Brien`, and a Mac accents apart."""
    return normalise_person(unescape(text.decode(errors="replace")))
