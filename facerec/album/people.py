"""People of an album: lasting ids, names, and whom a user means."""

from __future__ import annotations

from collections.abc import Iterator

from facerec.album.records import Person, lasting_id, parse_lasting_id
from facerec.album.store import Album
from facerec.errors import UsageError, did_you_mean
from facerec.imaging.photos import normalise_person


def add_person(album: Album, name: str | None = None) -> int:
    """A new person, with an id that nobody has had.

    Raises:
        UsageError: the name is not usable, or somebody's.
    """
    name = None if name is None else usable_name(name)
    if name is not None and find_name(album, name) is not None:
        raise UsageError(f"there is a {name} already; give another name")
    added = album.execute("INSERT INTO people (name) VALUES (?)", (name,)).lastrowid
    assert added is not None, "a row was inserted"
    return added


def usable_name(name: str) -> str:
    """A name as it is stored.

    Raises:
        UsageError: it is empty, holds a slash or a control character, or looks like an id.
    """
    # HDF5, which the room of galleries brings, is not waited for by who only looks.
    from facerec.gallery.people import check_new_name

    stored = normalise_person(name).strip()
    check_new_name(stored)
    if parse_lasting_id(stored) is not None:
        raise UsageError(f"{stored}: is how unnamed people are called; give a name")
    return stored


def find_name(album: Album, name: str) -> int | None:
    """The person of exactly that name; None: nobody's."""
    found = album.row("SELECT id FROM people WHERE name = ?", (name,))
    return None if found is None else int(found[0])


def find_person(album: Album, text: str) -> int:
    """Whom a name or a lasting id means; the id of somebody merged means whom they became.

    A name counts in any case if it then means one person.

    Raises:
        UsageError: nobody, suggesting the nearest name; or several whose names differ in case.
    """
    number = parse_lasting_id(text)
    if number is not None:
        return _find_number(album, number, text)
    name = normalise_person(text).strip()
    exact = find_name(album, name)
    if exact is not None:
        return exact
    names = {str(known): int(person) for person, known in album.rows(_NAMED)}
    folded = [person for known, person in names.items() if known.casefold() == name.casefold()]
    if len(folded) == 1:
        return folded[0]
    if folded:
        several = " or ".join(sorted(label_of(album, person) for person in folded))
        raise UsageError(f"{album.path}: {text} may be {several}; give the name as it is written")
    raise UsageError(f"{album.path}: the album knows nobody called {text}{_hint(name, names)}")


_NAMED = "SELECT id, name FROM people WHERE name IS NOT NULL"


def named_people(album: Album) -> frozenset[int]:
    """Numbers of the people who have a name."""
    return frozenset(person for person, _ in album.rows(_NAMED))


def _hint(name: str, names: dict[str, int]) -> str:
    return did_you_mean(name, names) or "; see: facerec album people"


def _find_number(album: Album, number: int, text: str) -> int:
    found = album.row("SELECT merged FROM people WHERE id = ?", (number,))
    while found is not None and found[0] is not None:
        number = int(found[0])
        found = album.row("SELECT merged FROM people WHERE id = ?", (number,))
    if found is None:
        raise UsageError(f"{album.path}: there is no {text}; see: facerec album people")
    return number


def label_of(album: Album, person: int) -> str:
    """A person's name, or lasting id."""
    found = album.row("SELECT name FROM people WHERE id = ?", (person,))
    return str(found[0]) if found is not None and found[0] is not None else lasting_id(person)


def read_people(album: Album, person: int | None = None) -> Iterator[Person]:
    """People who have a name or a face, those with most photos first.

    Args:
        person: only this one.
    """
    chosen, values = ("", ()) if person is None else (" AND people.id = ?", (person,))
    found = album.rows(
        "SELECT people.id, name, count(faces.id) AS many, count(DISTINCT photos.id) AS shown,"
        " min(taken), max(taken) FROM people"
        " LEFT JOIN faces ON faces.person = people.id"
        " AND EXISTS (SELECT 1 FROM places WHERE places.photo = faces.photo)"
        " LEFT JOIN photos ON photos.id = faces.photo"
        f" WHERE merged IS NULL{chosen} GROUP BY people.id"
        " HAVING many > 0 OR name IS NOT NULL ORDER BY shown DESC, people.id",
        values,
    )
    for row in found:
        yield Person(*row)


def labels(album: Album) -> list[str]:
    """How people are called on a command line: names, and ids of the unnamed."""
    return [person.label for person in read_people(album)]
