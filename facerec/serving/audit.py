"""The audit log: who enrolled, renamed or removed whom, and when; never an image or a vector."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime, timezone
from pathlib import Path

from facerec.errors import UsageError
from facerec.serving.answers import log
from facerec.serving.callers import CALLER


class Audit:
    """Appends JSON lines to a file, or writes them to stderr.

    A line is on disk before the request that it tells of is answered.

    Args:
        path: the file, which only its owner can read if it is made now; None: stderr.

    Raises:
        UsageError: it cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        if path is not None:
            try:
                os.close(self._open(path))
            except OSError as error:
                raise UsageError(f"--audit {path}: {error.strerror}") from error

    def note(self, event: str, person: str, *, ids: list[str], faces: int, **facts: str) -> None:
        """Tell of a change that is made.

        Args:
            event: `enrol`, `rename`, `merge`, `delete` or `expire`.
            person: of whom.
            ids: of the entries that came or went, where it was not all.
            faces: how many came or went.
        """
        caller = CALLER.get()
        record = {
            "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "event": event,
            "person": person,
            "ids": ids,
            "faces": faces,
            **facts,
            "key": caller.key,
            "client": caller.address,
        }
        line = (json.dumps(record) + "\n").encode()
        if self._path is None:
            sys.stderr.write(line.decode())
            sys.stderr.flush()
            return
        try:
            file = self._open(self._path)
            try:
                os.write(file, line)
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            # The change is made; that it was is told here.
            log.error("%s: %s; not written: %s", self._path, error.strerror, line.decode().rstrip())

    @staticmethod
    def _open(path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
