"""From what a command line names to the image files it means, and whose they are.

A path that cannot be read is passed on like any other, so that the reader reports it in its
place and the rest still runs.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from facerec.errors import InputError, UsageError
from facerec.imaging.archives import expand_braces, is_archive
from facerec.imaging.remote import file_name, is_url
from facerec.imaging.stored import (
    IMAGE_SUFFIXES,
    Collection,
    Photo,
    Stored,
    is_image,
    open_local,
    open_url,
    unreadable,
)

# Twice Linux's PATH_MAX: what is longer is no list of paths, and could be endless.
_LONGEST_PATH = 8192


def find_files(name: str) -> Iterator[Path]:
    """The image files that a path or pattern names.

    A file is itself, whatever its suffix. A folder is all images below it, sorted, without
    hidden ones; linked folders come last and each real folder counts once, so loops end. A
    pattern with `*`, `?`, `[…]` or `**` that is no existing path is matched. What is missing,
    and a folder without images, is yielded as it is.
    """
    return (found for path in _match(name) for _, found in _images_of(path))


def photos_below(name: str) -> dict[str, Photo]:
    """The images of one folder, archive or URL, by their places in it, `/` between folders.

    Raises:
        UsageError: nothing is there, or fsspec does not know such URLs.
        InputError: it holds no images, cannot be read, or names a place outside of itself.
        MissingError: fsspec, or the package that it needs for a URL, is not installed.
    """
    found: dict[str, Photo] = {}
    if is_url(name) or is_archive(name):
        opened = open_url(name) if is_url(name) else open_local(Path(name))
        for photo in (opened,) if isinstance(opened, Stored) else opened:
            place = photo.key or photo.name.rpartition("/")[2]
            if place.startswith("/") or "\\" in place or ":" in place:
                raise InputError(f"{photo}: would lie outside of the tree")
            found[place] = photo
    elif Path(name).is_dir():
        found |= {path.relative_to(name).as_posix(): path for path in find_files(name)}
        found.pop(".", None)  # the folder itself, where it is empty
    else:
        raise UsageError(f"{name}: no such folder")
    if not found:
        raise InputError(f"{name}: no images there")
    return found


def expand_photos(
    arguments: Sequence[str], *, stdin: BinaryIO | None, null: bool
) -> Iterator[Photo]:
    """The images that `arguments` name, in their order.

    Paths and patterns as in `find_files`; a tar or zip is the images in it, a URL the image, the
    archive or the folder that it names, `{0000..0012}` all these numbers. `-` is the paths and
    URLs listed on `stdin`, read as they come.

    Args:
        stdin: a binary stream, or None where it is closed.
        null: paths on `stdin` end with NUL, not with a newline.

    Raises:
        UsageError: `-` is given and `stdin` is no list of paths.
        MissingError: fsspec, or the package that it needs for a URL, is not installed.
    """
    named = _resolve(arguments, stdin)
    return (photo for _, photo in _expand(named, stdin, null))


def list_people(
    arguments: Sequence[str], *, name: str | None, stdin: BinaryIO | None, null: bool
) -> Iterator[tuple[str, Photo]]:
    """`(person, image)` for what `arguments` name, as `expand_photos` finds it.

    In a folder that is named, an image in a folder of it, however deep, is of the person that
    first-level folder is called after (`PEOPLE/001/frontal/01.jpg` is of `001`, as in CFP); an
    image directly in it, of the person the named folder is called after. In an archive, and in a
    folder that a URL names, see `Collection.owner`. A path or URL on `stdin` is of the person its
    own folder is called after. `name` overrides all of this.

    Raises:
        UsageError: as `expand_photos`; an image is named without `name`; `name` is empty.
        MissingError: as `expand_photos`.
    """
    named = _resolve(arguments, stdin)
    if name is not None:
        if not name.strip():
            raise UsageError("--name is empty; give the person's name")
        everyone = _person(name)
        return ((everyone, photo) for _, photo in _expand(named, stdin, null))
    for place in named:
        if place is not None and _is_photo(place):
            raise UsageError(f"{place}: whose photo is this? give --name, or the person's folder")
    return ((_owner(root, photo), photo) for root, photo in _expand(named, stdin, null))


def _resolve(arguments: Sequence[str], stdin: BinaryIO | None) -> list[Path | str | None]:
    """The files and folders named, patterns matched, and the URLs; None stands for `-`."""
    named: list[Path | str | None] = []
    for argument in arguments:
        if argument == "-":
            if stdin is None:
                raise UsageError("-: standard input is closed; give paths, or a list to read")
            named.append(None)
        elif is_url(argument):
            named.extend(expand_braces(argument))
        elif os.path.lexists(argument):
            named.append(Path(argument))
        else:
            named.extend(path for one in expand_braces(argument) for path in _match(one))
    return named


def _is_photo(place: Path | str) -> bool:
    if isinstance(place, str):
        return is_image(file_name(place))
    return _is_file(place) and not is_archive(place.name)


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
    named: Sequence[Path | str | None], stdin: BinaryIO | None, null: bool
) -> Iterator[tuple[Path | Collection | None, Photo]]:
    """Each image, after the named folder or archive it is in, if it is in one."""
    for place in named:
        if place is None:
            assert stdin is not None, "`_resolve` has refused this"
            for listed in _read_paths(stdin, null):
                yield from _open(listed) if isinstance(listed, str) else ((None, listed),)
        elif isinstance(place, str) or (is_archive(place.name) and _is_file(place)):
            yield from _open(place)
        else:
            yield from _images_of(place)


def _images_of(path: Path) -> Iterator[tuple[Path | None, Path]]:
    """The images of a folder, after it; anything else as it is."""
    empty = True
    for found in _images_below(path) if _is_folder(path) else ():
        empty = False
        yield path, found
    if empty:
        yield None, path


def _open(place: Path | str) -> Iterator[tuple[Collection | None, Stored]]:
    """The images of an archive, or of what a URL names."""
    try:
        opened = open_url(place) if isinstance(place, str) else open_local(place)
        photos = [opened] if isinstance(opened, Stored) else list(opened)
        if not photos:
            raise InputError(f"{place}: holds no images")
    except InputError as error:
        yield None, unreadable(str(place), error)
        return
    root = None if isinstance(opened, Stored) else opened
    yield from ((root, photo) for photo in photos)


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


def _read_paths(stdin: BinaryIO, null: bool) -> Iterator[Path | str]:
    """The paths and URLs in a list, each as soon as its end has come; empty ones are skipped."""
    for line in _read_until(stdin, b"\0" if null else b"\n"):
        if null:
            listed = line
        else:
            if b"\0" in line:
                raise UsageError("-: standard input is separated by NUL characters; add -0")
            listed = line.removesuffix(b"\r")
        if listed:
            text = os.fsdecode(listed)
            yield text if is_url(text) else Path(text)


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


def _owner(root: Path | Collection | None, photo: Photo) -> str:
    """Whose image it is; `root` is what it was found in."""
    if isinstance(photo, Stored):
        folder = PurePosixPath(photo.name).parent.name
        return _person(root.owner(photo) if isinstance(root, Collection) else folder)
    if not isinstance(root, Path):
        return _person(_folder_name(photo.parent))
    below = photo.relative_to(root).parts
    return _person(below[0] if len(below) > 1 else _folder_name(root))


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
