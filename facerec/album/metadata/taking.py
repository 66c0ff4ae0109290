"""`album read`: the names that photos' metadata say, matched to the album's faces by overlap."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Literal

from facerec.album.faces import read_faces
from facerec.album.metadata.photo import Metadata, read_metadata
from facerec.album.metadata.regions import Region, fit_regions, match_boxes
from facerec.album.metadata.same_picture import shows_faces
from facerec.album.metadata.writing import fraction_box
from facerec.album.people import add_person, find_name, usable_name
from facerec.album.photos import find_photo, read_photos
from facerec.album.records import StoredFace, StoredPhoto
from facerec.album.store import Album
from facerec.errors import InputError, UsageError
from facerec.imaging.names import is_url
from facerec.imaging.photos import is_file, read_file, unreadable

Outcome = Literal["confirmed", "known", "no face", "conflict", "unusable"]


@dataclass(frozen=True, slots=True)
class Named:
    """A name in a photo's metadata, and what became of it.

    Attributes:
        path: the photo.
        region: what it says.
        face: the album's face there; None: there is none.
        outcome: `confirmed`: taken over; `known`: the album says so already; `no face`: the album
            has none there, or no place is given; `conflict`: the album was told otherwise;
            `unusable`: the album takes no such name.
        remark: more about a conflict, or why a name is unusable.
    """

    path: str
    region: Region
    face: int | None
    outcome: Outcome
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Metadata that could not be read, in one line."""

    message: str


def count_files(album: Album) -> int:
    """How many places `find_names` looks at."""
    return sum(len(_files(photo)) for photo in read_photos(album))


def count_elsewhere(album: Album) -> int:
    """How many photos lie only in archives, behind URLs, or where no file is at the moment."""
    return sum(
        not _files(photo) for photo in read_photos(album) if photo.error is None and photo.paths
    )


def find_names(
    album: Album, advance: Callable[[], None] = lambda: None
) -> Iterator[Named | Problem]:
    """What the metadata of all photos say, and what taking it over would do; changes nothing.

    Raises:
        MissingError: the package exiv2 is not installed.
    """
    decided = _Decided(album)
    for photo in read_photos(album):
        files = _files(photo)
        faces = list(read_faces(album, photo=photo.id)) if files else []
        seen: set[tuple[int | None, str]] = set()
        for path in files:
            try:
                found = _read(album, photo, faces, Path(path))
            except InputError as error:
                yield Problem(str(error))
            else:
                yield from map(Problem, found.problems)
                for named in _match(path, photo, faces, found):
                    # Copies of a photo say the same.
                    if (named.face, named.region.name) not in seen:
                        seen.add((named.face, named.region.name))
                        yield decided.judge(named)
            advance()


def _read(album: Album, photo: StoredPhoto, faces: Sequence[StoredFace], path: Path) -> Metadata:
    """What the metadata of a photo say.

    Raises:
        InputError: they cannot be read, or another picture lies there now: the album does not know
            its bytes, and it does not show the album's faces.
    """
    data = read_file(path)
    found = read_metadata(path, data)
    if find_photo(album, hashlib.sha256(data).hexdigest()) != photo.id:
        size = photo.width, photo.height
        if found.size != size or not shows_faces(
            album, faces, data, str(path), photo.width * photo.height
        ):
            raise unreadable(path, "shows another picture now; first: facerec album scan")
    return found


def take_names(album: Album, found: Sequence[Named]) -> None:
    """Take over the names that are to be `confirmed`, as decisions; inside a step.

    A person without a name, of whom all that is said is one name that nobody has, gets it and
    keeps the lasting id. Reading takes long: what was decided or forgotten meanwhile stays so.
    """
    decided = _Decided(album)
    there = {face for (face,) in album.rows("SELECT id FROM faces")}
    taken = [
        named
        for named in found
        if named.outcome == "confirmed"
        and named.face in there
        and decided.judge(named).outcome == "confirmed"
    ]
    people = _name_unnamed(album, taken)
    for named in taken:
        name = usable_name(named.region.name)
        if name not in people:
            known = find_name(album, name)
            people[name] = add_person(album, name) if known is None else known
        values = (named.face, people[name])
        album.execute("DELETE FROM decisions WHERE kind = 'is' AND face = ?", (named.face,))
        album.execute("INSERT INTO decisions (kind, face, person) VALUES ('is', ?, ?)", values)
        album.execute("UPDATE faces SET person = ?2, state = 'confirmed' WHERE id = ?1", values)


def _name_unnamed(album: Album, taken: Sequence[Named]) -> dict[str, int]:
    """Name unnamed people; returns them by name."""
    said: dict[int, Counter[str]] = defaultdict(Counter)
    for named in taken:
        row = album.row(
            "SELECT people.id FROM faces JOIN people ON people.id = person"
            " WHERE faces.id = ? AND name IS NULL",
            (named.face,),
        )
        if row is not None:
            said[int(row[0])][usable_name(named.region.name)] += 1
    people: dict[str, int] = {}
    # Of two groups of one person the one that more photos name.
    for person, names in sorted(said.items(), key=lambda one: -one[1].total()):
        name = next(iter(names))
        if len(names) == 1 and name not in people and find_name(album, name) is None:
            album.execute("UPDATE people SET name = ? WHERE id = ?", (name, person))
            people[name] = person
    return people


def _files(photo: StoredPhoto) -> list[str]:
    if photo.error is not None:
        return []
    return [path for path in photo.paths if not is_url(path) and is_file(Path(path))]


def _match(
    path: str, photo: StoredPhoto, faces: Sequence[StoredFace], found: Metadata
) -> Iterator[Named]:
    """Regions of faces, each with the album's face at its place."""
    boxes = [fraction_box(face.box, photo.width, photo.height) for face in faces]
    regions: list[Region] = []
    # Each source is another program's.
    for _, group in groupby(found.regions, lambda region: region.source):
        regions += fit_regions([one for one in group if one.is_face], boxes, found.orientation)[0]
    matched = match_boxes([region.box for region in regions], boxes)
    for number, region in enumerate(regions):
        face = faces[matched[number]].id if number in matched else None
        yield Named(path, region, face, "no face" if face is None else "confirmed")


class _Decided:
    """What the user has told the album, against which names are judged."""

    def __init__(self, album: Album) -> None:
        names: Mapping[int, str | None] = dict(album.rows("SELECT id, name FROM people"))
        self._is: dict[int, str | None] = {}
        self._is_not: set[tuple[int, str | None]] = set()
        for kind, face, person in album.rows(
            "SELECT kind, face, person FROM decisions WHERE face IS NOT NULL"
        ):
            if kind == "is":
                self._is[face] = names[person]
            else:
                self._is_not.add((face, names[person]))

    def judge(self, named: Named) -> Named:
        """The same with its outcome; what is confirmed counts for the names that follow."""
        try:
            name = usable_name(named.region.name)
        except UsageError as error:
            return replace(named, outcome="unusable", remark=str(error))
        if named.face is None:
            return named
        if named.face in self._is:
            if self._is[named.face] == name:
                return replace(named, outcome="known")
            other = self._is[named.face] or "somebody unnamed"
            return replace(named, outcome="conflict", remark=f"the album says {other}")
        if (named.face, name) in self._is_not:
            return replace(named, outcome="conflict", remark=f"the album says: not {name}")
        self._is[named.face] = name
        return named
