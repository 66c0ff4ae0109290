"""API keys: a file of their hashes, each with a scope.

A key is 256 random bits, so its SHA-256 cannot be turned back by guessing, as a password's could.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from facerec.errors import MissingError, UsageError
from facerec.files.locking import locked
from facerec.files.parsing import parse_json
from facerec.files.text import read_text
from facerec.files.writing import replacing

SCOPES = ("read", "enrol", "admin")
"""Each allows what those before it allow: to ask; to add faces; to rename, merge and delete."""
_BYTES = 32
_CHECK = 1.0
"""Seconds between looks at the file."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key as the file keeps it.

    Attributes:
        name: whose it is, for people and the audit log.
        scope: one of `SCOPES`.
        sha256: hex hash of the key.
        made: when, in ISO 8601.
    """

    name: str
    scope: str
    sha256: str
    made: str

    def allows(self, scope: str) -> bool:
        """Whether what a scope allows is allowed to this key."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)


def add_key(path: Path, name: str, scope: str) -> str:
    """Make a key and write its hash into the file; returns the key, which is kept nowhere.

    Raises:
        UsageError: the name is taken or empty, or the file cannot be written.
        MissingError: the file is no file of keys.
    """
    if not name.strip() or not name.isprintable():
        raise UsageError(f"{name!r} is no usable name of a key: give printable characters")
    with locked(path):
        keys = read_keys(path) if path.exists() else []
        if any(key.name == name for key in keys):
            raise UsageError(f"{path}: there is a key called {name} already")
        key = secrets.token_urlsafe(_BYTES)
        made = datetime.now(timezone.utc).isoformat(timespec="seconds")
        _write(path, [*keys, Key(name, scope, _hash(key), made)])
    return key


def remove_key(path: Path, name: str) -> None:
    """Remove a key; a running server refuses it within a second.

    Raises:
        UsageError: there is none of that name, or the file cannot be written.
        MissingError: the file is absent, or no file of keys.
    """
    with locked(path):
        keys = read_keys(path)
        left = [key for key in keys if key.name != name]
        if len(left) == len(keys):
            raise UsageError(f"{path}: no key is called {name}")
        _write(path, left)


def read_keys(path: Path) -> list[Key]:
    """The keys of a file.

    Raises:
        MissingError: it is absent, or no file of keys.
    """
    try:
        keys = [_parse(entry) for entry in parse_json(read_text(path))["keys"]]
    except (ValueError, KeyError, TypeError, UsageError) as error:
        raise MissingError(
            f"{path}: no file of keys; make one with: facerec serve keys add {path} NAME"
        ) from error
    return keys


class Keys:
    """The keys that a running server accepts: those that the file holds now.

    Raises:
        MissingError: the file is absent, or no file of keys.
        UsageError: it holds no key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._looked = time.monotonic()
        self._version = self._read_version()
        self._keys: Sequence[Key] = read_keys(path)
        if not self._keys:
            raise UsageError(f"{path}: holds no key; facerec serve keys add {path} NAME")

    def find(self, given: str) -> Key | None:
        """The key that a request gives, or None. Takes the same time for every wrong one."""
        self._refresh()
        digest = _hash(given)
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found

    def holds(self, key: Key) -> bool:
        """Whether a key that was found is still accepted."""
        self._refresh()
        return key in self._keys

    def _refresh(self) -> None:
        if time.monotonic() - self._looked < _CHECK:
            return
        self._looked = time.monotonic()
        if (version := self._read_version()) != self._version:
            try:
                self._keys = read_keys(self._path)
            except MissingError:
                # A file that is gone or damaged gives nobody access.
                self._keys = ()
            self._version = version

    def _read_version(self) -> tuple[int, int, int] | None:
        try:
            facts = self._path.stat()
        except OSError:
            return None
        return facts.st_mtime_ns, facts.st_size, facts.st_ino


def _parse(entry: Any) -> Key:
    key = Key(*(entry[name] for name in Key.__slots__))
    if not all(isinstance(value, str) for value in asdict(key).values()):
        raise ValueError("a field is no text")
    if key.scope not in SCOPES or len(bytes.fromhex(key.sha256)) != hashlib.sha256().digest_size:
        raise ValueError("no such scope, or no hash")
    return key


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _write(path: Path, keys: Sequence[Key]) -> None:
    record = {"keys": [asdict(key) for key in keys]}
    with replacing(path) as temporary:
        if not path.exists():
            os.chmod(temporary, 0o600)  # noqa: PTH101
        temporary.write_text(json.dumps(record, ensure_ascii=False, indent=2) + "\n", "utf-8")
