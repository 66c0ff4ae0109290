"""Files behind URLs, by fsspec: s3://, https://, memory://, zip:// and every other it knows."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from facerec.errors import (
    FacerecError,
    InputError,
    MissingError,
    UsageError,
    without_credentials,
)
from facerec.imaging.contents import START
from facerec.imaging.photos import MAX_FILE


class Remote:
    """A file or folder behind a URL.

    Attributes:
        name: the URL without credentials.

    Raises:
        MissingError: fsspec, or the package that it needs for this URL, is not installed.
        UsageError: fsspec does not know such URLs.
    """

    def __init__(self, url: str) -> None:
        self.name = without_credentials(url)
        try:
            import fsspec
        except ImportError as error:
            raise MissingError(
                f"{self.name}: fsspec is not installed; pip install 'facerec[fsspec]'"
            ) from error
        try:
            self._system, self._path = fsspec.core.url_to_fs(url)
        except ImportError as error:
            raise MissingError(f"{self.name}: {error}") from error
        except ValueError as error:
            raise UsageError(f"{self.name}: {error}") from error

    def open(self) -> IO[bytes]:
        """Open the file, seekable; without range requests it is copied into an unnamed temporary
        file first.

        Raises:
            InputError: it cannot be read.
        """
        with _explained(self.name):
            file: IO[bytes] = self._system.open(self._path, "rb")
            if _gives_parts(file):
                return file
            copy = tempfile.TemporaryFile()  # noqa: SIM115  (it is the caller's)
            with self._system.open(self._path, "rb", block_size=0) as stream:
                shutil.copyfileobj(stream, copy, 1 << 20)
            copy.seek(0)
            return copy

    def read_file(self) -> bytes:
        """The bytes of the file.

        Raises:
            InputError: it cannot be read, or is longer than an image can be.
        """
        return _read(self._system, self._path, self.name)

    def start_of_file(self) -> bytes:
        """The first bytes of the file; empty if it is a folder, or cannot be read."""
        try:
            with _explained(self.name), self._system.open(self._path, "rb", block_size=0) as file:
                start: bytes = file.read(START)
        except InputError:
            return b""
        return start

    def names(self) -> Iterable[str]:
        """All files below the folder, relative to it.

        Raises:
            InputError: it cannot be listed.
        """
        with _explained(self.name):
            found = self._system.find(self._path)
        return [path.removeprefix(self._root) for path in found if path.startswith(self._root)]

    def start(self, key: str) -> bytes:
        """Empty: a request for each file would be costly, see `Source.start`."""
        return b""

    def read(self, key: str) -> bytes:
        """See `Source.read`."""
        return _read(self._system, self._root + key, f"{self.name.rstrip('/')}/{key}")

    @property
    def _root(self) -> str:
        return self._path.rstrip("/") + "/" if self._path else ""


def _gives_parts(file: IO[bytes]) -> bool:
    """Whether a file has random access; a web server's support shows only on trying."""
    if not file.seekable():
        return False
    try:
        file.seek(max(file.seek(0, 2) - 1, 0))
        file.read(1)
    except ValueError:
        return False
    file.seek(0)
    return True


def _read(system: Any, path: str, name: str) -> bytes:
    with _explained(name), system.open(path, "rb") as file:
        # A server may send without end.
        data: bytes = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise InputError(f"{name}: more than {MAX_FILE} bytes, more than an image can have")
    return data


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn the errors of fsspec's file systems into one line each."""
    try:
        yield
    except FacerecError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{name}: no such file") from error
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{name}: cannot be read: {reason[:200]}") from error
