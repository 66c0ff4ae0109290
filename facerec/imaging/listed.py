"""Lists of paths and URLs on standard input."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from facerec.errors import UsageError
from facerec.files.text import marked_encoding
from facerec.files.writing import exists
from facerec.imaging.contents import TAR_START, name_contents
from facerec.imaging.names import is_url

# Twice Linux's PATH_MAX: a longer line is no path, and could be endless.
_LONGEST_PATH = 8192
_NO_LIST = "-: standard input is not a list of paths"
# Colours of a listing that was made for a terminal, or no text at all.
_CONTROL = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]")

# Formats that are text at first; no path begins so.
_TEXTS = ("%PDF-", "%!PS", "<?", "<!", "<svg", "<html")


def read_paths(stdin: BinaryIO, *, null: bool) -> Iterator[Path | str]:
    """The paths and URLs in a list, each as soon as it is complete; empty ones are skipped.

    Args:
        null: they end with NUL, not with a newline.

    Raises:
        UsageError: it is no list of paths, or cannot be read.
    """
    for line in _read_lines(stdin, null):
        if not null and "\0" in line and not _CONTROL.search(line):
            raise UsageError(
                "-: standard input is separated by NUL characters, or UTF-16 without its mark; add "
                "-0, or make it UTF-8"
            )
        listed = line if null else line.removesuffix("\r")
        if is_url(listed.strip()):
            yield listed.strip()
        elif listed:
            path = _without_blanks(Path(listed))
            if not null and _CONTROL.search(listed) and not exists(path):
                raise UsageError(f"{_NO_LIST}: {listed[:40]!a} holds control characters")
            yield path


def _without_blanks(path: Path) -> Path:
    """A path without blanks at its end, if only that exists."""
    stripped = Path(str(path).rstrip())
    return (
        stripped
        if stripped.name and stripped != path and not exists(path) and exists(stripped)
        else path
    )


def _read_lines(stdin: BinaryIO, null: bool) -> Iterator[str]:
    """Pieces of a list, without waiting for more than the next one.

    UTF-16 with a byte-order mark is read, as PowerShell writes it; other bytes come back as the
    same path.
    """
    try:
        start = stdin.read(1)
        # A longer read would wait. No program marks NUL-separated paths.
        while (
            not null
            and start in (b"\xef", b"\xff", b"\xfe", b"\xef\xbb")
            and (byte := stdin.read(1))
        ):
            start += byte
        encoding, skipped = marked_encoding(start)
        unit = len("\n".encode(encoding))
        end = ("\0" if null else "\n").encode(encoding)
        if unit == 1:
            start = _read_first(start, stdin, end)
        rest = iter(lambda: stdin.read(unit), b"")
        piece = bytearray()
        for read in chain((bytes([byte]) for byte in start[skipped:]), rest):
            if read == end:
                yield _decoded(piece, encoding)
                piece.clear()
            elif len(piece) < _LONGEST_PATH:
                piece += read
            else:
                raise UsageError(f"{_NO_LIST}: no end of a path found")
    except (OSError, ValueError) as error:
        raise UsageError(f"-: standard input cannot be read: {error}") from error
    yield _decoded(piece, encoding)


def _read_first(start: bytes, stdin: BinaryIO, end: bytes) -> bytes:
    """What a list begins with, to the end of its first path at least.

    Raises:
        UsageError: it is a photo, or another file that is known by its first bytes.
    """
    while end not in start and len(start) < _LONGEST_PATH and (byte := stdin.read(1)):
        start += byte
    if not _may_be_file(start):
        return start
    start += stdin.read(max(TAR_START - len(start), 0))
    what = name_contents(start)
    # Of NUL-separated paths any may begin so, but none is empty.
    if what is not None and (end == b"\n" or b"\0\0" in start):
        raise UsageError(f"{_NO_LIST}, but {what}; give the file's path in place of -")
    return start


def _may_be_file(first: bytes) -> bool:
    """Whether a list's first line is worth a wait for more, to know a photo by: no text, or the
    beginning of a format that is text at first."""
    try:
        text = first.decode()
    except UnicodeDecodeError:
        return True
    return bool(_CONTROL.search(text) or "\0" in text.rstrip("\0") or text.startswith(_TEXTS))


def _decoded(piece: bytearray, encoding: str) -> str:
    if encoding == "utf-8":
        return os.fsdecode(bytes(piece))
    return piece.decode(encoding, "replace")
