"""`facerec album export`: the confirmed faces as a gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from facerec.cli.album.options import open_it
from facerec.cli.console import Results, say
from facerec.cli.help import OUTPUT, App
from facerec.cli.options import ALBUM, Json, ProfileOptions, force_option, option, profile_options
from facerec.files.text import counted
from facerec.files.writing import check_output


def register(app: App) -> None:
    """Add the commands of this theme."""
    app.command(
        examples=[
            "facerec album export -o friends.h5",
            "facerec recognize image party.jpg -g friends.h5",
        ]
    )(export)


@profile_options(ALBUM)
def export(
    out: Annotated[
        Path, option("--out", "-o", panel=OUTPUT, metavar="FILE", help="The gallery, an HDF5 file.")
    ],
    force: Annotated[bool, force_option("Replace a gallery that is there.")] = False,
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Write the confirmed faces of everybody who has a name as a gallery for other commands."""
    loaded = profile.load()
    check_output(out, force=force, inputs=[loaded.album.path])
    with open_it(profile) as album:
        from facerec.album.export import export_confirmed

        counts = export_confirmed(album, out)
    results = Results("person", "faces", as_json=as_json)
    for person, faces in counts.items():
        results.add({"person": person, "faces": faces}, (person, str(faces)))
    results.close(title=str(out))
    people = counted(len(counts), "person", "people")
    say(f"{out}: {people} with {counted(sum(counts.values()), 'face')}")
