"""`facerec album name`, `merge`, `split`, `reject`, `confirm`, `undo`: decisions of the user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from facerec.cli.album.options import Faces, Person, complete_album_person, open_it
from facerec.cli.album.remarks import say_twice
from facerec.cli.asking import confirmed
from facerec.cli.console import exit_with_failures, progress, say
from facerec.cli.help import INPUT, OUTPUT, App
from facerec.cli.options import (
    ALBUM,
    ProfileOptions,
    argument,
    force_option,
    option,
    profile_options,
)
from facerec.errors import UsageError
from facerec.files.text import counted

if TYPE_CHECKING:
    from facerec.album.store import Album


def register(app: App) -> None:
    """Add the commands of this theme."""
    app.command(examples=["facerec album name person-0007 anna"])(name)
    app.command(examples=["facerec album merge person-0012 person-0031 --into anna"])(merge)
    app.command(examples=["facerec album split 153 160", "facerec album split 153 160 --name ben"])(
        split
    )
    app.command(
        examples=["facerec album reject anna 153", "facerec album reject anna person-0012"]
    )(reject)
    app.command(examples=["facerec album confirm anna 57 58", "facerec album confirm anna"])(
        confirm
    )
    app.command(examples=["facerec album undo"])(undo)


@profile_options(ALBUM)
def name(
    person: Person,
    name: Annotated[str, argument(help="The name; that of somebody else: they are one.")],
    force: Annotated[bool, force_option("Replace the two by one person without asking.")] = False,
    *,
    profile: ProfileOptions,
) -> None:
    """Name a person. Faces of somebody unnamed are confirmed with it.

    If somebody has the name already, the two are one person: asks, unless --force, and merges.
    """
    from facerec.album.decisions import merge_people, name_person
    from facerec.album.people import find_name, find_person, label_of, usable_name

    with open_it(profile, write=True) as album:
        number, stored = find_person(album, person), usable_name(name)
        other = find_name(album, stored)
        before = label_of(album, number)
        if other in (None, number):
            name_person(album, number, stored)
            say(f"{before} is now {stored}")
            return
        assert other is not None, "it was looked at above"
        if not (force or confirmed(f"There is a {stored}. Is {before} the same person?")):
            raise UsageError("nothing was changed; give somebody else another name")
        merge_people(album, [number], other)
        say(f"{before} merged into {stored}")
        say_twice(album, other)


@profile_options(ALBUM)
def merge(
    people: Annotated[
        list[str],
        argument("PERSON…", help="People who are one.", autocompletion=complete_album_person),
    ],
    into: Annotated[
        str | None,
        option(
            "--into",
            panel=OUTPUT,
            help="Who they are.",
            default="the one who has a name, or the first",
            metavar="PERSON",
            autocompletion=complete_album_person,
        ),
    ] = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Merge people who are one. Their ids go on to mean that person."""
    from facerec.album.decisions import merge_people
    from facerec.album.people import find_person, label_of

    with open_it(profile, write=True) as album:
        numbers = [find_person(album, one) for one in people]
        target = _choose(album, numbers) if into is None else find_person(album, into)
        told = [label_of(album, one) for one in dict.fromkeys(numbers) if one != target]
        merge_people(album, numbers, target)
        say(f"{', '.join(told)} merged into {label_of(album, target)}")
        say_twice(album, target)


def _choose(album: Album, people: list[int]) -> int:
    """Whom people become where nobody says."""
    from facerec.album.people import label_of
    from facerec.album.records import parse_lasting_id

    named = [one for one in dict.fromkeys(people) if not parse_lasting_id(label_of(album, one))]
    if len(named) > 1:
        names = " or ".join(label_of(album, one) for one in named)
        raise UsageError(f"who are they? give --into {names}")
    return named[0] if named else people[0]


@profile_options(ALBUM)
def split(
    faces: Faces,
    name: Annotated[
        str | None, option("--name", panel=INPUT, help="The new person's name.")
    ] = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Make faces a person of their own."""
    from facerec.album.decisions import split_faces
    from facerec.album.people import label_of

    with open_it(profile, write=True) as album:
        made = split_faces(album, list(dict.fromkeys(faces)), name)
        say(f"{counted(len(set(faces)), 'face is', 'faces are')} now {label_of(album, made)}")


@profile_options(ALBUM)
def reject(
    person: Person,
    wrong: Annotated[
        list[str],
        argument(
            "FACE|PERSON…",
            help="Faces, by the number that `album show` prints, or other people.",
            autocompletion=complete_album_person,
        ),
    ],
    *,
    profile: ProfileOptions,
) -> None:
    """Say that faces, or other people, are not this person; no grouping joins them again."""
    from facerec.album.decisions import reject_faces, tell_apart
    from facerec.album.people import find_person, label_of

    with open_it(profile, write=True) as album:
        number = find_person(album, person)
        faces = list(dict.fromkeys(int(one) for one in wrong if _is_number(one)))
        others = [find_person(album, one) for one in wrong if not _is_number(one)]
        with album.transaction():
            if faces:
                reject_faces(album, faces, number)
            for other in others:
                tell_apart(album, number, other)
        told = [*map(str, faces), *(label_of(album, one) for one in others)]
        say(f"{', '.join(told)}: not {label_of(album, number)}")


def _is_number(text: str) -> bool:
    # SQLite's integers have 19 digits at most, and Python reads no thousands.
    return text.isascii() and text.isdecimal() and len(text) < 20


@profile_options(ALBUM)
def confirm(
    person: Person,
    faces: Annotated[
        list[int] | None,
        argument(
            "[FACE…]",
            help="Faces, by the number that `album show` prints; without one all that are taken "
            "for this person.",
        ),
    ] = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Say that faces are this person, whoever they were taken for."""
    from facerec.album.decisions import confirm_faces, faces_of
    from facerec.album.people import find_person, label_of

    with open_it(profile, write=True) as album:
        number = find_person(album, person)
        chosen = list(dict.fromkeys(faces)) if faces else faces_of(album, number)
        if not chosen:
            raise UsageError(f"{label_of(album, number)} has no face to confirm")
        confirm_faces(album, chosen, number)
        say(f"{counted(len(chosen), 'face')} confirmed as {label_of(album, number)}")
        say_twice(album, number)


@profile_options(ALBUM)
def undo(
    force: Annotated[
        bool, force_option("Remove also what is kept of files that cannot be given back now.")
    ] = False,
    *,
    profile: ProfileOptions,
) -> None:
    """Take back the last change, also of photos' metadata; again, the one before.

    Files that are out of reach keep the change open: undo again once they are there.
    """
    from facerec.album.journal import last_step, undo_step
    from facerec.album.metadata.journal import files_of, take_back

    kept = 0
    # In one transaction, so that what another process decides meanwhile is not taken for it.
    with open_it(profile, write=True) as album, album.transaction():
        last = last_step(album)
        if last is None:
            raise UsageError(f"{album.path}: there is nothing to undo")
        with progress("taking back", files_of(album, last.id)) as advance:
            for problem in take_back(album, last.id, advance):
                kept += 1
                advance.say(problem)
        left = 0 if force else files_of(album, last.id)
        if not left:
            undo_step(album)
    if left:
        say(
            f"not all undone: {last.command}: {counted(left, 'file')} left; once they are there, "
            "facerec album undo goes on; --force forgets what they were"
        )
    else:
        say(f"undone: {last.command}")
    exit_with_failures(kept)
