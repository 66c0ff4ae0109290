"""Text files that people write: UTF-8, or whatever Windows' editors and PowerShell mark."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number and what it counts: `1 photo`, `12 photos`.

    Args:
        many: what follows any other number than 1; None: `one` with an s.
    """
    return f"{number} {one if number == 1 else many or f'{one}s'}"


_UNDECODED = re.compile("[\udc80-\udcff]+")
_SURROGATE = re.compile("[\ud800-\udfff]")


def readable(text: str) -> str:
    """Text in valid Unicode: what Python could not decode in a file's name, as UTF-8 or `\\xNN`.

    Under an ASCII locale Python decodes no letter beyond it, though most names are UTF-8.
    """
    return _SURROGATE.sub(_escaped, _decode_runs(text))


def _escaped(half: re.Match[str]) -> str:
    number = ord(half[0])
    return f"\\x{number - 0xDC00:02x}" if 0xDC80 <= number <= 0xDCFF else f"\\u{number:04x}"


def to_json(record: Mapping[str, Any]) -> str:
    """A JSON object on one line that every parser accepts: see `readable`; NaN becomes null."""
    try:
        text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    except ValueError:
        finite = json.loads(json.dumps(record), parse_constant=lambda _: None)
        text = json.dumps(finite, ensure_ascii=False)
    if not _SURROGATE.search(text):
        return text
    # What `readable` writes with one backslash has two in JSON.
    return _SURROGATE.sub(lambda half: f"\\{_escaped(half)}", _decode_runs(text))


def _decode_runs(text: str) -> str:
    """Undecoded runs that are UTF-8, decoded; others as they are."""
    return _UNDECODED.sub(
        lambda run: run[0].encode("ascii", "surrogateescape").decode("utf-8", "surrogateescape"),
        text,
    )


def escape_unencodable(error: UnicodeError) -> tuple[str, int]:
    """A codec's error handler: what a stream cannot encode, by `readable` or its number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    shown = readable(part).translate(_PLAIN)
    return shown.encode("ascii", "backslashreplace").decode(), error.end


# Signs of our own, for terminals of other encodings.
_PLAIN = str.maketrans({"…": "~", "–": "-", "—": "-", "×": "x", "→": ">", "≥": ">", "≤": "<"})
