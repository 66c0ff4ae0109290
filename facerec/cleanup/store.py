"""What was learned of each image, by its hash, so that an interrupted survey goes on.

One SQLite file beside the report: SQLite keeps a killed run's whole batches.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from facerec.cleanup.photos import Facts, to_record
from facerec.errors import UsageError
from facerec.faces import Floats

_BATCH = 64
_BUSY_SECONDS = 60


class Store:
    """Vector, facts and thumbnail of images; a context manager that writes as it goes.

    Args:
        path: the file.
        origin: how the vectors are made; what was made in another way is forgotten.

    Raises:
        UsageError: the file is damaged or cannot be written.
    """

    def __init__(self, path: Path, origin: str) -> None:
        self._path = path
        self._pending: dict[str, tuple[bytes | None, str, bytes]] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                self._database.execute("CREATE TABLE IF NOT EXISTS origin (text TEXT)")
                self._database.execute(
                    "CREATE TABLE IF NOT EXISTS images"
                    " (sha256 TEXT PRIMARY KEY, vector BLOB, facts TEXT, thumbnail BLOB)"
                )
                stored = self._database.execute("SELECT text FROM origin").fetchone()
                if stored != (origin,):
                    self._database.execute("DELETE FROM images")
                    self._database.execute("DELETE FROM origin")
                    self._database.execute("INSERT INTO origin VALUES (?)", (origin,))
            rows = self._database.execute("SELECT sha256 FROM images")
            self._known = {digest for (digest,) in rows}
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from error

    @classmethod
    def reopen(cls, path: Path) -> Store:
        """What an earlier survey wrote, as it is."""
        with closing(sqlite3.connect(path)) as database:
            (origin,) = database.execute("SELECT text FROM origin").fetchone()
        return cls(path, origin)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what is pending."""
        self._flush()
        self._database.close()

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._known

    def get(self, sha256: str) -> tuple[Floats | None, Facts]:
        """The `(D,) float32` vector, or None without a face, and the facts of a known image."""
        vector, facts = self._column(sha256, "vector, facts", (0, 1))
        known = None if vector is None else np.frombuffer(vector, "<f4")
        return known, Facts(**json.loads(facts))

    def thumbnail(self, sha256: str) -> bytes:
        """A known image's small picture, WebP; empty for an image that is not known."""
        if sha256 not in self._known:
            return b""
        picture: bytes = self._column(sha256, "thumbnail", (2,))[0]
        return picture

    def put(self, sha256: str, vector: Floats | None, facts: Facts, thumbnail: bytes) -> None:
        """Remember an image."""
        data = None if vector is None else vector.astype("<f4").tobytes()
        self._known.add(sha256)
        self._pending[sha256] = data, json.dumps(to_record(facts)), thumbnail
        if len(self._pending) >= _BATCH:
            self._flush()

    def _column(self, sha256: str, names: str, places: tuple[int, ...]) -> tuple[Any, ...]:
        if sha256 in self._pending:
            return tuple(self._pending[sha256][place] for place in places)
        try:
            row: tuple[Any, ...] = self._database.execute(
                f"SELECT {names} FROM images WHERE sha256 = ?", (sha256,)
            ).fetchone()
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        return row

    def _flush(self) -> None:
        rows = [(digest, *values) for digest, values in self._pending.items()]
        try:
            with self._database:
                self._database.executemany(
                    "INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?)", rows
                )
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        self._pending.clear()

    def _unusable(self, error: Exception) -> UsageError:
        return UsageError(
            f"{self._path}: cannot be used ({error}); delete it, or choose another --report"
        )
