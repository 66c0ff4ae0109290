"""Arrays of MTCNN: NumPy's on a CPU, PyTorch's on a GPU; chunks; memory that is reused.

On a CPU the detector's many steps on few boxes take NumPy half of PyTorch's time. NumPy, unlike
PyTorch, holds the GIL through a step of microseconds: two threads that release and reacquire it at
each step are slower than one.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facerec.faces import Floats

Array = TypeVar("Array", NDArray[Any], Tensor)
Rows = TypeVar("Rows", NDArray[Any], Tensor, list[Any])
Empty = Callable[[str, Sequence[int]], Floats]

_MAX_KEPT_VALUES = 12_000_000


def namespace(array: NDArray[Any] | Tensor) -> Any:
    """The array's module, NumPy or PyTorch: functions used here have one name in both."""
    return np if isinstance(array, np.ndarray) else torch


def as_like(values: NDArray[Any], other: Array) -> Array:
    """The values as an array of the other's kind, on its device."""
    if isinstance(other, np.ndarray):
        return values
    return torch.from_numpy(values).to(other.device)


def as_tensor(array: NDArray[Any] | Tensor) -> Tensor:
    """The array as a tensor that shares its memory."""
    return torch.from_numpy(array) if isinstance(array, np.ndarray) else array


def as_numpy(array: NDArray[Any] | Tensor) -> NDArray[Any]:
    """The array as NumPy's; copied from a GPU."""
    return array if isinstance(array, np.ndarray) else array.cpu().numpy()


def in_chunks(rows: Rows, size: int) -> list[Rows]:
    """Chunks of `size` rows, the last one shorter."""
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def in_even_chunks(rows: Array, most: int, multiple: int = 1) -> list[Array]:
    """An even number of chunks where possible, so that two cores share them equally; each of about
    `most` rows at most and, but for the last, a multiple."""
    count = max(1, 2 * math.ceil(len(rows) / (2 * most)))
    return in_chunks(rows, max(1, math.ceil(len(rows) / count / multiple)) * multiple)


def shared_slices(count: int, most: int, multiple: int, shares: int) -> list[slice]:
    """Slices of `count` rows: of `most` while each of `shares` threads gets one, then of fewer.

    Each but the last is a multiple.
    """
    whole = count // (most * shares) * shares * most
    size = max(1, math.ceil((count - whole) / shares / multiple)) * multiple
    edges = [*range(0, whole, most), *range(whole, count, size), count]
    return [slice(first, last) for first, last in pairwise(edges)]


def pad_to_multiple(rows: Array, multiple: int) -> Array:
    """The rows, at least one, with the last repeated up to a multiple."""
    missing: int = -len(rows) % multiple
    padded: Array = namespace(rows).concatenate([rows, *[rows[-1:]] * missing])
    return padded


class Scratch(threading.local):
    """Buffers by name, one set per thread; the same name gets the same memory again.

    Fresh memory costs a page fault for every 4 KB, a twentieth of detection's time. Buffers of
    more than 12 million values (the pixels of 4 megapixels) are not kept.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, Floats] = {}

    def empty(self, name: str, shape: Sequence[int]) -> Floats:
        """An uninitialised float32 array."""
        size = math.prod(shape)
        if size > _MAX_KEPT_VALUES:
            return np.empty(shape, np.float32)
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < size:
            buffer = self._buffers[name] = np.empty(size, np.float32)
        return buffer[:size].reshape(shape)
