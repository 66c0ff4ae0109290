"""`facerec download`: download weights and data sets, and look after the store."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facerec.cli.asking import confirmed
from facerec.cli.completing import complete_downloadable, complete_profile
from facerec.cli.console import Results, can_draw, live_progress, progress, say
from facerec.cli.help import INPUT, RUNTIME, App
from facerec.cli.options import (
    DOWNLOAD_OUT,
    OFFLINE,
    Json,
    ProfileOptions,
    argument,
    force_option,
    option,
    profile_options,
)
from facerec.errors import MissingError, UsageError
from facerec.registry import DETECTORS

if TYPE_CHECKING:
    from facerec.profile.loading import Profile
    from facerec.profile.schema import DownloadSection
    from facerec.weights.catalog import Record
    from facerec.weights.downloads import Fetch
    from facerec.weights.transfer import Progress

app = App(
    no_args_is_help=True,
    examples=["facerec download list", "facerec download weights yunet"],
)


@app.callback()
def download() -> None:
    """Bring weights and data sets into the store, and look after it.

    The store is in FACEREC_HOME, or in the platform's cache folder. Proxies are taken from
    HTTPS_PROXY and its like.
    """


Name = Annotated[
    str,
    argument(help="A name of the catalogue, or a group.", autocompletion=complete_downloadable),
]
Yes = Annotated[
    bool, option("--yes", "-y", panel=RUNTIME, help="Accept licences that restrict the use.")
]
From = Annotated[
    Path | None,
    option(
        "--from",
        panel=INPUT,
        metavar="FILE|DIR",
        help="Take the files from here, not from the network.",
    ),
]


@app.command("list", examples=["facerec download list"])
@profile_options(DOWNLOAD_OUT)
def list_names(as_json: Json = None, *, profile: ProfileOptions) -> None:
    """List everything that has a name; what is in the store or in --out is here."""
    from facerec.weights.catalog import read_catalogue
    from facerec.weights.downloads import is_present

    out = profile.load().download.out
    known = read_catalogue()
    results = Results(
        "name", "kind", "size", "commercial use", "here", "licence",
        as_json=as_json, least=("kind", "commercial use"),
    )  # fmt: skip
    for kind in ("models", "weights", "data"):
        for name, record in getattr(known, kind).items():
            here, size = is_present(name, record, out), record.size
            results.add(
                {
                    "name": name,
                    "kind": kind,
                    "size": size,
                    "licence": record.licence,
                    "commercial": record.commercial,
                    "here": here,
                },
                (
                    name, kind, _mebibytes(size), "yes" if record.commercial else "no",
                    "yes" if here else "no", record.licence,
                ),
            )  # fmt: skip
    results.close()


@app.command(examples=["facerec download show yunet"])
def show(name: Name, as_json: Json = None) -> None:
    """Show all that the catalogue knows of a name."""
    results = Results("key", "value", as_json=as_json)
    for member, record in _records(name).items():
        fields = record.model_dump(mode="json", exclude_none=True)
        flat = [(key, value) for key, value in fields.items() if not isinstance(value, dict)]
        for section in ("file", "card"):
            inner = fields.get(section, {})
            flat += [(f"{section}.{key}", value) for key, value in inner.items()]
        results.add(
            {"name": member, **fields},
            ("name", member),
            *((key, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
              for key, value in flat),
        )  # fmt: skip
    results.close()


@app.command(
    examples=["facerec download weights yunet", "facerec download weights w600k_mbf --yes"]
)
@profile_options(DOWNLOAD_OUT, OFFLINE)
def weights(
    name: Name,
    yes: Yes = False,
    source: From = None,
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Download a model's or a detector's weights."""
    _obtain_all(_records(name, "models", "weights"), yes, source, profile.load().download, as_json)


