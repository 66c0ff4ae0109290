"""Grouping an album: its faces and decisions in, its people out, as one step of `undo`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facerec.album.decisions import read_decisions
from facerec.album.export import album_card
from facerec.album.faces import assign_faces, read_columns
from facerec.album.grouping import Grouping, group
from facerec.album.journal import step
from facerec.album.known import NOBODY, Numbers, known_of
from facerec.album.people import add_person, find_name, named_people
from facerec.album.records import Decisions, FaceColumns
from facerec.album.seeds import Seeds
from facerec.album.store import Album
from facerec.card import ModelCard
from facerec.errors import UsageError

_GIVEN = 1 << 40
"""From here on people are numbered who are in the gallery and not in the album, and above them
new ones, until the album gives them their ids."""
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Regrouped:
    """What a grouping made of an album.

    Attributes:
        faces: all faces.
        people: people with a name who have a face.
        unnamed: groups without a name.
        nobody: faces that joined nobody.
        joined, left, moved: faces that belong to somebody now and did not before, the other way
            round, and that belong to another person.
        threshold: cosine, at least, on average between two groups that became one.
        reason: where it comes from.
    """

    faces: int
    people: int
    unnamed: int
    nobody: int
    joined: int
    left: int
    moved: int
    threshold: float
    reason: str


def regroup(
    album: Album,
    *,
    seeds: Seeds | None = None,
    distance: float | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Regrouped:
    """Group all faces of an album. Nothing is changed until all is done, and then all at once.

    Args:
        seeds: named faces from elsewhere: who they draw gets their name.
        distance: threshold on the card's metric, instead of one that is measured.
        advance: progress callback, see `facerec.album.grouping.group`.

    Raises:
        UsageError: the album is empty, or has too few faces to measure a threshold and a card
            without one; or others kept deciding while it was grouped.
    """
    card = album_card(album)
    for _ in range(_ATTEMPTS):
        # Before the columns: a change between the two is seen below.
        before = _facts(album)
        columns, decisions = read_columns(album), read_decisions(album)
        found, names = _group(album, columns, decisions, card, seeds, distance, advance)
        with album.transaction():
            # What was decided meanwhile binds too, and nobody joins whom an undo took away.
            if read_decisions(album) != decisions or not _still(album, before):
                continue
            with step(album, "group"):
                people = _store(album, columns, found.person, names)
            album.set_meta(
                "grouping", json.dumps({"threshold": found.threshold, "likely": found.likely})
            )
        return _report(album, columns, people, found)
    raise UsageError(f"{album.path}: decisions keep being made while it is grouped; try again")


@dataclass(frozen=True, slots=True)
class _Facts:
    """Whom each face is taken for, and people's names and whom they have become."""

    faces: dict[int, int | None]
    people: list[tuple[int, str | None, int | None]]


def _facts(album: Album) -> _Facts:
    people = [
        (one, name, merged)
        for one, name, merged in album.rows("SELECT id, name, merged FROM people")
    ]
    return _Facts(dict(album.rows("SELECT id, person FROM faces")), people)


def _still(album: Album, before: _Facts) -> bool:
    """Whether all of it holds; faces that a scan has added are left for the next grouping."""
    now = _facts(album)
    added = now.faces.keys() - before.faces.keys()
    faces = {face: person for face, person in now.faces.items() if face not in added}
    return faces == before.faces and now.people == before.people


def _group(
    album: Album, columns: FaceColumns, decisions: Decisions, card: ModelCard,
    seeds: Seeds | None, distance: float | None, advance: Callable[[int], None],
) -> tuple[Grouping, list[str]]:  # fmt: skip
    """People of the columns' faces, and the names of those from `_GIVEN` on."""
    known, vectors, names = known_of(columns, decisions), columns.vectors, list[str]()
    if seeds is not None and len(seeds.names) and len(columns.ids):
        people: dict[str, int] = {}
        for name in dict.fromkeys(seeds.names):
            person = find_name(album, name)
            people[name] = _GIVEN + len(names) if person is None else person
            names += [name] if person is None else []
        known = known.with_fixed([people[name] for name in seeds.names])
        vectors = np.concatenate([vectors, seeds.vectors])
    found = group(vectors, known, card, _GIVEN + len(names), distance=distance, advance=advance)
    return found, names


def _store(
    album: Album, columns: FaceColumns, person: Numbers, names: list[str]
) -> NDArray[np.int64]:
    """Write who each face is; returns it with the album's own ids."""
    people = person[: len(columns.ids)].copy()
    for number in np.unique(people[people >= _GIVEN]).tolist():
        place = number - _GIVEN
        name = names[place] if place < len(names) else None
        people[people == number] = add_person(album, name)
    changed = np.flatnonzero(people != columns.person)
    assign_faces(
        album,
        (
            (int(columns.ids[row]), None if people[row] == NOBODY else int(people[row]))
            for row in changed
        ),
    )
    return people


def _report(
    album: Album, columns: FaceColumns, people: NDArray[np.int64], found: Grouping
) -> Regrouped:
    named = named_people(album)
    before, there = columns.person, set(np.unique(people[people != NOBODY]).tolist())
    return Regrouped(
        len(people), len(there & named), len(there - named), int((people == NOBODY).sum()),
        int(((before == NOBODY) & (people != NOBODY)).sum()),
        int(((before != NOBODY) & (people == NOBODY)).sum()),
        int(((before != NOBODY) & (people != NOBODY) & (before != people)).sum()),
        found.threshold, found.reason,
    )  # fmt: skip
