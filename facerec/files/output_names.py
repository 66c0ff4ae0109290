"""Names of output files: what every file system takes, no two alike, never outside their folder."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Set
from pathlib import PurePosixPath

_LONGEST = 255
"""Bytes of a name, as ext4, XFS, NTFS and APFS limit it."""
_LONGEST_SUFFIX = 32
_FORBIDDEN = re.compile(r"[/\x00]")
_FORBIDDEN_ON_WINDOWS = re.compile(r'[/\\:*?"<>|\x00-\x1f]')
# learn.microsoft.com/windows/win32/fileio/naming-a-file
_DEVICES = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(\s*\.|$)", re.IGNORECASE
)


def safe_name(name: str, *, windows: bool = os.name == "nt") -> str:
    """A name for one file or folder, the same if it can be.

    Separators, `.` and `..`, and on Windows what it forbids, are replaced; a name over 255 bytes is
    shortened before its suffix. A name that was changed ends with a hash of what it was, so that
    two names stay two.
    """
    forbidden = _FORBIDDEN_ON_WINDOWS if windows else _FORBIDDEN
    safe = forbidden.sub("_", name)
    if windows:
        safe = safe.rstrip(". ")
        if _DEVICES.match(safe):
            safe = f"_{safe}"
    if safe in ("", ".", ".."):
        safe = "_"
    if safe == name and len(os.fsencode(name)) <= _LONGEST:
        return name
    return marked_name(safe, name)


def marked_name(name: str, source: str) -> str:
    """A name with a hash of its source before its suffix, at most 255 bytes: `img~1b4f0e98.jpg`."""
    mark = "~" + hashlib.sha256(os.fsencode(source)).hexdigest()[:8]
    stem, suffix = _split(name)
    room = _LONGEST - len(mark) - len(os.fsencode(suffix))
    while len(os.fsencode(stem)) > room:
        stem = stem[:-1]
    return f"{stem}{mark}{suffix}"


def _split(name: str) -> tuple[str, str]:
    """Stem and suffix. A suffix is short: `1. Our holiday in the high mountains` has none."""
    suffix = PurePosixPath(name).suffix
    if not suffix or len(os.fsencode(suffix)) > _LONGEST_SUFFIX:
        return name, ""
    return name.removesuffix(suffix), suffix


class OutputNames:
    """Hands out paths below one folder, each safe and once, also where case does not count.

    The first to ask gets the path it wants; who wants the same gets it with a mark. So the same
    requests in the same order get the same paths, and a rerun finds what an earlier run wrote.

    Args:
        taken: paths that are in use already, `/` between folders.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()
        for path in taken:
            self._take(PurePosixPath(path))

    def claim(self, wanted: str | PurePosixPath, source: str = "") -> PurePosixPath:
        """The path for an output, relative, `/` between folders.

        Args:
            wanted: the preferred path; the parts of a path that is absolute or leads outside are
                replaced.
            source: what the output is made from, which marks the path if another has it.
        """
        *folders, name = [safe_name(part) for part in str(wanted).split("/") if part] or ["_"]
        path = PurePosixPath()
        for folder in folders:
            path = _distinct(path / folder, folder, self._files)
        path = _distinct(path / name, source or str(wanted), self._files, self._folders)
        self._take(path)
        return path

    def _take(self, path: PurePosixPath) -> None:
        self._files.add(_folded(path))
        self._folders.update(_folded(parent) for parent in path.parents[:-1])


def _distinct(path: PurePosixPath, source: str, *taken: Set[str]) -> PurePosixPath:
    """The path, marked as often as it takes to be none of those taken."""
    tried, attempt = path, 0
    while any(_folded(tried) in paths for paths in taken):
        attempt += 1
        mark = source if attempt == 1 else f"{source}\0{attempt}"
        tried = path.with_name(marked_name(path.name, mark))
    return tried


def _folded(path: PurePosixPath) -> str:
    """Equal for paths that some file system takes for one: APFS and NTFS ignore case, HFS+ also
    how accents are composed."""
    return unicodedata.normalize("NFC", str(path)).casefold()
