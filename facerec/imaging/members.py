"""What tars and zips share: names of members, links between them, what is passed over."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from facerec.imaging.names import has_image_suffix, is_junk, passed_over

_log = logging.getLogger(__name__)

# As many links to links as Linux follows.
_MOST_LINKS = 40


def plain(name: str) -> str:
    """A member's name without `./` and doubled separators."""
    return PurePosixPath(name).as_posix()


def link_target(key: str, target: str) -> str:
    """The member that a symbolic link names; an absolute target, which no member is, as it is."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(key), target))


def resolve_links(
    members: Iterable[str], links: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Follow links to members, through links to files and to folders.

    Args:
        members: the files.
        links: what each link names.

    Returns:
        the file of each link that leads to one; what each names that leads nowhere. Links to
        folders are in neither.
    """
    files = set(members)
    folders = {str(parent) for key in files for parent in PurePosixPath(key).parents}
    found, lost = {}, {}
    for key in links:
        target = _follow(key, links)
        if target in files:
            found[key] = target
        elif target not in folders:
            lost[key] = links[key]
    return found, lost


def _follow(key: str, links: Mapping[str, str]) -> str:
    for _ in range(_MOST_LINKS):
        if key in links:
            key = links[key]
            continue
        parents = (str(parent) for parent in PurePosixPath(key).parents)
        folder = next((parent for parent in parents if parent in links), None)
        if folder is None:
            break
        key = posixpath.normpath(f"{links[folder]}/{key.removeprefix(folder)}")
    return key


def tell_encoding(name: str, encoding: str, names: Sequence[str], stored: Sequence[bytes]) -> None:
    """Say in which code page an archive's names are read, as it does not say so itself.

    Args:
        names: some of them, one or more in that code page.
        stored: the same as the archive has them.
    """
    pairs = zip(names, stored, strict=True)
    # Code pages have some characters twice.
    example = next((one for one, raw in pairs if one.encode(encoding, "replace") == raw), names[0])
    _log.warning(
        "%s: does not say how its names are encoded; they look like %s, such as %s; if "
        "that is wrong, pack it with names in UTF-8", name, encoding, example
    )  # fmt: skip


def tell_passed(name: str, keys: Iterable[str]) -> None:
    """Say that an archive's system files that are named like photos are passed over."""
    passed = [key for key in keys if has_image_suffix(key) and any(map(is_junk, key.split("/")))]
    if passed:
        _log.warning("%s", passed_over(name, passed))
