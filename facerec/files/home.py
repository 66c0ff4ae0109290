"""A leading `~`, which a shell expands at the start of a word alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TypeVar

_Place = TypeVar("_Place", str, Path)


def expand_home(place: _Place) -> _Place:
    """A path with the home folder for its leading `~` or, but on Windows, `~user`; of an unknown
    user, and anything else, as it is written."""
    # Windows is not asked who its users are: `~photo.jpg` would be the home of a user "photo.jpg".
    if sys.platform == "win32" and str(place)[1:2] not in ("", "/", "\\"):
        return place
    return type(place)(os.path.expanduser(place))  # noqa: PTH111  (pathlib's raises for those)


def expand_value(word: str) -> str:
    """`NAME=PATH` with the path's home folder, as by `expand_home`; a word without `=` as it is."""
    name, equals, path = word.partition("=")
    return f"{name}={expand_home(path)}" if equals else word
