"""`facerec album migrate`: to another model."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

from facerec.cli.album.options import open_it
from facerec.cli.console import Results, exit_with_failures, progress, say
from facerec.cli.help import OUTPUT, App
from facerec.cli.loading import load_engine
from facerec.cli.options import (
    ALBUM,
    BATCH,
    WORKERS,
    Json,
    ProfileOptions,
    option,
    profile_options,
)
from facerec.files.text import counted


def register(app: App) -> None:
    """Add the commands of this theme."""
    app.command(
        examples=[
            "facerec album migrate --dry-run --set model.name=dlib_resnet_views",
            "facerec album migrate --set model.name=dlib_resnet_views",
        ]
    )(migrate)


@profile_options(ALBUM, WORKERS, BATCH)
def migrate(
    dry_run: Annotated[
        bool,
        option("--dry-run", panel=OUTPUT, help="Only say what would be done; change nothing."),
    ] = False,
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Move the album to the profile's model; names, decisions and ids stay.

    Every face is embedded again from its photo. Where photos are not there, a map learned from the
    other faces translates their vectors, which are marked until this command can embed them. An
    interrupted run goes on where it stopped; until it is done the album is of its old model.
    """
    loaded = profile.load()
    from facerec.album.migrate import LEAST, is_migrated, plan_migration
    from facerec.album.migrate import migrate as migrate_album
    from facerec.files.locking import locked

    with ExitStack() as stack:
        album = stack.enter_context(open_it(profile, write=not dry_run))
        if not dry_run:
            # A scan beside it would add vectors of the old model.
            stack.enter_context(locked(album.path))
        engine = load_engine(loaded)
        plan = report = plan_migration(album, engine.card)
        done = is_migrated(album, engine.card)
        if not (dry_run or done):
            with progress("embedding", plan.embedded) as advance:
                report = migrate_album(album, engine, loaded.runtime.max_pixels, observe=advance)
                for problem in report.failed.values():
                    advance.say(problem)
        name = engine.card.name
    results = Results("model", "faces", "embedded", "translated", as_json=as_json)
    likeness = None if report.translation is None else round(report.translation.likeness, 4)
    record = {
        "album": str(album.path), "model": name, "dry_run": dry_run, "faces": report.faces,
        "embedded": report.embedded, "translated": report.translated, "left": report.left,
        "likeness": likeness, "failed": report.failed,
    }  # fmt: skip
    results.add(record, (name, *map(str, (report.faces, report.embedded, report.translated))))
    results.close(title=str(album.path))
    if dry_run or done:
        told = (
            f"all faces have vectors of {name} already"
            if done
            else f"would embed {counted(plan.embedded, 'face')} from their photos, and translate "
            f"{plan.translated}"
        )
        say(f"{album.path}: {told}")
        return
    if report.left:
        say(
            f"{album.path}: stays as it was: the photos of {counted(report.left, 'face')} are not "
            f"there, and {counted(report.embedded, 'face is', 'faces are')} too few to learn a "
            f"translation from (at least {LEAST})"
        )
    else:
        told = f"{album.path}: is of {name} now"
        say(f"{told}: {counted(report.embedded, 'face')} embedded from their photos")
    if report.translated:
        mean = "" if likeness is None else f" (mean cosine with their own: {likeness:.2f})"
        faces = counted(report.translated, "face is", "faces are")
        say(f"{faces} translated{mean}; with their photos run this again")
    exit_with_failures(len(report.failed) + report.left)
