"""Where a gallery's photos lie, by whichever path a folder is reached."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from facerec.imaging.names import is_url


class Places:
    """Absolute paths of photos, and URLs.

    Links among the folders are resolved, so that a photo has one place. The last name stays: a link
    to a photo is a photo of its own. What is resolved is kept: for one run.

    Args:
        folder: the gallery's, which sources are relative to; None on a server.
    """

    def __init__(self, folder: Path | None) -> None:
        self._relative = folder is not None
        self._spelled = os.path.abspath(folder or "")  # noqa: PTH100
        self._folder = _resolve(self._spelled)
        self._folders: dict[str, str] = {}

    def source(self, photo: str) -> str:
        """A photo's name as a gallery stores it: relative to the folder where possible."""
        if is_url(photo):
            return photo
        if not self._relative:
            return Path(photo).as_posix()
        place = self._photo(photo)
        try:
            return Path(os.path.relpath(place, self._folder)).as_posix()
        except ValueError:  # another drive
            return Path(place).as_posix()

    def of_photo(self, photo: str) -> str:
        """The place of a photo, as a path from the working folder or a URL."""
        return _text(photo if is_url(photo) else self._photo(photo))

    def of_folder(self, folder: str) -> str:
        """The place of a folder or archive, as a path from the working folder, or of a URL."""
        return _text(folder if is_url(folder) else self._resolved(folder))

    def of_source(self, source: str) -> Collection[str]:
        """The place of a photo as a gallery names it.

        Older versions did not resolve links before they made a path relative, so that `..` in it
        may leave the folder as it was spelled: then there are two places that it may be.
        """
        if is_url(source):
            return (_text(source),)
        places = [_text(self._photo(f"{self._folder}/{source}"))]
        if ".." in source and self._spelled != self._folder:
            spelled = os.path.abspath(f"{self._spelled}/{source}")  # noqa: PTH100
            places.append(_text(self._photo(spelled)))
        return dict.fromkeys(places)

    def _photo(self, photo: str) -> str:
        folder, name = os.path.split(photo)
        if name in ("", os.curdir, os.pardir):
            return self._resolved(photo)
        return f"{self._resolved(folder).rstrip(os.sep)}{os.sep}{name}"

    def _resolved(self, folder: str) -> str:
        if folder not in self._folders:
            self._folders[folder] = _resolve(folder)
        return self._folders[folder]


def is_below(place: str, trees: Collection[str]) -> bool:
    """Whether a place lies in one of these folders, archives and URLs, at any depth."""
    while place:
        place = place.rpartition("/")[0]
        if place in trees:
            return True
    return False


def _resolve(path: str) -> str:
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):  # no path, such as one with NUL
        return os.path.abspath(path)  # noqa: PTH100


def _text(place: str) -> str:
    """With `/` between folders; bytes that are no text are escaped, as Milvus stores them."""
    posix = place if is_url(place) else Path(place).as_posix()
    return posix.encode("utf-8", "backslashreplace").decode().rstrip("/")
