"""`facerec album people` and `show`: who is in the album."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from facerec.cli.album.options import complete_album_person, open_it
from facerec.cli.album.remarks import say_suggestions, say_twice
from facerec.cli.console import Results, say
from facerec.cli.help import App
from facerec.cli.options import ALBUM, Json, ProfileOptions, argument, profile_options
from facerec.cli.thresholds import percent
from facerec.files.text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facerec.album.records import Person, StoredFace


def register(app: App) -> None:
    """Add the commands of this theme."""
    app.command(examples=["facerec album people", "facerec album people --json -a family.db"])(
        people
    )
    app.command(examples=["facerec album show anna", "facerec album show person-0007 --json"])(show)


@profile_options(ALBUM)
def people(
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """List the people, those with most photos first."""
    from facerec.album.people import read_people
    from facerec.album.records import lasting_id

    results = Results(
        "person", "name", "faces", "photos", "first", "last", as_json=as_json,
        least=("first", "last", "faces"),
    )  # fmt: skip
    with open_it(profile) as album:
        for one in read_people(album):
            record = _person_record(one)
            days = ((time or "")[:10] for time in (one.first, one.last))
            cells = (lasting_id(one.id), one.name or "", str(one.faces), str(one.photos), *days)
            results.add(record, cells)
        results.close(title=str(album.path))
        found = album.row("SELECT count(*) FROM faces WHERE person IS NULL")
        if found is not None and found[0]:
            say(f"{album.path}: {counted(found[0], 'face belongs', 'faces belong')} to nobody yet")


def _person_record(one: Person) -> dict[str, Any]:
    from facerec.album.records import lasting_id

    return {
        "person": lasting_id(one.id), "name": one.name, "faces": one.faces, "photos": one.photos,
        "first": one.first, "last": one.last,
    }  # fmt: skip


@profile_options(ALBUM)
def show(
    people: Annotated[
        list[str] | None,
        argument(
            "[PERSON…]",
            help="Names, or lasting ids such as person-0007; without one all faces.",
            autocompletion=complete_album_person,
        ),
    ] = None,
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Show the faces of people, or all faces, with their photos.

    Of people who are given it also says, on stderr, who they may be, and in which photos they are
    twice.
    """
    from facerec.album.certainty import own_probabilities
    from facerec.album.faces import read_columns, read_faces
    from facerec.album.people import find_person

    results = Results(
        "face", "person", "photo", "confirmed", "quality", "taken", "probability",
        as_json=as_json, least=("probability", "quality", "taken", "confirmed"),
    )  # fmt: skip
    with open_it(profile) as album:
        chosen = [find_person(album, one) for one in people] if people else None
        columns = read_columns(album)
        chances = own_probabilities(album, columns, chosen)
        for face in read_faces(album, chosen):
            record = face_record(face, chances.get(face.id))
            results.add(record, _face_cells(face, record))
        results.close(title=", ".join(people) if people else str(album.path))
        for person in dict.fromkeys(chosen or ()):
            say_twice(album, person)
            say_suggestions(album, person, columns)


def face_record(face: StoredFace, chance: float | None) -> dict[str, Any]:
    """A face as `album show --json` prints it.

    Args:
        chance: probability that it is its person's; None where nothing tells it.
    """
    from facerec.album.records import lasting_id

    return {
        "photo": face.path,
        "box": [round(side, 2) for side in face.box],
        "person": None if face.person is None else lasting_id(face.person),
        "name": face.name,
        "confirmed": face.confirmed,
        "quality": None if face.quality is None else round(face.quality, 4),
        "taken": face.taken,
        "probability": None if chance is None else round(chance, 6),
        "face": face.id,
    }


def _face_cells(face: StoredFace, record: Mapping[str, Any]) -> tuple[str, ...]:
    quality = "" if face.quality is None else f"{face.quality:.2f}"
    return (
        str(face.id), face.name or record["person"] or "", face.path or "",
        "yes" if face.confirmed else "", quality, (face.taken or "").replace("T", " "),
        percent(record["probability"]),
    )  # fmt: skip
