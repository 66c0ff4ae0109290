"""Text files of protocols: UTF-8, with or without a byte-order mark."""

from __future__ import annotations

from pathlib import Path

from facerec.errors import MissingError, UsageError


def read_text(path: str | Path) -> str:
    """A text file's content.

    Raises:
        MissingError: it cannot be read.
        UsageError: it is no text.
    """
    try:
        return decode_text(Path(path).read_bytes(), str(path))
    except OSError as error:
        raise MissingError(f"{path}: {error.strerror}") from error


def decode_text(data: bytes, where: str) -> str:
    """UTF-8 text.

    Raises:
        UsageError: it is none; `where` names it.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{where}: not a text file") from error
