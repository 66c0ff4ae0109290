"""Searching: photos by who is in them and when they were taken."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from facerec.album.photos import from_stored
from facerec.album.records import lasting_id
from facerec.album.store import Album
from facerec.errors import UsageError

_DAY = re.compile(r"(\d{4})(?:[-/.:](\d\d?)(?:[-/.:](\d\d?))?)?")


@dataclass(frozen=True, slots=True)
class FoundPhoto:
    """A photo that was searched for.

    Attributes:
        path: the first of its places.
        people: names, and lasting ids of the unnamed, from the left.
        taken: local time, ISO 8601; None if its metadata do not say.
    """

    path: str
    people: tuple[str, ...]
    taken: str | None


def parse_day(text: str) -> str:
    """`2019`, `2019-7` or `2019-07-14` as the beginning of an ISO time.

    Raises:
        UsageError: it is none of these.
    """
    found = _DAY.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text}: is no date; give a year, a month 2019-07 or a day 2019-07-14")
    year, month, day = found.groups()
    if not (1 <= int(month or 1) <= 12 and 1 <= int(day or 1) <= 31):
        raise UsageError(f"{text}: there is no such day")
    return "-".join([year, *(f"{int(part):02d}" for part in (month, day) if part)])


def search_photos(
    album: Album,
    *,
    with_people: Sequence[int] = (),
    without_people: Sequence[int] = (),
    since: str | None = None,
    until: str | None = None,
) -> Iterator[FoundPhoto]:
    """Photos that lie somewhere, by time, those without one last.

    Args:
        with_people: all of them are in the photo.
        without_people: none of them is.
        since, until: the first and last year, month or day, see `parse_day`; a photo that does not
            say when it was taken is then left out.
    """
    shows = "EXISTS (SELECT 1 FROM faces WHERE photo = photos.id AND person = ?)"
    conditions = [shows] * len(with_people) + [f"NOT {shows}"] * len(without_people)
    values: list[object] = [*with_people, *without_people]
    if since is not None:
        conditions.append("taken >= ?")
        values.append(since)
    if until is not None:
        conditions.append("substr(taken, 1, ?) <= ?")
        values += [len(until), until]
    rows = album.rows(
        "SELECT photos.id, min(path), taken FROM photos JOIN places ON photo = photos.id"
        f" {'WHERE' if conditions else ''} {' AND '.join(conditions)}"
        " GROUP BY photos.id ORDER BY taken IS NULL, taken, min(path)",
        values,
    )
    for photo, path, taken in rows:
        yield FoundPhoto(from_stored(path), tuple(_people_in(album, photo)), taken)


def _people_in(album: Album, photo: int) -> list[str]:
    rows = album.rows(
        "SELECT person, name FROM faces JOIN people ON people.id = person WHERE photo = ?"
        " ORDER BY x1",
        (photo,),
    )
    return list(
        dict.fromkeys(lasting_id(person) if name is None else name for person, name in rows)
    )
