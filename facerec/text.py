"""Text files that people write: UTF-8, or whatever Windows' editors and PowerShell mark."""

from __future__ import annotations

import codecs
from pathlib import Path

from facerec.errors import MissingError, UsageError

# UTF-32's little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def marked_encoding(start: bytes) -> tuple[str, int]:
    """The encoding that a byte-order mark tells, UTF-8 without one, and the mark's length."""
    return next(
        ((name, len(mark)) for mark, name in _MARKS if start.startswith(mark)), ("utf-8", 0)
    )


def read_text(path: str | Path) -> str:
    """A text file's content; see `decode_text`.

    Raises:
        MissingError: it cannot be read.
        UsageError: it is no text.
    """
    try:
        return decode_text(Path(path).read_bytes(), str(path))
    except OSError as error:
        raise MissingError(f"{path}: {error.strerror}") from error


def decode_text(data: bytes, where: str) -> str:
    """UTF-8 text; UTF-16 or UTF-32 with a byte-order mark, which is left out.

    Raises:
        UsageError: it is none of these; names `where`, and the line that is not.
    """
    encoding, skipped = marked_encoding(data)
    try:
        text = data[skipped:].decode(encoding)
    except UnicodeDecodeError as error:
        line = data[skipped : skipped + error.start].count(b"\n") + 1
        byte = f"byte 0x{error.object[error.start]:02X}"
        raise UsageError(
            f"{where}:{line}: not {encoding.upper()} text ({byte}); save it as UTF-8"
        ) from error
    if "\0" in text:
        raise UsageError(f"{where}: not text, or UTF-16 without its mark; save it as UTF-8")
    return text
