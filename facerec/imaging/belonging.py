"""Who a photo belongs to: one rule, for folders, archives, URLs and lists, in every command.

A photo belongs to the person that the first folder below what was given is named after, however
deep it lies: `PEOPLE/001/frontal/01.jpg` is of `001`, as in CFP. Folders that name nobody are
passed: sets (`train`, `val`, `Images`) and views (`frontal`, `profile`) that hold only folders,
and in an archive also a lone folder around everything. Views that hold photos are of whom they lie
in. A photo in no folder belongs to what was given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from facerec.errors import UsageError

PERSON_LEVELS = ("auto", "top", "parent", "file")
"""`--person-level` besides a number."""

# What data sets call their parts, and tools the folder that holds all; never a person.
_SET_NAMES = """
    train training val valid validation test testing eval dev gallery galleries probe probes query
    data dataset datasets image images img imgs photo photos picture pictures pics face faces people
    persons person identities ids subjects celebrities actors actresses
"""
# What one person's photos are sorted by.
_VIEW_WORDS = """
    frontal front profile side left right up down near far pose poses view views angle angles indoor
    indoors outdoor outdoors day night smile smiling neutral glasses sunglasses mask masked unmasked
    session sessions visit camera cam rgb ir nir depth
"""
_SETS, _VIEWS = frozenset(_SET_NAMES.split()), frozenset(_VIEW_WORDS.split())
_WORDS = re.compile(r"[a-z]+")
_DATE = re.compile(r"(19|20)\d\d([-_. ]?\d\d){0,2}")
# `ann_2.jpg` and `ann (2).jpg`, but not `s1.jpg`.
_COUNTER = re.compile(r"[\s_.-]+(\d+|\(\d+\))$")

Folders = Sequence[str]
"""The names of the folders that a photo lies in, the outermost first."""


@dataclass(frozen=True, slots=True)
class Level:
    """The folders at one level of a tree.

    Attributes:
        photos: whether one of them holds photos itself.
        inside: the names of the folders in them that lead to photos; of a folder on disk, up to the
            first that may name a person.
    """

    photos: bool
    inside: frozenset[str]


Look = Callable[[int], Level]
"""A tree's level by depth: the folders that so many others enclose."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Which of a photo's folders names its person.

    Attributes:
        depth: how many folders, from the outermost, lead to the person's, its own among them; 0:
            what was given; None: all of them.
        by_file: the file's name does.
    """

    depth: int | None
    by_file: bool = False

    def name(self, folders: Folders, file: str) -> str | None:
        """The name of a photo's person; None: what was given names it."""
        if self.by_file:
            stem = PurePosixPath(file).stem
            return _COUNTER.sub("", stem) or stem
        named = folders[: self.depth] if self.depth is not None else folders
        return named[-1] if named else None


def parse_level(level: str) -> str | int:
    """A `--person-level`.

    Raises:
        UsageError: it is none.
    """
    if level in PERSON_LEVELS:
        return level
    if level.isdecimal():
        return int(level)
    known = ", ".join(PERSON_LEVELS)
    raise UsageError(f"person level {level}: give {known}, or the number of folders to a person's")


def make_rule(level: str, look: Look, *, packed: bool = False) -> Rule:
    """The rule for a tree.

    Args:
        level: a `--person-level`.
        look: at the tree; called only for `auto`.
        packed: the tree is an archive or behind a URL, and may be wrapped in a folder.

    Raises:
        UsageError: `level` is none.
    """
    parsed = parse_level(level)
    if parsed == "auto":
        return Rule(_person_depth(look, packed=packed))
    return _explicit(parsed)


def _explicit(parsed: str | int) -> Rule:
    if isinstance(parsed, int):
        return Rule(parsed)
    return Rule(1 if parsed == "top" else None, by_file=parsed == "file")


def rule_of_paths(level: str, folders: Folders) -> Rule:
    """The rule for one path that was named itself, not found in a tree: its folder, or the one
    around it where that is a view."""
    parsed = parse_level(level)
    if parsed != "auto":
        return _explicit(parsed)
    depth = len(folders)
    while depth > 1 and _is_view(folders[depth - 1]):
        depth -= 1
    return Rule(depth)


def levels_of(keys: Sequence[str]) -> Look:
    """A look at the tree that some photos' keys make, `/` between folders."""

    def look(depth: int) -> Level:
        parts = [key.split("/", depth + 1) for key in keys]
        photos = any(len(part) == depth + 1 for part in parts)
        return Level(photos, frozenset(part[depth] for part in parts if len(part) > depth + 1))

    return look


def _person_depth(look: Look, *, packed: bool) -> int:
    depth, here = 0, look(0)
    while here.inside:
        nobody = all(map(names_nobody, here.inside))
        lone = packed and len(here.inside) == 1 and not here.photos
        if not nobody and not lone:
            break
        below = look(depth + 1)
        if nobody and below.photos:
            return depth if all(map(_is_view, here.inside)) else depth + 1
        if not nobody and _sorts_one_person(below.inside, look(depth + 2)):
            break
        depth, here = depth + 1, below
    return depth + 1


def _sorts_one_person(names: frozenset[str], below: Level) -> bool:
    """Whether folders sort one person's photos, rather than hold people.

    Args:
        names: theirs.
        below: the level in them.
    """
    parts = all(_is_view(name) or _DATE.fullmatch(name) for name in names)
    return parts and (below.photos or not all(map(names_nobody, names)))


def names_nobody(name: str) -> bool:
    """Whether a folder is called after a set or a view, not after a person."""
    return name.lower() in _SETS or _is_view(name)


def _is_view(name: str) -> bool:
    """Whether a folder's name is how a person was taken: `frontal`, `left-2`, `session_1`."""
    words = _WORDS.findall(name.lower())
    return bool(words) and _VIEWS.issuperset(words)
