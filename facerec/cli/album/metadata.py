"""`facerec album read` and `write`: names in the photos' own metadata."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, cast

from facerec.cli.album.options import open_it
from facerec.cli.completing import one_of
from facerec.cli.console import Results, exit_with_failures, progress, say
from facerec.cli.help import OUTPUT, App
from facerec.cli.options import ALBUM, Json, ProfileOptions, force_option, option, profile_options
from facerec.errors import UsageError
from facerec.files.text import counted

if TYPE_CHECKING:
    from facerec.album.metadata.taking import Named
    from facerec.album.metadata.writing import Written

_WHERE = ("sidecar", "embedded")


def register(app: App) -> None:
    """Add the commands of this theme."""
    app.command(
        examples=[
            "facerec album write --xmp sidecar            # says what it would do",
            "facerec album write --xmp embedded --force   # does it; album undo takes it back",
        ]
    )(write)
    app.command(examples=["facerec album read"])(read)


@profile_options(ALBUM)
def write(
    xmp: Annotated[
        str,
        option(
            "--xmp",
            panel=OUTPUT,
            metavar="|".join(_WHERE),
            help="Into a file beside each photo, or into the photo where its format allows.",
            autocompletion=one_of(*_WHERE),
        ),
    ],
    grouped: Annotated[
        bool,
        option(
            "--grouped", panel=OUTPUT, help="Also faces of named people that nobody has confirmed."
        ),
    ] = False,
    force: Annotated[
        bool, force_option("Write them; without it only say what would be written.")
    ] = False,
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Write names of confirmed faces into photos' XMP, where other programs read them.

    Regions as of the Metadata Working Group, keywords and people in the picture. A name that you
    rejected for a face is taken away from it there. All other metadata and the pixels stay;
    `facerec album undo` gives every byte back.
    """
    if xmp not in _WHERE:
        raise UsageError(f"--xmp {xmp}: choose {' or '.join(_WHERE)}")
    from facerec.album.metadata.writing import count_told, write_names

    results = Results("file", "names", as_json=as_json)
    files = failures = 0
    with open_it(profile, write=force) as album:
        with progress("writing", count_told(album, grouped=grouped)) as advance:
            for done in write_names(album, cast(Any, xmp), grouped=grouped, write=force):
                advance()
                if done.error is not None:
                    advance.say(done.error)
                    failures += 1
                files += len(done.changes)
                _add_written(results, done, force)
        results.close(title=str(album.path))
        verb = "written" if force else "would be written"
        passed = counted(failures, "photo")
        say(f"{album.path}: {counted(files, 'file')} {verb}, {passed} passed over")
    if files and not force:
        say("nothing is changed yet; --force does it")
    exit_with_failures(failures)


def _add_written(results: Results, done: Written, written: bool) -> None:
    if done.error is not None:
        results.add({"photo": done.path, "file": None, "names": [], "error": done.error})
    for change in done.changes:
        record = {
            "photo": done.path, "file": str(change.path), "names": list(change.names),
            "embedded": change.embedded, "written": written,
        }  # fmt: skip
        results.add(record, (str(change.path), ", ".join(change.names)))


@profile_options(ALBUM)
def read(
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Take in the names that other programs wrote: MWG, Microsoft, digiKam, Picasa.

    A name at a face's place becomes a decision, as if you had confirmed it; what you have decided
    before stays. `facerec album undo` takes all of it back.
    """
    from facerec.album.journal import step
    from facerec.album.metadata.taking import (
        Named,
        count_elsewhere,
        count_files,
        find_names,
        take_names,
    )

    results = Results("photo", "name", "outcome", "remark", as_json=as_json, least=("remark",))
    found: list[Named] = []
    failures = 0
    with open_it(profile, write=True) as album:
        with progress("reading", count_files(album)) as advance:
            for one in find_names(album, advance):
                if isinstance(one, Named):
                    found.append(one)
                    _add_named(results, one)
                else:
                    advance.say(one.message)
                    failures += 1
        with step(album, "read names from photos"):
            take_names(album, found)
        elsewhere = count_elsewhere(album)
        results.close(title=str(album.path))
        counts = Counter(one.outcome for one in found)
        say(
            f"{album.path}: {counted(counts['confirmed'], 'name')} taken in, "
            f"{counts['known']} known, "
            f"{counts['no face']} without a face, {counts['conflict']} that you decided otherwise, "
            f"{counts['unusable']} unusable"
        )
        if elsewhere:
            say(
                f"{counted(elsewhere, 'photo is', 'photos are')} out of reach (in archives, behind "
                "URLs, or not there); no metadata were read there"
            )
    exit_with_failures(failures + elsewhere)


def _add_named(results: Results, one: Named) -> None:
    region = one.region
    record = {
        "photo": one.path, "name": region.name, "source": region.source, "face": one.face,
        "region": None if region.box is None else [round(side, 6) for side in region.box],
        "outcome": one.outcome, "remark": one.remark,
    }  # fmt: skip
    results.add(record, (one.path, region.name, one.outcome, one.remark))
