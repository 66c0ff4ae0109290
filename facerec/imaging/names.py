"""Rules on names: image suffixes, junk that is never a photo, archives, URLs."""

from __future__ import annotations

import re
from pathlib import PurePath, PurePosixPath

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
"""Lower-case suffixes of the files that are taken from folders, archives and URLs."""

# macOS, Synology, QNAP, Windows and ext4 keep thumbnails, deleted and recovered files here.
# `._*` and `.thumbnails` are hidden, which excludes them already.
_SYSTEM_FOLDERS = frozenset({"__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found"})
_ARCHIVE = re.compile(r"\.(tar(\.(gz|bz2|xz))?|tgz|zip)$", re.IGNORECASE)
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
# fsspec chains protocols by `::`; without `://` it is a file's name, such as `IMG::1.jpg`.
_URL = re.compile(r"([a-z][a-z0-9+.-]*::)*[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def has_image_suffix(name: str | PurePath) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def is_junk(name: str) -> bool:
    """Whether a file or folder is hidden or a system's, so neither a photo nor one's folder."""
    hidden = name.startswith(".") and name != ".."
    return hidden or name.lower() in _SYSTEM_FOLDERS


def is_photo(key: str) -> bool:
    """Whether a file counts as a photo, by its path below a root, `/` between folders."""
    return has_image_suffix(key) and not any(map(is_junk, key.split("/")))


def is_archive(name: str) -> bool:
    """Whether a name ends as a tar's or a zip's."""
    return _ARCHIVE.search(name) is not None


def archive_stem(name: str) -> str:
    """A file's name without an archive's suffix: `photos.tar.gz` is `photos`."""
    return _ARCHIVE.sub("", name)


def is_url(text: str) -> bool:
    return _URL.match(text) is not None


def url_file_name(url: str) -> str:
    """The last part of a URL's path: `a.jpg` of `zip://b/a.jpg::https://c/d.zip`."""
    place = next((part for part in url.split("::") if "://" in part), url)
    return place.partition("?")[0].rpartition("/")[2]


def expand_braces(pattern: str) -> list[str]:
    """`faces-{0000..0127}.tar` as 128 names; a pattern without braces as it is."""
    found = _BRACES.search(pattern)
    if not found:
        return [pattern]
    first, last = found.groups()
    before, after = pattern[: found.start()], pattern[found.end() :]
    return [
        f"{before}{number:0{len(first)}d}{after}" for number in range(int(first), int(last) + 1)
    ]
