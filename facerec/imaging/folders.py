"""Walk a folder: sorted, junk left out, links followed once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from facerec.errors import InputError
from facerec.imaging.contents import START
from facerec.imaging.names import is_junk
from facerec.imaging.photos import is_folder


def walk(root: Path, wanted: Callable[[Path], bool]) -> Iterator[Path]:
    """Files below a folder that are wanted, sorted, without junk.

    A folder that cannot be listed is yielded itself. Linked folders come last, so that a person's
    folder is known by its own name, not a link's. Each real folder counts once, so loops end.
    """
    seen: set[tuple[int, int]] = set()
    roots = [root]
    for start in roots:
        waiting = [(start, True)]
        while waiting:
            path, is_listed = waiting.pop()
            if not is_listed:
                yield path
                continue
            try:
                facts = path.stat()
                if (facts.st_dev, facts.st_ino) in seen:
                    continue
                seen.add((facts.st_dev, facts.st_ino))
                with os.scandir(path) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except OSError:
                yield path
                continue
            below = []
            for entry in entries:
                inside = path / entry.name
                if is_junk(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    below.append((inside, True))
                elif entry.is_symlink() and is_folder(inside):
                    roots.append(inside)
                elif wanted(inside):
                    below.append((inside, False))
            waiting.extend(reversed(below))


def start_of(path: Path) -> bytes:
    """The first bytes of a file, see `contents`; empty if it is none or cannot be read."""
    try:
        # Opening a named pipe would wait for its writer.
        if not path.is_file():
            return b""
        with path.open("rb", buffering=0) as file:
            return file.read(START)
    except (OSError, ValueError):
        return b""


class FolderSource:
    """Files below a folder; see `archives.Source`."""

    def __init__(self, root: Path) -> None:
        self.name = str(root)
        self._root = root

    def names(self) -> Iterable[str]:
        return (
            path.relative_to(self._root).as_posix()
            for path in walk(self._root, lambda _: True)
            if path.is_file()
        )

    def start(self, key: str) -> bytes:
        return start_of(self._root / key)

    def read(self, key: str) -> bytes:
        # Keys may come from an untrusted list of pairs; links are the user's own.
        place = PurePosixPath(key)
        path = self._root / place
        if ".." in place.parts or not path.is_relative_to(self._root):
            raise InputError(f"{key}: lies outside of {self.name}")
        try:
            return path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from error
