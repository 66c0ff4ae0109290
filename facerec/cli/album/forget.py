"""`facerec album forget`: erase a person for good."""

from __future__ import annotations

from typing import Annotated

from facerec.cli.album.options import Person, open_it
from facerec.cli.asking import confirmed
from facerec.cli.console import progress, say
from facerec.cli.help import App
from facerec.cli.options import ALBUM, ProfileOptions, force_option, profile_options
from facerec.errors import UsageError
from facerec.files.text import counted


def register(app: App) -> None:
    """Add the commands of this theme."""
    app.command(examples=["facerec album forget anna"])(forget)


@profile_options(ALBUM)
def forget(
    person: Person,
    force: Annotated[bool, force_option("Remove the person without asking.")] = False,
    *,
    profile: ProfileOptions,
) -> None:
    """Erase a person's vectors, faces, decisions and name for good (asks, unless --force).

    The undo journal goes too. The photos stay as they are. Their faces of this person are not found
    again; other photos may show the person again, as a stranger.
    """
    from facerec.album.decisions import faces_of
    from facerec.album.forget import forget_person, named_in_metadata, photos_of
    from facerec.album.people import find_person, label_of

    with open_it(profile, write=True) as album:
        number = find_person(album, person)
        label, count = label_of(album, number), len(faces_of(album, number))
        faces = counted(count, "face")
        question = f"Erase {label} with {faces} from {album.path}? This cannot be undone."
        if not force and not confirmed(question):
            raise UsageError("nothing was erased")
        photos, gallery = photos_of(album, number), album.meta("gallery")
        erased, whole = forget_person(album, number)
        say(f"{label}: {counted(erased, 'face')} erased; steps before this can no longer be undone")
        if not whole:
            say(
                f"{album.path}: another process reads it, so its log may still hold them; the next "
                "command that changes the album after that process has ended completes this"
            )
        if gallery is not None:
            say(
                f"{gallery}: album group takes no names from it any more; if it knows {label}, "
                f"first: facerec gallery remove {label} -g {gallery}"
            )
    named = 0
    with progress("looking at metadata", len(photos)) as advance:
        for path in named_in_metadata(photos, label, advance):
            named += 1
            advance.say(f"{path}: still names {label}")
    say(
        f"not erased: the photos ({counted(named, 'file of metadata', 'files of metadata')} naming "
        f"{label}), and galleries that were exported"
    )
