"""Cutting rows into parts that are worked on by themselves."""

from __future__ import annotations

import math
from typing import Any, TypeVar

from numpy.typing import NDArray
from torch import Tensor

from facerec.detection.mtcnn.arrays import Array, namespace

Rows = TypeVar("Rows", NDArray[Any], Tensor, list[int])


def in_chunks(rows: Rows, size: int) -> list[Rows]:
    """Parts of `size` rows, the last perhaps of fewer."""
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def in_even_chunks(rows: Array, most: int, multiple: int = 1) -> list[Array]:
    """Parts of at most about `most` rows, and of a multiple of rows but for the last; their number
    is even where that can be, so that two cores share them alike."""
    parts = max(1, 2 * math.ceil(len(rows) / (2 * most)))
    return in_chunks(rows, max(1, math.ceil(len(rows) / parts / multiple)) * multiple)


def filled_up(rows: Array, multiple: int) -> Array:
    """The rows, at least one, and the last again and again until they are a multiple."""
    missing: int = -len(rows) % multiple
    filled: Array = namespace(rows).concatenate([rows, *[rows[-1:]] * missing])
    return filled
