"""The file of an album: opening, transactions, errors in one line.

SQLite in WAL mode: a reader sees the last commit while another process writes, and a killed process
loses its open transaction alone.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from facerec.album.purge import purge
from facerec.album.schema import APPLICATION, MIGRATIONS
from facerec.errors import FacerecError, IncompatibleError, MissingError, UsageError
from facerec.files.writing import check_output

_BUSY_SECONDS = 30.0

Row = tuple[Any, ...]


class Album:
    """An open album; `open_album` makes one. A context manager that closes it.

    Attributes:
        path: of its file.
        writable: whether it was opened for changes.
        patience: seconds for which another process is waited for.
    """

    def __init__(self, path: Path, database: sqlite3.Connection, *, writable: bool) -> None:
        self.path = path
        self.writable = writable
        self.patience = _BUSY_SECONDS
        self._database = database
        self._depth = 0

    def __enter__(self) -> Album:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; an open transaction is rolled back."""
        with suppress(sqlite3.Error):
            self._database.close()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Row]:
        """The rows of a query, as they are read."""
        with _explained(self.path):
            # Not `yield from`: who stops early may have closed the album before the cursor.
            for row in self._database.execute(sql, parameters):  # noqa: UP028
                yield row

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """The first row of a query; None without one."""
        with _explained(self.path):
            found: Row | None = self._database.execute(sql, parameters).fetchone()
            return found

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement, in a transaction of its own unless one is open."""
        with _explained(self.path):
            return self._database.execute(sql, parameters)

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each row; inside `transaction`."""
        with _explained(self.path):
            self._database.executemany(sql, rows)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that the block changes, or nothing if it raises; one inside another is part of it.

        Raises:
            UsageError: another process has been writing for half a minute, or the file cannot be
                written.
        """
        if self._depth == 0:
            self.execute("BEGIN IMMEDIATE")
        self._depth += 1
        try:
            yield
        except BaseException:
            self._depth -= 1
            if self._depth == 0:
                with suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
            raise
        self._depth -= 1
        if self._depth == 0:
            try:
                self.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise

    def meta(self, key: str) -> str | None:
        """A fact about the whole album; see `facerec.album.schema`."""
        found = self.row("SELECT value FROM meta WHERE key = ?", (key,))
        return None if found is None else str(found[0])

    def set_meta(self, key: str, value: str | None) -> None:
        """Set a fact, or with None remove it."""
        if value is None:
            self.execute("DELETE FROM meta WHERE key = ?", (key,))
        else:
            self.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def open_album(path: str | Path, *, create: bool = False, write: bool = True) -> Album:
    """Open an album.

    Args:
        create: make it where there is none.
        write: False for what only reads; works on a read-only disk too.

    Raises:
        MissingError: there is none, or the file is no album, or damaged.
        IncompatibleError: a newer facerec made it.
        UsageError: it cannot be written, or another process is writing it.
    """
    path = Path(path)
    new = _is_empty(path)
    if new and not create:
        raise MissingError(f"{path}: no such album; make one: facerec album scan PHOTOS")
    if write or new:
        check_output(path)
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
    album = Album(path, _connect(path, write=write or new), writable=write or new)
    try:
        version = _require_album(album, new=new)
        if version < len(MIGRATIONS) and not album.writable:
            album.close()
            open_album(path).close()
            return open_album(path, write=False)
        if album.writable:
            _prepare_for_changes(album)
        album.execute("PRAGMA foreign_keys = ON")
        # The file may be a stranger's: what its schema calls can reach nothing outside of it.
        album.execute("PRAGMA trusted_schema = OFF")
    except BaseException:
        album.close()
        raise
    return album


def _is_empty(path: Path) -> bool:
    """Whether nothing is there, or a file without a byte, as `mktemp` makes."""
    with _explained(path):
        if path.is_dir():
            raise MissingError(f"{path}: is a folder, not an album")
        return not path.exists() or (path.is_file() and path.stat().st_size == 0)


def _connect(path: Path, *, write: bool) -> sqlite3.Connection:
    mode = "rwc" if write else "ro"
    if not write and not os.access(path.parent, os.W_OK) and not _has_log(path):
        # SQLite keeps an index beside a file in WAL mode; without one to read it must be sure that
        # nobody writes.
        mode = "ro&immutable=1"
    address = f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}"
    with _explained(path):
        return sqlite3.connect(
            address, timeout=_BUSY_SECONDS, isolation_level=None, uri=True, check_same_thread=False
        )


def _has_log(path: Path) -> bool:
    """Whether commits lie in the write-ahead log beside it."""
    log = path.with_name(f"{path.name}-wal")
    return log.exists() and log.stat().st_size > 0


def _require_album(album: Album, *, new: bool) -> int:
    """The version of its tables, 0 for a new file.

    Raises:
        MissingError: the file is no album.
        IncompatibleError: it is newer than this facerec.
    """
    version = _number(album, "user_version")
    if not (new and version == 0) and _number(album, "application_id") != APPLICATION:
        raise MissingError(f"{album.path}: is an SQLite file, but no album")
    if version > len(MIGRATIONS):
        raise IncompatibleError(
            f"{album.path}: made by a newer facerec (version {version} of albums, this one reads "
            f"{len(MIGRATIONS)}); pip install --upgrade facerec"
        )
    return version


def _prepare_for_changes(album: Album) -> None:
    """Bring it to this version, and set up the connection."""
    if _number(album, "user_version") < len(MIGRATIONS):
        with album.transaction():
            # Read again: another process may have done it meanwhile.
            _migrate(album, _number(album, "user_version"))
    album.execute("PRAGMA journal_mode = WAL").fetchall()
    album.execute("PRAGMA synchronous = FULL")
    # What is deleted is overwritten.
    album.execute("PRAGMA secure_delete = ON").fetchall()
    if album.meta("purge") is not None:
        purge(album)


def _migrate(album: Album, version: int) -> None:
    for script in MIGRATIONS[version:]:
        # Not `executescript`, which commits before it begins.
        for statement in filter(str.strip, script.split(";")):
            album.execute(statement)
    album.execute(f"PRAGMA application_id = {APPLICATION}")
    album.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _number(album: Album, pragma: str) -> int:
    found = album.row(f"PRAGMA {pragma}")
    assert found is not None, "a pragma that is read has a value"
    return int(found[0])


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        # Ours to mend, not the user's.
        raise
    except OSError as error:
        raise _error(path, error.strerror or str(error)) from error
    except (sqlite3.Error, ValueError) as error:
        raise _error(path, str(error)) from error


def _error(path: Path, said: str) -> FacerecError:
    """What SQLite says, as one line of ours."""
    if "not a database" in said:
        return MissingError(f"{path}: is no album")
    if "malformed" in said or "no such table" in said or "no such column" in said:
        return MissingError(f"{path}: is damaged ({said}); take it from a backup, or scan anew")
    if "locked" in said or "busy" in said:
        return UsageError(f"{path}: another process is writing it; try again when it is done")
    if "readonly" in said or "read-only" in said:
        return UsageError(f"{path}: cannot be written: it is read-only")
    return UsageError(f"{path}: cannot be used: {said}")
