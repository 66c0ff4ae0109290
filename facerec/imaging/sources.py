"""What is at a path: photos of a file, folder, tar, zip, URL or list on stdin, and their people.

A photo that cannot be opened is yielded like any other. It fails on `read`, in its place, and the
rest still runs.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from facerec.errors import InputError, UsageError, without_credentials
from facerec.imaging.archives import Source, open_archive, open_archive_file
from facerec.imaging.belonging import make_rule, parse_level, rule_of_paths
from facerec.imaging.contents import image_kind
from facerec.imaging.folders import PassedOver, is_image, levels_below, walk
from facerec.imaging.labels import Owners
from facerec.imaging.listed import read_paths
from facerec.imaging.names import (
    expand_braces,
    has_image_suffix,
    is_archive,
    is_junk,
    is_packed,
    is_photo,
    is_system,
    is_url,
    passed_over,
    url_file_name,
)
from facerec.imaging.photos import (
    MAX_PIXELS,
    FailedPhoto,
    FilePhoto,
    Photo,
    file_version,
    is_file,
    is_folder,
    normalise_person,
    unreadable,
)
from facerec.imaging.remote import Remote

_log = logging.getLogger(__name__)
# Windows resolves these below another drive, whatever folder they are joined to.
_DRIVE = re.compile(r"[a-z]:/" if os.name == "posix" else r"[a-z]:", re.IGNORECASE)
_Place = Path | str | None
"""A path; a URL; None for stdin."""


def find_photos(
    places: Iterable[str | Path],
    *,
    stdin: BinaryIO | None = None,
    null: bool = False,
    level: str = "auto",
) -> Iterator[Photo]:
    """The photos at some places, in their order.

    - A file is itself, whatever its suffix.
    - A folder is every image below it, by name or content, sorted, without hidden files and system
      folders; linked folders come last and each real folder counts once, so loops end. Photos of
      kinds that are not read, and archives in it, fail on `read`.
    - A tar or zip is every image in it, in the same order; `people.tar/ann` those of one of its
      folders, `people.tar/ann/1.jpg` one of them.
    - A URL is the image, archive or folder that it names.
    - `-` is the paths and URLs listed on `stdin`, as they come; that there are none is logged.
    - A pattern with `*`, `?`, `[…]` or `**` that is no existing path is matched, and
      `{0000..0012}` is each of these numbers.

    What is missing, and a folder without images, is yielded as it is.

    A photo's person is its WebDataset label, or else what `facerec.imaging.belonging` says.

    Args:
        stdin: a binary stream, or None where it is closed.
        null: paths on `stdin` end with NUL, not with a newline.
        level: which folder names a photo's person, see `data.person_level`.

    Raises:
        UsageError: `-` is given and `stdin` is no list of paths; fsspec knows no such URLs.
        MissingError: fsspec, or the package that it needs for a URL, is not installed.
    """
    parse_level(level)
    return _expand(_resolve(places, stdin), stdin, null, level)


def list_people(
    places: Iterable[str | Path],
    *,
    name: str | None = None,
    stdin: BinaryIO | None = None,
    null: bool = False,
    level: str = "auto",
) -> Iterator[tuple[str, Photo]]:
    """`(person, photo)` for what `find_photos` finds.

    Args:
        name: the person of every photo.
        level: as `find_photos`.

    Raises:
        UsageError: as `find_photos`; a single image is given without `name`; `name` is empty.
        MissingError: as `find_photos`.
    """
    parse_level(level)
    resolved = _resolve(places, stdin)
    if name is not None:
        if not name.strip():
            raise UsageError("--name is empty; give the person's name")
        everyone = normalise_person(name)
        return ((everyone, photo) for photo in _expand(resolved, stdin, null, level))
    for place in resolved:
        if place is not None and level == "auto" and _is_single(place):
            raise UsageError(f"{place}: whose photo is this? give --name, or the person's folder")
    return ((photo.person, photo) for photo in _expand(resolved, stdin, null, level))


def photo_tree(
    place: str | Path, *, packed: Callable[[str], None] = lambda name: None
) -> dict[str, Photo]:
    """The photos of one folder, archive or URL by key, for writing the same tree elsewhere.

    Args:
        packed: told of each archive in it, which is not unpacked.

    Raises:
        UsageError: nothing is there, or fsspec knows no such URLs.
        InputError: it holds no images, cannot be read, is damaged, or a key leads outside it.
        MissingError: there is no such archive; fsspec, or the package that it needs for a URL, is
            not installed.
    """
    where = str(place) if is_url(str(place)) else Path(place)
    if isinstance(where, Path) and is_folder(where):
        photos: Iterable[Photo] = _in_folder(where, "auto")
    elif isinstance(where, str) or is_archive(where.name) or _split_at_archive(where):
        photos = _unpack(where, "auto")
    elif str(place) == "-":
        raise UsageError("-: a folder, an archive or a URL is taken here, not a list of paths")
    else:
        raise UsageError(f"{place}: no such folder")
    photos = list(photos)
    for photo in photos:
        if isinstance(photo, FailedPhoto) and not photo.key:
            raise photo.error
    # `walk` yields the root itself if it cannot be listed.
    found = {photo.key: photo for photo in photos if photo.key != "."}
    tree = {key: photo for key, photo in found.items() if not is_packed(key)}
    for key, photo in found.items():
        if key not in tree:
            packed(str(photo))
    for key, photo in tree.items():
        if key.startswith("/") or "\\" in key or ".." in key.split("/") or _DRIVE.match(key):
            raise InputError(f"{photo}: would lie outside of the tree")
    if not tree:
        raise InputError(f"{place}: no images there")
    return tree


def _resolve(places: Iterable[str | Path], stdin: BinaryIO | None) -> list[_Place]:
    """The files, folders and URLs that are named, with patterns matched and braces expanded."""
    resolved: list[_Place] = []
    for place in map(str, places):
        if place == "-":
            if stdin is None:
                raise UsageError("-: standard input is closed; give paths, or a list to read")
            resolved.append(None)
        elif is_url(place):
            resolved.extend(expand_braces(place))
        elif os.path.lexists(place):
            resolved.append(Path(place))
        else:
            resolved.extend(path for one in expand_braces(place) for path in _match(one))
    # A shell's `people/*` names them among others; alone, one is meant.
    passed = [str(one) for one in resolved if isinstance(one, Path) and is_system(one.name)]
    if not passed or len(passed) == len(resolved):
        return resolved
    _log.warning("%s", passed_over("*", passed))
    return [one for one in resolved if str(one) not in passed]


def _match(pattern: str) -> list[Path]:
    """The paths that match a pattern; the path itself if it exists, or if nothing matches."""
    path = Path(pattern)
    if not any(character in pattern for character in "*?[") or os.path.lexists(path):
        return [path]
    anchor = path.anchor
    try:
        # Unlike `glob.glob`, this does not follow links below `**`, so loops end.
        matches = sorted(Path(anchor).glob(str(path)[len(anchor) :]))
    except (ValueError, OSError):
        return [path]
    if not any(map(is_junk, path.parts)):
        matches = [match for match in matches if not any(map(is_junk, match.parts))]
    # `**` matches a folder and also the folders in it, which are walked with it.
    tops: list[Path] = []
    chosen: set[Path] = set()
    for match in matches:
        if chosen.isdisjoint(match.parents):
            tops.append(match)
            chosen.add(match)
    return tops or [path]


def _expand(
    places: Sequence[_Place], stdin: BinaryIO | None, null: bool, level: str
) -> Iterator[Photo]:
    for place in places:
        if place is not None:
            yield from _photos_at(place, level, walked=True)
            continue
        assert stdin is not None, "`_resolve` has refused this"
        passed = []
        empty = True
        for listed in read_paths(stdin, null=null):
            empty = False
            # `find` lists what systems leave beside photos too; what else is hidden may be meant.
            if isinstance(listed, Path) and any(map(is_system, listed.parts)):
                passed.append(str(listed))
                continue
            # Not walked: `find` lists a folder and also the files in it.
            yield from _photos_at(listed, level, walked=False)
        if empty:
            _log.warning("stdin: the list is empty")
        if passed:
            _log.warning("%s", passed_over("-", passed))


def _photos_at(place: Path | str, level: str, *, walked: bool) -> Iterator[Photo]:
    if isinstance(place, str) or _split_at_archive(place):
        try:
            yield from _unpack(place, level)
        except InputError as error:
            yield FailedPhoto(without_credentials(str(place)), error)
        return
    empty = True
    for photo in _in_folder(place, level) if walked and is_folder(place) else ():
        empty = False
        yield photo
    if empty:
        folders = place.parent.relative_to(place.anchor).parts
        yield FilePhoto(place, rule=rule_of_paths(level, folders))


def _in_folder(root: Path, level: str) -> Iterator[Photo]:
    rule = make_rule(level, levels_below(root))
    passed = PassedOver(root)
    for path in walk(root, _is_shown, passed):
        yield FilePhoto(path, root, rule)
    passed.tell()


def _is_shown(path: Path) -> bool:
    """Whether a file in a folder is a photo, or an archive, which is named as passed over."""
    return is_packed(path.name) or is_image(path)


def _split_at_archive(path: Path) -> tuple[Path, str] | None:
    """The archive in a path and the path inside it, "" for all of it; None without an archive."""
    for archive in (path, *path.parents):
        if is_archive(archive.name) and is_file(archive):
            inside = path.relative_to(archive).as_posix()
            return archive, "" if inside == "." else inside
    return None


def _is_single(place: Path | str) -> bool:
    """Whether it is one photo, not a folder or an archive of them."""
    if isinstance(place, str):
        return has_image_suffix(url_file_name(place))
    packed = _split_at_archive(place)
    if packed is None:
        return is_file(place) and not is_packed(place.name)
    return has_image_suffix(packed[1])


def _unpack(place: Path | str, level: str) -> Sequence[Photo]:
    """The photos of a URL, an archive, or a folder or member of an archive.

    Raises:
        InputError: it cannot be read, or holds no images.
        MissingError: there is no such archive.
    """
    packed = _open_url(place, level) if isinstance(place, str) else _open_archive(place, level)
    if not isinstance(packed, _Packed):
        return [packed]
    photos = list(packed.photos())
    if not photos:
        raise InputError(f"{place}: holds no images")
    return photos


def _open_url(url: str, level: str) -> _Packed | _RemotePhoto:
    remote, name = Remote(url), url_file_name(url)
    if has_image_suffix(name):
        return _RemotePhoto(remote, name, level)
    if not is_archive(name):
        # Many addresses of photos have no suffix.
        if image_kind(remote.start_of_file()):
            return _RemotePhoto(remote, name, level)
        return _Packed(remote, level)
    try:
        return _Packed(open_archive(remote.name, remote.open()), level)
    except UsageError as error:
        raise InputError(str(error)) from error


def _open_archive(place: Path, level: str) -> _Packed:
    archive, inside = _split_at_archive(place) or (place, "")
    try:
        return _Packed(open_archive_file(archive), level, inside, file_version(archive))
    except UsageError as error:
        raise InputError(str(error)) from error


@dataclass(frozen=True, slots=True)
class _RemotePhoto:
    """A photo that is given by its URL."""

    remote: Remote
    key: str
    level: str = "auto"
    version: str = ""
    tree: str = ""

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        return self.remote.name

    @property
    def path(self) -> None:
        return None

    @property
    def person(self) -> str:
        folders = PurePosixPath(self.name.partition("://")[2]).parent.parts
        name = rule_of_paths(self.level, folders).name(folders, self.key)
        return normalise_person(name or "")

    def read(self, max_pixels: int = MAX_PIXELS) -> bytes:
        return self.remote.read_file()


@dataclass(frozen=True, slots=True)
class _PackedPhoto:
    """A photo in an archive, or below a URL."""

    packed: _Packed
    key: str

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        return f"{self.packed.name}/{self.key}"

    @property
    def tree(self) -> str:
        return self.packed.tree

    @property
    def path(self) -> None:
        return None

    @property
    def person(self) -> str:
        return self.packed.owners.owner(self.key)

    @property
    def version(self) -> str:
        return self.packed.version

    def read(self, max_pixels: int = MAX_PIXELS) -> bytes:
        return self.packed.source.read(self.key)


class _Packed:
    """The photos of an archive or of a folder behind a URL.

    Args:
        level: which folder names a photo's person.
        inside: the file or folder in it that is named; "" for all of it.
        version: of the whole; empty if unknown.
    """

    def __init__(self, source: Source, level: str, inside: str = "", version: str = "") -> None:
        self.source = source
        self.name = source.name.rstrip("/")
        self.version = version
        within = f"{inside}/" if inside else ""
        names = [name for name in source.names() if f"{name}/".startswith(within)]
        photos = [name for name in names if is_photo(name, source.start)]
        # The order of `walk`, so that a tree and its tar give the same.
        self._names = sorted(photos, key=lambda name: name.split("/"))
        self._archives = [
            name for name in names if is_packed(name) and not any(map(is_junk, name.split("/")))
        ]
        self.owners = Owners(source, self._names, level, inside)
        whole = f"{self.name}/{inside}" if inside else self.name
        self.tree = "" if inside in names else whole

    def photos(self) -> Iterator[Photo]:
        for key in self._names:
            name = f"{self.name}/{key}"
            if ".." in key.split("/"):
                yield FailedPhoto(name, unreadable(name, f"lies outside of {self.name}"), key)
            else:
                yield _PackedPhoto(self, key)
        for key in self._archives:
            name = f"{self.name}/{key}"
            reason = f"is an archive in {self.name}, which is not unpacked; unpack that"
            yield FailedPhoto(name, unreadable(name, reason), key)
        if damage := getattr(self.source, "damage", ""):
            yield FailedPhoto(self.name, unreadable(self.name, f"{damage}; photos may be missing"))
