"""Files that may be malformed or hostile: whatever is wrong with them is one error.

Python's parsers recurse, and their converters raise what the conversion raises: text nested a
thousand deep, a number of 5,000 digits, the 45th of January.
"""

from __future__ import annotations

import csv
import json
import lzma
import pickle
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import yaml

T = TypeVar("T")

_DEEPEST = 100
"""Levels of nested YAML."""
_MOST_VALUES = 1_000_000
"""Values of a YAML file with every alias written out ("billion laughs" has 10^9)."""

MALFORMED: tuple[type[Exception], ...] = (
    OSError, EOFError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError,
    AssertionError, RuntimeError, SyntaxError, MemoryError, struct.error, zlib.error, csv.Error,
    lzma.LZMAError, pickle.PickleError, tokenize.TokenError, zipfile.BadZipFile,
)  # fmt: skip
"""What readers of h5py, NumPy, PyTorch and the standard library raise for hostile bytes; a size
that is not true is a MemoryError."""


def parse_json(text: str | bytes) -> Any:
    """As `json.loads`.

    Raises:
        ValueError: also for text that is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def parse_yaml(text: str, *, loader: Any = yaml.SafeLoader) -> Any:
    """As `yaml.safe_load`.

    Args:
        loader: PyYAML's class.

    Raises:
        yaml.YAMLError: whatever is wrong with it.
    """
    root = compose_yaml(text, loader=loader)
    return None if root is None else construct_yaml(root)


def compose_yaml(text: str, *, loader: Any = yaml.SafeLoader) -> yaml.Node | None:
    """The tree of nodes of a YAML text; None if it is empty.

    Raises:
        yaml.YAMLError: it is malformed, nested too deeply, contains itself, or its aliases stand
            for too much.
    """
    root: yaml.Node | None = _explained(lambda: yaml.compose(text, Loader=loader), None)
    if root is not None:
        _count(root, {}, ())
    return root


def construct_yaml(node: yaml.Node) -> Any:
    """The value of a node.

    Raises:
        yaml.YAMLError: its tag asks for an object, or for a number or date that it is not.
    """
    return _explained(
        lambda: yaml.constructor.SafeConstructor().construct_object(node, deep=True), node
    )


def brief(error: BaseException) -> str:
    """An error's first line, at most 120 characters; its kind if it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0].strip("'\"")[:120] if lines else type(error).__name__


def _explained(parse: Callable[[], T], node: yaml.Node | None) -> T:
    mark = None if node is None else node.start_mark
    try:
        return parse()
    except RecursionError as error:
        raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=mark) from error
    except yaml.YAMLError:
        raise
    except MALFORMED as error:
        problem = f"not such a value: {error}"[:200]
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark) from error


def _count(node: yaml.Node, counted: dict[int, int], above: tuple[int, ...]) -> int:
    """Values of a node, those of an alias counted each time it stands somewhere."""
    here = id(node)
    if here in counted:
        return counted[here]
    if here in above:
        raise _refused(node, "contains itself")
    if len(above) > _DEEPEST:
        raise _refused(node, "nested too deeply")
    inner: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        inner = node.value
    elif isinstance(node, yaml.MappingNode):
        inner = [part for pair in node.value for part in pair]
    total = 1
    for part in inner:
        total += _count(part, counted, (*above, here))
        if total > _MOST_VALUES:
            raise _refused(node, "its aliases stand for too much")
    counted[here] = total
    return total


def _refused(node: yaml.Node, problem: str) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
