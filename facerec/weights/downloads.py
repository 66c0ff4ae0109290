"""The download store: a folder per name, hashes beside the files, locked while written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from facerec.errors import MissingError, UsageError
from facerec.files.hashing import sha256_of
from facerec.files.locking import locked
from facerec.files.writing import replacing
from facerec.weights.archives import DamagedArchiveError, extract
from facerec.weights.catalog import PackageFile, Record, RemoteFile, read_catalogue
from facerec.weights.folder import cache_folder
from facerec.weights.formats import is_of_format
from facerec.weights.transfer import Progress, discard, transfer

_EXTRACTED = "extracted"
_ARCHIVES = ("zip", "tar")


class Fetch(Protocol):
    """Downloads a file to a partial file; returns its hex SHA-256."""

    def __call__(self, file: RemoteFile, partial: Path, report: Progress) -> str: ...


def folder_of(name: str) -> Path:
    """Where a name's files are, or will be."""
    return cache_folder() / "downloads" / name


def is_present(name: str, record: Record, out: Path | None = None) -> bool:
    """Whether all of a name's files are in the store, or in an installed package.

    Args:
        out: a folder of `lay_out`, which counts too.
    """
    if out is not None and record.remote_files and laid_out_path(name, record, out).exists():
        return True
    if isinstance(record.file, PackageFile):
        try:
            record.file.find()
        except MissingError:
            return False
        return True
    folder = folder_of(name)
    return all((folder / file.name).is_file() for file in record.remote_files)


def result_path(name: str, record: Record) -> Path:
    """The path for other commands: the main file, or an archive's extracted folder.

    Raises:
        MissingError: the record's file is in a pip package.
    """
    if not record.remote_files:
        raise MissingError(f"{name} comes in a pip package; nothing has to be downloaded")
    extracted = folder_of(name) / _EXTRACTED
    return extracted if extracted.is_dir() else folder_of(name) / record.remote_files[0].name


def require_download(name: str, record: Record) -> Path:
    """The main file of a downloaded model.

    Raises:
        MissingError: it is not in the store; says how it gets there.
    """
    if not is_present(name, record):
        raise MissingError(
            f"{name} is not downloaded; get it with: facerec download weights {name}"
        )
    return folder_of(name) / record.remote_files[0].name


def require_data(name: str, record: Record, out: Path | None = None) -> Path:
    """The folder of a downloaded data set: the innermost that holds all of it.

    Args:
        out: a folder of `lay_out` to look in first.

    Raises:
        MissingError: it is not in the store; says how it gets there.
    """
    if out is not None and (laid_out := laid_out_path(name, record, out)).is_dir():
        return laid_out
    extracted = folder_of(name) / _EXTRACTED
    if not extracted.is_dir():
        raise MissingError(
            f"{name} is not downloaded; get it with: facerec download data {name} --yes"
        )
    return _innermost(extracted)


def place_of_data(where: str, out: Path | None = None) -> str:
    """What a path or a data set's name stands for; a path that exists comes first.

    Args:
        out: as in `require_data`.

    Raises:
        MissingError: the data set is not in the store; says how it gets there.
    """
    record = read_catalogue().data.get(where)
    if record is None or Path(where).exists():
        return where
    return str(require_data(where, record, out))


