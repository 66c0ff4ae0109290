"""From what a command line names to the image files it means, and whose they are.

A path that cannot be read is passed on like any other, so that the reader reports it in its
place and the rest still runs.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from facerec.errors import UsageError

IMAGE_SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".apng",
        ".webp",
        ".gif",
        ".tif",
        ".tiff",
        ".bmp",
        ".pnm",
        ".pbm",
        ".pgm",
        ".ppm",
    }
)
"""Lower-case endings of the files that are taken from a folder."""

# Twice Linux's PATH_MAX: what is longer is no list of paths, and could be endless.
_LONGEST_PATH = 8192


def expand_paths(arguments: Sequence[str], *, stdin: BinaryIO | None, null: bool) -> Iterator[Path]:
    """The image files that `arguments` name, in their order.

    A file is itself, whatever its suffix. A folder is all images below it, sorted, without
    hidden ones; linked folders come last and each real folder counts once, so loops end. A
    pattern with `*`, `?`, `[…]` or `**` that is no existing path is matched. `-` is the paths
    listed on `stdin`, read as they come. What is missing, and a folder without images, is
    yielded as it is.

    Args:
        stdin: a binary stream, or None where it is closed.
        null: paths on `stdin` end with NUL, not with a newline.

    Raises:
        UsageError: an argument is a URL, or `-` is given and `stdin` is no list of paths. What
            the arguments alone show is raised by the call, before any path is yielded.
    """
    named = _resolve(arguments, stdin)
    return (path for _, path in _expand(named, stdin, null))


def list_people(
    arguments: Sequence[str], *, name: str | None, stdin: BinaryIO | None, null: bool
) -> Iterator[tuple[str, Path]]:
    """`(person, image file)` for what `arguments` name, as `expand_paths` finds it.

    In a folder that is named, an image in a folder of it, however deep, is of the person that
    first-level folder is called after (`PEOPLE/001/frontal/01.jpg` is of `001`, as in CFP); an
    image directly in it, of the person the named folder is called after. A path on `stdin` is
    of the person its own folder is called after. `name` overrides all of this.

    Raises:
        UsageError: as `expand_paths`; a file is named without `name`; `name` is empty.
    """
    named = _resolve(arguments, stdin)
    if name is not None:
        if not name.strip():
            raise UsageError("--name is empty; give the person's name")
        everyone = _person(name)
        return ((everyone, path) for _, path in _expand(named, stdin, null))
    for path in named:
        if path is not None and _is_file(path):
            raise UsageError(f"{path}: whose photo is this? give --name, or the person's folder")
    return ((_owner(root, path), path) for root, path in _expand(named, stdin, null))


def _resolve(arguments: Sequence[str], stdin: BinaryIO | None) -> list[Path | None]:
    """The files and folders named, patterns matched; None stands for `-`."""
    named: list[Path | None] = []
    for argument in arguments:
        _refuse_url(argument)
        if argument == "-":
            if stdin is None:
                raise UsageError("-: standard input is closed; give paths, or a list to read")
            named.append(None)
        else:
            named.extend(_match(argument))
    return named


def _refuse_url(text: str) -> None:
    if text.lower().startswith(("http://", "https://")):
        raise UsageError(f"{text}: URLs are not fetched; download the file and give its path")


def _match(argument: str) -> list[Path]:
    """The paths that fit a pattern; the path itself where it exists, or where nothing fits."""
    path = Path(argument)
    if not any(character in argument for character in "*?[") or os.path.lexists(path):
        return [path]
    anchor = path.anchor
    try:
        # Unlike `glob.glob`, this does not follow links below `**`, so loops end.
        matches = sorted(Path(anchor).glob(str(path)[len(anchor) :]))
    except (ValueError, OSError):
        return [path]
    if not _hides(path):
        matches = [match for match in matches if not _hides(match)]
    # `**` matches folders and also the folders in them, which are walked with the former.
    tops: list[Path] = []
    chosen: set[Path] = set()
    for match in matches:
        if chosen.isdisjoint(match.parents):
            tops.append(match)
            chosen.add(match)
    return tops or [path]


def _hides(path: Path) -> bool:
    return any(part.startswith(".") and part != ".." for part in path.parts)


def _expand(
    named: Sequence[Path | None], stdin: BinaryIO | None, null: bool
) -> Iterator[tuple[Path | None, Path]]:
    """Each image file, after the named folder it is in, if it is in one."""
    for path in named:
        if path is None:
            assert stdin is not None, "`_resolve` has refused this"
            yield from ((None, listed) for listed in _read_paths(stdin, null))
        elif _is_folder(path):
            empty = True
            for found in _images_below(path):
                empty = False
                yield path, found
            if empty:
                yield None, path
        else:
            yield None, path


def _images_below(root: Path) -> Iterator[Path]:
    """Images in a folder and its folders; of those, each real one once, linked ones last.

    Links wait because a person's folder should be known by its own name, not by a link's.
    """
    seen: set[tuple[int, int]] = set()
    roots = [root]
    for start in roots:
        waiting = [(start, True)]
        while waiting:
            path, is_folder = waiting.pop()
            if not is_folder:
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
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    below.append((inside, True))
                elif entry.is_symlink() and _is_folder(inside):
                    roots.append(inside)
                elif inside.suffix.lower() in IMAGE_SUFFIXES:
                    below.append((inside, False))
            waiting.extend(reversed(below))


def _read_paths(stdin: BinaryIO, null: bool) -> Iterator[Path]:
    """The paths in a list, each as soon as its end has come; empty ones are skipped."""
    for line in _read_until(stdin, b"\0" if null else b"\n"):
        if null:
            listed = line
        else:
            if b"\0" in line:
                raise UsageError("-: standard input is separated by NUL characters; add -0")
            listed = line.removesuffix(b"\r")
        if listed:
            text = os.fsdecode(listed)
            _refuse_url(text)
            yield Path(text)


def _read_until(stdin: BinaryIO, end: bytes) -> Iterator[bytes]:
    """Pieces of a stream between `end`s, without waiting for more than the next one."""
    piece = bytearray()
    try:
        # Byte by byte out of the stream's own buffer: a larger read would wait until it is full.
        while byte := stdin.read(1):
            if byte == end:
                yield bytes(piece)
                piece.clear()
            elif len(piece) < _LONGEST_PATH:
                piece += byte
            else:
                raise UsageError("-: standard input is not a list of paths: no end of a path found")
    except (OSError, ValueError) as error:
        raise UsageError(f"-: standard input cannot be read: {error}") from error
    yield bytes(piece)


def _owner(root: Path | None, path: Path) -> str:
    """Whose image it is; `root` is the named folder it was found in."""
    if root is not None:
        below = path.relative_to(root).parts
        return _person(below[0] if len(below) > 1 else _folder_name(root))
    return _person(_folder_name(path.parent))


def _folder_name(folder: Path) -> str:
    # Not `resolve`: a linked folder is called what the user called it.
    name = folder.absolute().name
    if name in ("", ".."):
        name = folder.resolve().name
    if not name:
        raise UsageError(f"{folder}: this folder's name names nobody; give --name")
    return name


def _person(name: str) -> str:
    """A person's name as it is stored and compared: NFC, in valid Unicode.

    macOS hands out decomposed names (`e` and an accent), other systems mostly composed ones; the
    same person enrolled from both must be one. The path keeps the bytes it needs to be opened.
    """
    readable = os.fsencode(name).decode("utf-8", "backslashreplace")
    return unicodedata.normalize("NFC", readable)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
