"""Where photos lie relative to what was given, for outputs that keep the tree of the inputs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path, PurePosixPath

from facerec.errors import without_credentials
from facerec.imaging.names import has_image_suffix, is_archive, is_url, url_file_name
from facerec.imaging.photos import is_file, is_folder

_WILDCARD = re.compile(r"[*?\[{]")


class Relative:
    """Paths of photos below the one folder that holds all that was given.

    Of one folder, archive or URL, that is itself; of photos, their folder; of several, the deepest
    folder that they share. A list on stdin is relative to the current folder.

    Args:
        places: as for `find_photos`.
    """

    def __init__(self, places: Iterable[str | os.PathLike[str]]) -> None:
        roots = [_root(str(place)) for place in places]
        levels = zip(*roots, strict=False)
        self._top = tuple(
            level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels)
        )

    def path(self, source: str) -> PurePosixPath:
        """The path of a photo, by its name; that alone if it lies elsewhere."""
        parts = _parts(source)
        shared = len(self._top)
        if len(parts) > shared and parts[:shared] == self._top:
            return PurePosixPath(*parts[shared:])
        return PurePosixPath(*parts[-1:])


def _root(place: str) -> tuple[str, ...]:
    """The folder that holds the photos of a place, as parts of its path."""
    if place == "-":
        return _parts(os.curdir)
    parts = _parts(place)
    if is_url(place):
        return parts[:-1] if has_image_suffix(url_file_name(place)) else parts
    path = Path(place)
    if os.path.lexists(path):
        return parts if is_folder(path) or is_archive(path.name) else parts[:-1]
    if any(is_archive(parent.name) and is_file(parent) for parent in path.parents):
        # `people.tar/ann` is a folder of an archive, `people.tar/ann/1.jpg` one of its photos.
        return parts[:-1] if has_image_suffix(path) else parts
    pattern = next((number for number, part in enumerate(parts) if _WILDCARD.search(part)), None)
    return parts[:-1] if pattern is None else parts[:pattern]


def _parts(path: str) -> tuple[str, ...]:
    if is_url(path):
        _, _, rest = without_credentials(path).partition("://")
        return tuple(part for part in rest.replace("::", "/").split("/") if part)
    # Not `resolve`: a linked folder keeps the name that the user gave.
    whole = Path(os.path.normpath(Path(path).absolute()))
    return whole.parts[1:]