def _innermost(folder: Path) -> Path:
    """Descend past folders that hold one folder of folders and nothing else."""
    inside = [path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX"))]
    if len(inside) != 1 or not inside[0].is_dir():
        return folder
    return _innermost(inside[0]) if any(map(Path.is_dir, inside[0].iterdir())) else folder


def find_download(name: str) -> Path | None:
    """The main file of a name, or None where it is not in the store."""
    record = read_catalogue().records[name]
    return folder_of(name) / record.remote_files[0].name if is_present(name, record) else None


def laid_out_path(name: str, record: Record, out: Path) -> Path:
    """Where `lay_out` puts a name: an archive's folder, or the main file."""
    file = record.remote_files[0]
    return out / (name if file.format in _ARCHIVES else file.name)


def lay_out(
    name: str, record: Record, out: Path, report: Progress, say: Callable[[str], None], fetch: Fetch
) -> Path:
    """Bring a name's files into a folder of the user's, an archive as its content alone.

    What is there stays as it is. An interrupted download goes on from a hidden folder in `out`.

    Raises:
        MissingError, UsageError: as `obtain`.
    """
    target = laid_out_path(name, record, out)
    if target.exists():
        return target
    hidden = out / f".{name}.download"
    with locked(target, waiting=_waiting(name, say)):
        if target.exists():
            return target
        place = obtain(name, record, report, say, fetch, folder=hidden)
        try:
            if place.is_dir():
                _innermost(place).replace(target)
            else:
                # The main file, by which the others are taken to be there, is the last.
                for file in reversed(record.remote_files):
                    (hidden / file.name).replace(out / file.name)
        except OSError as error:
            raise UsageError(f"{target}: cannot be written: {error.strerror}") from error
        shutil.rmtree(hidden)
    return target


def obtain(
    name: str, record: Record, report: Progress, say: Callable[[str], None],
    fetch: Fetch = transfer, *, folder: Path | None = None,
) -> Path:  # fmt: skip
    """Bring all of a name's files into the store and extract archives; what is there stays.

    Several processes may ask for one name: the first downloads, the others wait for it.

    Args:
        folder: for the files, in place of the store's.

    Raises:
        MissingError: a file could not be had, or is not the catalogue's.
        UsageError: the store cannot be written.
    """
    folder = folder or folder_of(name)
    with locked(folder, waiting=_waiting(name, say)):
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise UsageError(f"{folder}: cannot be written: {error.strerror}") from error
        for file in record.remote_files:
            target = folder / file.name
            if not target.is_file():
                _obtain_file(file, target, report, say, fetch)
            if file.format in _ARCHIVES and not (target.parent / _EXTRACTED).is_dir():
                say(f"{name}: extracting {file.name}")
                _extract(file, target, report)
    extracted = folder / _EXTRACTED
    return extracted if extracted.is_dir() else folder / record.remote_files[0].name


def _extract(file: RemoteFile, archive: Path, report: Progress) -> None:
    try:
        extract(archive, archive.parent / _EXTRACTED, report=report)
    except DamagedArchiveError:
        if file.sha256 is None:
            # Nobody else vouches for it: the next attempt downloads it anew.
            archive.unlink()
            _pin(archive).unlink(missing_ok=True)
        raise


def _waiting(name: str, say: Callable[[str], None]) -> Callable[[], None]:
    return lambda: say(f"another facerec is downloading {name}; waiting for it")


def copy_from(place: Path) -> Fetch:
    """A `Fetch` from a local file, or by name from a folder such as a USB stick."""

    def fetch(file: RemoteFile, partial: Path, report: Progress) -> str:
        source = place / file.name if place.is_dir() else place
        if not source.is_file():
            raise MissingError(f"{source}: no such file")
        try:
            shutil.copyfile(source, partial)
        except OSError as error:
            raise UsageError(f"{partial}: cannot be written: {error.strerror}") from error
        digest = sha256_of(partial)
        if file.sha256 is not None and digest != file.sha256:
            discard(partial)
            raise MissingError(
                f"{source}: other content: sha256 is {digest[:12]}…, not {file.sha256[:12]}…"
            )
        if file.sha256 is None and not is_of_format(partial, file.format):
            discard(partial)
            raise MissingError(f"{source}: no whole {file.format} file")
        report(partial.stat().st_size, partial.stat().st_size)
        return digest

    return fetch


def refuse_network(file: RemoteFile, partial: Path, report: Progress) -> str:
    """A `Fetch` that fetches nothing.

    Raises:
        MissingError: always.
    """
    raise MissingError(f"{file.name} is not in the store, and --offline forbids to download it")


def check(name: str, record: Record) -> str:
    """`sound`, `not downloaded`, or what is wrong with a name's files.

    Raises:
        MissingError: the package that carries the file is absent.
    """
    if isinstance(record.file, PackageFile):
        path = record.file.find()
        return "sound" if sha256_of(path) == record.file.sha256 else f"{path.name}: damaged"
    if not is_present(name, record):
        return "not downloaded"
    for file in record.remote_files:
        path = folder_of(name) / file.name
        expected = file.sha256 or _pinned(path)
        if expected is None:
            return f"{file.name}: its pinned hash is missing"
        found = sha256_of(path)
        if found != expected:
            return f"{file.name}: damaged (sha256 {found[:12]}…, expected {expected[:12]}…)"
    return "sound"


def remove(name: str) -> None:
    """Remove a name's files from the store.

    Raises:
        MissingError: there are none.
        UsageError: they cannot be removed.
    """
    folder = folder_of(name)
    if not folder.is_dir():
        raise MissingError(f"{name} is not downloaded")
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be removed: {error.strerror}") from error


def _obtain_file(
    file: RemoteFile, target: Path, report: Progress, say: Callable[[str], None], fetch: Fetch
) -> None:
    partial = target.with_name(f"{target.name}.part")
    digest = fetch(file, partial, report)
    if file.sha256 is None:
        pinned = _pinned(target)
        if pinned is not None and pinned != digest:
            discard(partial)
            raise MissingError(
                f"{file.name}: other content than the first download's (sha256 {digest[:12]}…, "
                f"pinned {pinned[:12]}…)"
            )
        say(f"{file.name}: its publisher names no hash; pinned to sha256 {digest}")
    with replacing(_pin(target)) as temporary:
        temporary.write_text(f"{digest}  {file.name}\n", encoding="utf-8")
    with partial.open("rb+") as written:
        os.fsync(written.fileno())
    partial.replace(target)
    discard(partial)


def _pin(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _pinned(path: Path) -> str | None:
    try:
        return _pin(path).read_text(encoding="utf-8").split()[0]
    except (OSError, IndexError, UnicodeDecodeError):
        return None
