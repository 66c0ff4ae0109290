"""`facerec album scan`: find all faces of all photos."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from facerec.cli.console import Results, exit_with_failures, progress, say, waiting
from facerec.cli.help import App
from facerec.cli.loading import load_engine
from facerec.cli.options import (
    ALBUM,
    BATCH,
    DETECTOR,
    MIN_FACE,
    SECOND_LOOK,
    WORKERS,
    Json,
    NullSeparated,
    ProfileOptions,
    argument,
    profile_options,
    standard_input,
)
from facerec.errors import InputError


def register(app: App) -> None:
    """Add the commands of this theme."""
    app.command(
        examples=[
            "facerec album scan ~/Pictures          # again: only what is new or moved",
            "facerec album scan 2019.zip s3://family/2020 -a family.db",
        ]
    )(scan)


@profile_options(ALBUM, DETECTOR, MIN_FACE, SECOND_LOOK, WORKERS, BATCH)
def scan(
    photos: Annotated[
        list[str],
        argument(
            "PHOTOS…", help="Photos, folders, archives, URLs of all these, or - for paths on stdin."
        ),
    ],
    null: NullSeparated = False,
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Find all faces of all photos, and remember them in the album.

    What is there already, by content, is not read again; moved and renamed photos are recognised.
    An interrupted scan goes on where it stopped.
    """
    loaded = profile.load()
    from facerec.album.store import open_album
    from facerec.imaging.sources import find_photos

    with waiting("listing photos"):
        listed = list(find_photos(photos, stdin=standard_input(), null=null))
    if not listed:
        raise InputError(f"{photos[0]}: no photos there")
    with open_album(loaded.album.path, create=True) as album:
        from facerec.album.scan import Scan, remove_gone, scan_photos, unknown_photos

        unknown = unknown_photos(album, listed)
        report = Scan()
        if unknown:
            engine = load_engine(loaded)
            with progress("scanning", len(unknown)) as advance:

                def observe(problem: str) -> None:
                    advance()
                    if problem:
                        advance.say(problem)

                report = scan_photos(album, unknown, engine, loaded, observe=observe)
        report.photos = len(listed)
        report.known += len(listed) - len(unknown)
        report.gone = remove_gone(album, listed)
    results = Results(
        "photos", "new", "changed", "known", "moved", "gone", "faces", as_json=as_json
    )
    counts = dataclasses.asdict(report)
    shown = ("photos", "new", "changed", "known", "moved", "gone", "faces")
    results.add({"album": str(loaded.album.path), **counts}, [str(counts[one]) for one in shown])
    results.close(title=str(loaded.album.path))
    say(
        f"{loaded.album.path}: {report.new} new photos with {report.faces} faces "
        f"({report.no_face} without one), {report.changed} changed, {report.known} known "
        f"({report.moved} moved), {report.gone} gone, {len(report.failed)} unreadable"
    )
    exit_with_failures(len(report.failed))
