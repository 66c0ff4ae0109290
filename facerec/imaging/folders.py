"""Walk a folder: sorted, junk left out, links followed once."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from facerec.errors import InputError
from facerec.imaging.belonging import Level, Look, names_nobody
from facerec.imaging.contents import START
from facerec.imaging.names import has_image_suffix, is_junk, is_photo, passed_over
from facerec.imaging.photos import is_folder

_log = logging.getLogger(__name__)


def walk(
    root: Path, wanted: Callable[[Path], bool], passed: Callable[[Path], None] = lambda _: None
) -> Iterator[Path]:
    """Files below a folder that are wanted, sorted, without junk.

    A folder that cannot be listed is yielded itself. Linked folders come last, so that a person's
    folder is known by its own name, not a link's. Each real folder counts once, so loops end.

    Args:
        passed: called with each file and folder that is junk.
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
                    passed(inside)
                    continue
                if entry.is_dir(follow_symlinks=False):
                    below.append((inside, True))
                elif entry.is_symlink() and is_folder(inside):
                    roots.append(inside)
                elif wanted(inside):
                    below.append((inside, False))
            waiting.extend(reversed(below))


def levels_below(root: Path) -> Look:
    """A look at the tree below a folder, for `belonging.make_rule`."""

    def folders_at(depth: int) -> list[Path]:
        if not depth:
            return [root]
        return [below for folder in folders_at(depth - 1) for below in _listed(folder)[0]]

    def look(depth: int) -> Level:
        inside: set[str] = set()
        listed = [_listed(folder) for folder in folders_at(depth)]
        photos = any(has_photos for _, has_photos in listed)
        for below in (folder for folders, _ in listed for folder in folders):
            if below.name not in inside and any(walk(below, is_image)):
                inside.add(below.name)
                if not names_nobody(below.name):
                    break
        return Level(photos, frozenset(inside))

    return look


def _listed(folder: Path) -> tuple[list[Path], bool]:
    """The folders in a folder, sorted, and whether it holds photos; junk is left out."""
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError:
        return [], False
    wanted = [entry for entry in entries if not is_junk(entry.name)]
    folders = [folder / entry.name for entry in wanted if is_folder(folder / entry.name)]
    names = {path.name for path in folders}
    photos = any(e.name not in names and is_image(folder / e.name) for e in wanted)
    return folders, photos


def is_image(path: Path) -> bool:
    """Whether a file counts as a photo, see `names.is_photo`."""
    return is_photo(path.name, lambda _: start_of(path))


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


class PassedOver:
    """Counts system files named like photos, for one message.

    Args:
        root: the folder that is walked.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: list[str] = []

    def __call__(self, path: Path) -> None:
        """Take a file or folder that `walk` passes over."""
        below = [str(Path(top, file)) for top, _, files in os.walk(path) for file in files]
        photos = filter(has_image_suffix, below or [str(path)])
        self._names += (Path(photo).relative_to(self._root).as_posix() for photo in photos)

    def tell(self) -> None:
        """Log the message, if there were any."""
        if self._names:
            _log.warning("%s", passed_over(str(self._root), self._names))


class FolderSource:
    """Files below a folder; see `archives.Source`."""

    def __init__(self, root: Path) -> None:
        self.name = str(root)
        self._root = root
        self._told = False

    def names(self) -> Iterator[str]:
        passed = PassedOver(self._root)
        for path in walk(self._root, lambda _: True, passed):
            if path.is_file():
                yield path.relative_to(self._root).as_posix()
        if not self._told:
            passed.tell()
            self._told = True

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
