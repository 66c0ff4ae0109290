"""Who the images of a source belong to: WebDataset labels, or else the rule of `belonging`.

A label is `000017.cls` or `000017.json` beside `000017.jpg`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from facerec.errors import InputError, UsageError
from facerec.files.parsing import parse_json
from facerec.files.text import decode_text
from facerec.imaging.archives import Source, photo_names
from facerec.imaging.belonging import Rule, levels_of, make_rule, rule_of_paths
from facerec.imaging.folders import FolderSource
from facerec.imaging.names import archive_stem
from facerec.imaging.photos import folder_name, normalise_person

_LABEL_SUFFIXES = ("cls", "json")
_LABEL_KEYS = ("cls", "label", "class", "person", "identity")


def holds_labels(source: Source) -> bool:
    """Whether a source has WebDataset labels."""
    return any(map(_is_label, source.names()))


def read_labels(source: Source) -> dict[str, str]:
    """The label of each image that has one, by file name.

    The files of a sample share a key, as `000017.jpg` and `000017.cls` do.

    Raises:
        InputError: a label cannot be read.
    """
    names = source.names()
    label_files = {_key(name): name for name in names if _is_label(name)}
    return {
        name: _read_label(source, label_files[_key(name)])
        for name in (photo_names(source) if label_files else ())
        if _key(name) in label_files
    }


# What a member's name begins with where a tool kept whole paths: `/` or `C:/`.
_ANCHOR = re.compile(r"^([A-Za-z]:)?/+")


class Owners:
    """Who the images of a folder, archive or URL belong to.

    Args:
        source: where they are.
        keys: all of them, `/` between folders.
        level: which folder names a person, see `data.person_level`.
        inside: the folder or the image in the source that is named; "" for all of it.
    """

    def __init__(
        self, source: Source, keys: Sequence[str], level: str = "auto", inside: str = ""
    ) -> None:
        self._source = source
        self._keys = keys
        self._level = level
        self._is_image = inside in keys
        self._root = "" if self._is_image else inside

    def owner(self, key: str) -> str:
        """The person of an image.

        Raises:
            InputError: its label cannot be read.
            UsageError: nothing names a person, or the level is none.
        """
        if key in self._labels:
            return normalise_person(self._labels[key])
        *folders, file = self._below(key).split("/")
        return normalise_person(self._rule.name(folders, file) or self._given)

    def _below(self, key: str) -> str:
        if self._root:
            return key.removeprefix(f"{self._root}/")
        return key if isinstance(self._source, FolderSource) else _ANCHOR.sub("", key)

    @cached_property
    def _labels(self) -> dict[str, str]:
        # Shards are archives; what lies beside a photo on disk is another program's.
        return {} if isinstance(self._source, FolderSource) else read_labels(self._source)

    @cached_property
    def _rule(self) -> Rule:
        if self._is_image:
            return rule_of_paths(self._level, self._keys[0].split("/")[:-1])
        packed = not self._root and not isinstance(self._source, FolderSource)
        return make_rule(self._level, levels_of(list(map(self._below, self._keys))), packed=packed)

    @cached_property
    def _given(self) -> str:
        if self._root:
            return PurePosixPath(self._root).name
        if isinstance(self._source, FolderSource):
            return folder_name(Path(self._source.name))
        return archive_stem(PurePosixPath(self._source.name.rstrip("/")).name)


def _key(name: str) -> str:
    """A sample's key: its path up to the first dot of the last part."""
    folder, _, last = name.rpartition("/")
    return f"{folder}/{last.partition('.')[0]}"


def _is_label(name: str) -> bool:
    """Whether a file is a sample's label; `1.jpg.json` is not, but what Google Takeout says of a
    photo."""
    return name.rpartition("/")[2].partition(".")[2] in _LABEL_SUFFIXES


def _read_label(source: Source, name: str) -> str:
    try:
        text = decode_text(source.read(name), f"{source.name}/{name}").strip()
    except UsageError as error:
        raise InputError(str(error)) from error
    if not name.endswith(".json"):
        return text
    try:
        fields = parse_json(text)
        return str(next(fields[key] for key in _LABEL_KEYS if key in fields))
    except (ValueError, TypeError, StopIteration) as error:
        known = ", ".join(_LABEL_KEYS)
        raise InputError(f"{source.name}/{name}: has none of {known}") from error
