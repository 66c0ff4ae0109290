"""`facerec album group`: who is who."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

from facerec.cli.album.options import open_it
from facerec.cli.console import Results, progress, say
from facerec.cli.help import CLUSTERING, App
from facerec.cli.options import ALBUM, Json, ProfileOptions, option, profile_options
from facerec.errors import IncompatibleError
from facerec.files.text import counted

if TYPE_CHECKING:
    from facerec.album.seeds import Seeds
    from facerec.album.store import Album


def register(app: App) -> None:
    """Add the commands of this theme."""
    app.command(
        examples=["facerec album group", "facerec album group -g friends.h5   # with their names"]
    )(group)


@profile_options(ALBUM)
def group(
    gallery: Annotated[
        str | None,
        option(
            "--gallery",
            "-g",
            panel=CLUSTERING,
            help="Whoever resembles its people gets their name, now and in later groupings.",
            metavar="ADDRESS",
        ),
    ] = None,
    distance_threshold: Annotated[
        float | None,
        option(
            "--distance-threshold",
            panel=CLUSTERING,
            min=0.0,
            help="Groups this far apart or farther are not joined.",
            default="measured on the album's faces",
        ),
    ] = None,
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Group all faces by person.

    Two faces of one photo are two people, and what you decided is binding. People keep their ids
    and names; new photos join them. Faces that are like nobody's stay without a person.
    """
    with open_it(profile, write=True) as album:
        from facerec.album.grouping import PASSES
        from facerec.album.regroup import regroup

        seeds = _seeds(album, gallery)
        found = album.row("SELECT count(*) FROM faces")
        faces = 0 if found is None else int(found[0])
        with progress("grouping", PASSES * faces) as advance:
            report = regroup(album, seeds=seeds, distance=distance_threshold, advance=advance)
        path = str(album.path)
    counts = dataclasses.asdict(report)
    shown = ("faces", "people", "unnamed", "nobody", "joined", "left", "moved")
    results = Results(*shown, as_json=as_json)
    counts["threshold"] = round(report.threshold, 4)
    results.add({"album": path, **counts}, [str(counts[one]) for one in shown])
    results.close(title=path)
    all_faces = f"of {report.faces} faces"
    nobody = counted(report.nobody, f"{all_faces} belongs", f"{all_faces} belong")
    say(
        f"{path}: {counted(report.people, 'person', 'people')} with a name, "
        f"{counted(report.unnamed, 'group')} without one, "
        f"{nobody} to nobody yet; {report.joined} joined, "
        f"{report.left} left, {report.moved} moved (similarity "
        f"{report.threshold:.4f} or more, {report.reason})"
    )


def _seeds(album: Album, gallery: str | None) -> Seeds | None:
    """The faces of the gallery that was asked for, now or the last time."""
    from facerec.album.export import album_card
    from facerec.album.seeds import Seeds, remember_gallery, remembered_gallery
    from facerec.gallery.addresses import backend_of, open_gallery

    address = gallery or remembered_gallery(album)
    if address is None:
        return None
    if gallery is None and not backend_of(address).exists(address):
        say(f"{address}: is no longer there; grouped without it")
        return None
    try:
        seeds = Seeds.of(open_gallery(address), album_card(album), address)
    except IncompatibleError as error:
        if gallery is not None:
            raise
        say(f"{error}; grouped without it")
        return None
    if gallery is not None:
        remember_gallery(album, address)
    return seeds
