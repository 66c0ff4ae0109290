"""`facerec album scan`: find all faces of all photos."""

from __future__ import annotations

import dataclasses
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from facerec.errors import InputError, UsageError
from facerec.files.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facerec.album.scan import Scan
    from facerec.album.store import Album
    from facerec.imaging.photos import Photo
    from facerec.profile.loading import Profile


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
    An interrupted scan goes on where it stopped. Under torchrun the same command divides the photos
    among several processes of one machine.
    """
    loaded = profile.load()
    from facerec.imaging.sources import find_photos

    shared = "RANK" in os.environ
    if shared and "-" in photos:
        raise UsageError("-: several processes cannot share standard input; give paths")
    with waiting("listing photos"):
        listed = list(find_photos(photos, stdin=standard_input(), null=null))
    if not listed:
        # Of an empty list on stdin, which was told.
        return
    if not any(photo.path is None or photo.path.is_file() for photo in listed):
        # Fail before PyTorch is loaded, and before an album is made.
        first = Path(str(listed[0]))
        raise InputError(f"{first}: {'no photos there' if first.exists() else 'no such file'}")
    report = _scan_shared(loaded, listed) if shared else _scan_alone(loaded, listed)
    if report is None:
        # Not rank 0.
        return
    counts = dataclasses.asdict(report)
    results = Results(*_COUNTS, as_json=as_json)
    results.add({"album": str(loaded.album.path), **counts}, [str(counts[one]) for one in _COUNTS])
    results.close(title=str(loaded.album.path))
    say(
        f"{loaded.album.path}: {counted(report.new, 'new photo')} with "
        f"{counted(report.faces, 'face')} "
        f"({report.no_face} without one), {report.changed} changed, {report.known} known "
        f"({report.moved} moved), {report.gone} gone, {len(report.failed)} unreadable"
    )
    exit_with_failures(len(report.failed))


_COUNTS = ("photos", "new", "changed", "known", "moved", "gone", "faces")


def _scan_alone(profile: Profile, listed: Sequence[Photo]) -> Scan:
    """Scan in this process, and in the engine's workers."""
    from facerec.album.store import open_album
    from facerec.files.locking import locked

    path = profile.album.path
    with locked(path), open_album(path, create=True) as album:
        from facerec.album.listing import remove_gone, unknown_photos
        from facerec.album.moved import place_known
        from facerec.album.scan import Scan

        unknown = unknown_photos(album, listed)
        runtime = profile.runtime
        with progress("looking at moved photos", len(unknown)) as advance:
            known, moved = place_known(
                album, unknown, max_pixels=runtime.max_pixels, workers=runtime.workers,
                observe=advance,
            )  # fmt: skip
        # PyTorch is not waited for where nothing is new.
        report = _read(album, unknown[known:], profile) if known < len(unknown) else Scan()
        report = dataclasses.replace(report, known=report.known + known, moved=report.moved + moved)
        return report.completed(listed, unknown, remove_gone(album, listed))


def _scan_shared(profile: Profile, listed: Sequence[Photo]) -> Scan | None:
    """Scan this rank's share of the photos; rank 0 gets the whole report, the others None."""
    from facerec.album.listing import remove_gone, unknown_photos
    from facerec.album.scan import merge_scans
    from facerec.album.store import open_album
    from facerec.files.locking import locked
    from facerec.parallel.ranks import (
        barrier,
        device_setting,
        gather_shards,
        process_group,
        rank,
        shard,
        world_size,
    )

    path = profile.album.path
    with ExitStack() as stack:
        device = stack.enter_context(process_group(profile.runtime.device))
        setting = device_setting(profile.runtime.device, device)
        runtime = profile.runtime.model_copy(update={"device": setting})
        profile = profile.model_copy(update={"runtime": runtime})
        if rank() == 0:
            stack.enter_context(locked(path))
            open_album(path, create=True).close()
        barrier()
        album = stack.enter_context(open_album(path))
        unknown = unknown_photos(album, listed)
        # Every rank must know what is new before any of them writes it.
        barrier()
        reports = gather_shards([_read(album, shard(unknown), profile)], world_size())
        if rank() != 0:
            return None
        return merge_scans(reports).completed(listed, unknown, remove_gone(album, listed))


def _read(album: Album, photos: Sequence[Photo], profile: Profile) -> Scan:
    from facerec.album.scan import scan_photos

    engine = load_engine(profile)
    with progress("scanning", len(photos)) as advance:

        def observe(problem: str) -> None:
            advance()
            if problem:
                advance.say(problem)

        return scan_photos(album, photos, engine, profile, observe=observe)
