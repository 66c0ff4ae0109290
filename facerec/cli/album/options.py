"""What the commands of `facerec album` share: opening the album, people and their completion."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from facerec.cli.completing import completer, profile_so_far
from facerec.cli.options import ProfileOptions, argument

if TYPE_CHECKING:
    from facerec.album.store import Album


def open_it(profile: ProfileOptions, *, write: bool = False) -> Album:
    """The album that the command line asks for."""
    from facerec.album.store import open_album

    return open_album(profile.load().album.path, write=write)


@completer
def complete_album_person(ctx: typer.Context) -> Iterable[str]:
    """Offers the people of the album that the line so far would use."""
    from facerec.album.people import labels
    from facerec.album.store import open_album

    path = profile_so_far(ctx, "album.path").album.path
    with open_album(path, write=False) as album:
        return labels(album)


Faces = Annotated[
    list[int], argument("FACE…", help="Faces, by the number that `album show` prints.")
]
Person = Annotated[
    str,
    argument(
        "PERSON",
        help="A name, or a lasting id such as person-0007.",
        autocompletion=complete_album_person,
    ),
]
