"""What the user decides, binding for every later grouping; each function is one step of `undo`.

Decisions are about faces, whose ids last, so they survive whatever a grouping makes of the rest.
The last word counts: a decision takes back those that contradict it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from facerec.album.journal import step
from facerec.album.people import add_person, find_name, label_of, usable_name
from facerec.album.records import Decisions
from facerec.album.store import Album
from facerec.errors import UsageError


def read_decisions(album: Album) -> Decisions:
    """All decisions."""
    rows = list(album.rows("SELECT kind, face, person, other FROM decisions"))
    return Decisions(
        {face: person for kind, face, person, _ in rows if kind == "is"},
        frozenset((face, person) for kind, face, person, _ in rows if kind == "is-not"),
        frozenset((person, other) for kind, _, person, other in rows if kind == "different"),
    )


def confirm_faces(album: Album, faces: Sequence[int], person: int) -> None:
    """These faces are that person, whoever they were taken for.

    Raises:
        UsageError: there is no such face.
    """
    with step(album, f"confirm {_count(faces)} as {label_of(album, person)}"):
        _confirm(album, faces, person)


def reject_faces(album: Album, faces: Sequence[int], person: int) -> None:
    """These faces are not that person; those taken for them belong to nobody for now.

    Raises:
        UsageError: there is no such face.
    """
    with step(album, f"reject {_count(faces)} as {label_of(album, person)}"):
        _reject(album, faces, person)


def tell_apart(album: Album, one: int, other: int) -> None:
    """These two are different people: no grouping joins them.

    Raises:
        UsageError: they are one.
    """
    if one == other:
        raise UsageError(f"{label_of(album, one)} cannot be told apart from itself")
    with step(album, f"tell {label_of(album, one)} and {label_of(album, other)} apart"):
        _tell_apart(album, one, other)


def name_person(album: Album, person: int, name: str) -> None:
    """Name somebody. Who had no name until now gets their faces confirmed with it.

    Raises:
        UsageError: the name is not usable, or another person's.
    """
    name = usable_name(name)
    other, before = find_name(album, name), label_of(album, person)
    if other not in (None, person):
        merging = f"facerec album merge {shlex.quote(before)} --into {shlex.quote(name)}"
        raise UsageError(
            f"there is a {name} already; if they are one: {merging}; if not, give another name"
        )
    with step(album, f"name {before} {name}"):
        if not _has_name(album, person):
            _confirm(album, faces_of(album, person), person)
        album.execute("UPDATE people SET name = ? WHERE id = ?", (name, person))


def merge_people(album: Album, people: Sequence[int], into: int) -> None:
    """These people are one: `into`, whose name and id stay; their ids go on to mean that person.

    Faces of those merged are confirmed, and of `into` too if none was before. If `into` has no
    name it takes the first of theirs.

    Raises:
        UsageError: nobody is left to merge.
    """
    others = [one for one in dict.fromkeys(people) if one != into]
    if not others:
        raise UsageError(f"{label_of(album, into)} cannot be merged into itself; name another")
    told = ", ".join(label_of(album, one) for one in others)
    with step(album, f"merge {told} into {label_of(album, into)}"):
        if (
            album.row("SELECT 1 FROM faces WHERE person = ? AND state = 'confirmed'", (into,))
            is None
        ):
            _confirm(album, faces_of(album, into), into)
        for one in others:
            _merge(album, one, into)


def split_faces(album: Album, faces: Sequence[int], name: str | None = None) -> int:
    """These faces are a person of their own, and none of those they were taken for.

    Returns:
        the new person.

    Raises:
        UsageError: there is no such face; the name is not usable, or somebody's.
    """
    name = None if name is None else usable_name(name)
    if name is not None and find_name(album, name) is not None:
        confirming = f"facerec album confirm {shlex.quote(name)} FACE…"
        raise UsageError(
            f"there is a {name} already; if these faces are theirs: {confirming}; if not, give "
            "another name"
        )
    with step(album, f"split {_count(faces)} off"):
        require_faces(album, faces)
        new = add_person(album, name)
        before = {face: _person_of(album, face) for face in faces}
        for face, person in before.items():
            if person is not None:
                _reject(album, [face], person)
        for person in sorted({one for one in before.values() if one is not None}):
            _tell_apart(album, person, new)
        _confirm(album, faces, new)
    return new


def faces_of(album: Album, person: int) -> list[int]:
    """All faces taken for a person, also of photos that lie nowhere at the moment."""
    return [face for (face,) in album.rows("SELECT id FROM faces WHERE person = ?", (person,))]


def require_faces(album: Album, faces: Iterable[int]) -> None:
    """Refuse faces that are not there.

    Raises:
        UsageError: names the first.
    """
    for face in faces:
        # SQLite's integers end where Python's do not.
        if face >= 1 << 63 or album.row("SELECT 1 FROM faces WHERE id = ?", (face,)) is None:
            raise UsageError(f"{album.path}: there is no face {face}; see: facerec album show")


def _count(faces: Sequence[int]) -> str:
    return f"face {faces[0]}" if len(faces) == 1 else f"{len(faces)} faces"


def _has_name(album: Album, person: int) -> bool:
    found = album.row("SELECT 1 FROM people WHERE id = ? AND name IS NOT NULL", (person,))
    return found is not None


def _person_of(album: Album, face: int) -> int | None:
    found = album.row("SELECT person FROM faces WHERE id = ?", (face,))
    return None if found is None else found[0]


def _confirm(album: Album, faces: Sequence[int], person: int) -> None:
    require_faces(album, faces)
    rows = [(face, person) for face in faces]
    album.execute_many(
        "DELETE FROM decisions WHERE face = ?1 AND (kind = 'is' AND person != ?2"
        " OR kind = 'is-not' AND person = ?2)",
        rows,
    )
    album.execute_many(
        "INSERT OR IGNORE INTO decisions (kind, face, person) VALUES ('is', ?, ?)", rows
    )
    album.execute_many("UPDATE faces SET person = ?2, state = 'confirmed' WHERE id = ?1", rows)


def _reject(album: Album, faces: Sequence[int], person: int) -> None:
    require_faces(album, faces)
    rows = [(face, person) for face in faces]
    album.execute_many("DELETE FROM decisions WHERE kind = 'is' AND face = ? AND person = ?", rows)
    album.execute_many(
        "INSERT OR IGNORE INTO decisions (kind, face, person) VALUES ('is-not', ?, ?)", rows
    )
    album.execute_many(
        "UPDATE faces SET person = NULL, state = 'grouped' WHERE id = ? AND person = ?", rows
    )


def _tell_apart(album: Album, one: int, other: int) -> None:
    album.execute(
        "INSERT OR IGNORE INTO decisions (kind, person, other) VALUES ('different', ?, ?)",
        sorted((one, other)),
    )


def _merge(album: Album, one: int, into: int) -> None:
    """One person becomes another: faces, decisions, name, and the id."""
    apart = [
        other if person == one else person
        for person, other in album.rows(
            "SELECT person, other FROM decisions WHERE kind = 'different' AND ? IN (person, other)",
            (one,),
        )
    ]
    rejected = [
        face
        for (face,) in album.rows(
            "SELECT face FROM decisions WHERE kind = 'is-not' AND person = ?", (one,)
        )
    ]
    _confirm(album, faces_of(album, one), into)
    album.execute("DELETE FROM decisions WHERE ? IN (person, other)", (one,))
    for face in rejected:
        if _person_of(album, face) != into:
            _reject(album, [face], into)
    for other in apart:
        if other != into:
            _tell_apart(album, other, into)
    name = album.row("SELECT name FROM people WHERE id = ?", (one,))
    album.execute("UPDATE people SET name = NULL, merged = ? WHERE id = ?", (into, one))
    if name is not None and name[0] is not None and not _has_name(album, into):
        album.execute("UPDATE people SET name = ? WHERE id = ?", (name[0], into))