@app.command(
    examples=[
        "facerec download data train --yes",
        "facerec download data train --from /mnt/archives",
    ]
)
@profile_options(DOWNLOAD_OUT, OFFLINE)
def data(
    name: Name,
    yes: Yes = False,
    source: From = None,
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Download and extract a data set."""
    _obtain_all(_records(name, "data"), yes, source, profile.load().download, as_json)


@app.command("all-for", examples=["facerec download all-for accurate"])
@profile_options(DOWNLOAD_OUT, OFFLINE)
def all_for(
    wanted: Annotated[
        str | None,
        argument(
            "[PROFILE]",
            help="A shipped profile, or a YAML file.",
            autocompletion=complete_profile,
            show_default=False,
        ),
    ] = None,
    yes: Yes = False,
    source: From = None,
    as_json: Json = None,
    *,
    profile: ProfileOptions,
) -> None:
    """Download what a profile names: weights and, for training, data sets."""
    chosen = profile if wanted is None else dataclasses.replace(profile, name=wanted)
    loaded = chosen.load()
    records: dict[str, Record] = {}
    for network in loaded.model.members():
        if not Path(network.only_name).is_file():
            records |= _records(network.only_name, "models", "weights")
    if loaded.detector.weights is None:
        records |= _detector_weights(loaded.detector.name)
    records |= _data_sets(loaded)
    _obtain_all(records, yes, source, loaded.download, as_json)


@app.command(examples=["facerec download verify"])
def verify(
    name: Annotated[
        str | None,
        argument(help="A name; without it all that is here.", autocompletion=complete_downloadable),
    ] = None,
    as_json: Json = None,
) -> None:
    """Check downloaded files against their hashes; exit code 4 if one is damaged."""
    from facerec.weights.catalog import read_catalogue
    from facerec.weights.downloads import check, is_present

    chosen = (
        {name: record for name, record in read_catalogue().records.items()
         if is_present(name, record)}
        if name is None else _records(name)
    )  # fmt: skip
    results = Results("name", "state", as_json=as_json)
    states = {}
    with progress("checking", len(chosen)) as advance:
        for member, record in chosen.items():
            states[member] = check(member, record)
            advance()
    for member, state in states.items():
        results.add({"name": member, "state": state}, (member, state))
    results.close()
    bad = [member for member, state in states.items() if state != "sound"]
    if bad:
        raise MissingError(
            f"{', '.join(bad)}: not sound; facerec download remove NAME, then download it again"
        )


@app.command(examples=["facerec download path yunet"])
def path(name: Name) -> None:
    """Print where a name's file, or its extracted folder, is."""
    from facerec.weights.downloads import is_present, result_path

    for member, record in _records(name).items():
        place = result_path(member, record)
        if not is_present(member, record):
            raise MissingError(f"{member} is not downloaded")
        sys.stdout.write(f"{place}\n")


@app.command(examples=["facerec download remove yunet"])
def remove(
    name: Name, force: Annotated[bool, force_option("Remove without asking.")] = False
) -> None:
    """Remove a name's files from the store (asks, unless --force)."""
    from facerec.weights.downloads import folder_of, remove

    for member in _records(name):
        if not force and not confirmed(f"Remove {folder_of(member)}?"):
            raise UsageError("nothing was removed")
        remove(member)
        say(f"{member}: removed")


def _records(name: str, *kinds: str) -> dict[str, Record]:
    from facerec.weights.catalog import find_names, read_catalogue

    known = read_catalogue()
    records: dict[str, Record] = {}
    for kind in kinds or ("models", "weights", "data"):
        records |= getattr(known, kind)
    return {member: records[member] for member in find_names(name, records)}


def _detector_weights(name: str) -> dict[str, Record]:
    """What a detector needs: the file of a pip package, if that is installed, else one to
    download."""
    from facerec.weights.downloads import is_present

    packaged, needed = (DETECTORS.fact(name, fact) for fact in ("packaged", "weights"))
    if packaged is not None:
        records = _records(packaged)
        if is_present(packaged, records[packaged]):
            return records
    return {} if needed is None else _records(needed)


def _data_sets(profile: Profile) -> dict[str, Record]:
    """Of a profile that trains on a data set of the catalogue, that and its evaluation sets."""
    from facerec.weights.catalog import read_catalogue

    known = read_catalogue().data
    given = profile.data.train or ()
    training = [name for name in ([given] if isinstance(given, str) else given) if name in known]
    sets = profile.evaluate.sets if training else ()
    return {name: known[name] for name in (*training, *sets) if name in known}


def _fetch(section: DownloadSection, source: Path | None) -> Fetch:
    from facerec.weights.downloads import copy_from, refuse_network
    from facerec.weights.transfer import transfer

    if source is not None:
        return copy_from(source)
    return refuse_network if section.offline else partial(transfer, attempts=section.attempts)


def _obtain_all(
    records: Mapping[str, Record], yes: bool, source: Path | None, section: DownloadSection,
    as_json: bool | None,
) -> None:  # fmt: skip
    from facerec.weights.catalog import PackageFile
    from facerec.weights.downloads import is_present, lay_out, obtain

    fetch = _fetch(section, source)
    results = Results("name", "path", as_json=as_json)
    for name, record in records.items():
        if isinstance(record.file, PackageFile):
            record.file.find()
            say(f"{name} comes in a pip package; nothing has to be downloaded")
            continue
        if not is_present(name, record, section.out):
            _accept_licence(name, record, yes)
        with _bar(name) as report:
            place = (
                obtain(name, record, report, say, fetch)
                if section.out is None
                else lay_out(name, record, section.out, report, say, fetch)
            )
        results.add({"name": name, "path": str(place)}, (name, str(place)))
    results.close()


def _accept_licence(name: str, record: Record, yes: bool) -> None:
    say(f"{name}: licence: {record.licence}")
    if record.commercial or yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{name}: its licence restricts the use; --yes accepts it")
    if not typer.confirm("Do you accept it?", err=True):
        raise UsageError(f"{name}: not accepted, nothing was downloaded")


@contextmanager
def _bar(name: str) -> Iterator[Progress]:
    """Bytes, speed and time left on stderr, where stderr is a terminal."""
    if not can_draw():
        yield lambda here, total: None
        return
    from rich.progress import DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(compact=True))
    with live_progress(columns) as bar:
        task = bar.add_task(name, total=None)
        yield lambda here, total: bar.update(task, completed=here, total=total)


def _mebibytes(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 2**20:.1f} MiB"
