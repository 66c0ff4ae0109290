"""A leading `~`, which a shell expands at the start of a word alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

_Place = TypeVar("_Place", str, Path)


def expand_home(place: _Place) -> _Place:
    """A path with the home folder for its leading `~` or `~user`; of an unknown user, and anything
    else, as it is written."""
    return type(place)(os.path.expanduser(place))  # noqa: PTH111  (pathlib's raises for those)


def expand_value(word: str) -> str:
    """`NAME=PATH` with the path's home folder, as by `expand_home`; a word without `=` as it is."""
    name, equals, path = word.partition("=")
    return f"{name}={expand_home(path)}" if equals else word
