"""`facerec album search`: photos by who is in them, and when."""

from __future__ import annotations

from typing import Annotated

from facerec.cli.album.options import complete_album_person, open_it
from facerec.cli.console import print_json, print_path, say
from facerec.cli.help import INPUT, OUTPUT, App
from facerec.cli.options import ALBUM, ProfileOptions, option, profile_options
from facerec.errors import UsageError


def register(app: App) -> None:
    """Add the commands of this theme."""
    app.command(
        examples=[
            "facerec album search --with anna --with ben --without carl --from 2019 --to 2021",
            "facerec album search --with anna -0 | xargs -0 cp -t anna/",
        ]
    )(search)


@profile_options(ALBUM)
def search(
    shown: Annotated[
        list[str] | None,
        option(
            "--with",
            panel=INPUT,
            metavar="PERSON",
            help="Who is in the photo; repeat it for several.",
            autocompletion=complete_album_person,
        ),
    ] = None,
    absent: Annotated[
        list[str] | None,
        option(
            "--without",
            panel=INPUT,
            metavar="PERSON",
            help="Who is not; repeatable.",
            autocompletion=complete_album_person,
        ),
    ] = None,
    since: Annotated[
        str | None,
        option("--from", panel=INPUT, metavar="DATE", help="First year, month or day: 2019-07."),
    ] = None,
    until: Annotated[
        str | None,
        option("--to", panel=INPUT, metavar="DATE", help="Last year, month or day."),
    ] = None,
    null: Annotated[
        bool,
        option("--null", "-0", panel=OUTPUT, help="Paths end in NUL, as xargs -0 reads them."),
    ] = False,
    as_json: Annotated[
        bool, option("--json", panel=OUTPUT, help="JSON lines instead of one path a line.")
    ] = False,
    *,
    profile: ProfileOptions,
) -> None:
    """Print the photos that show some people, by time: one path a line."""
    if null and as_json:
        raise UsageError("--null ends paths, --json prints records; give one of them")
    from facerec.album.people import find_person
    from facerec.album.search import parse_day, search_photos

    first, last = (None if day is None else parse_day(day) for day in (since, until))
    found = 0
    with open_it(profile) as album:
        photos = search_photos(
            album,
            with_people=[find_person(album, one) for one in shown or ()],
            without_people=[find_person(album, one) for one in absent or ()],
            since=first,
            until=last,
        )
        for photo in photos:
            found += 1
            if as_json:
                record = {"photo": photo.path, "people": photo.people, "taken": photo.taken}
                print_json(record)
            else:
                print_path(photo.path, null=null)
        if not found:
            say(f"{album.path}: no such photo")
