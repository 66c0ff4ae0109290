"""Messages of frames over a pipe; their pixels are copied by the pipe alone."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Sequence
from io import BufferedReader
from typing import Any

import numpy as np

_ALIGNMENT = 64
"""Each array begins at a multiple of so many bytes, as do those allocated one by one."""

Parts = Sequence[bytes | memoryview]


def pack(message: Any) -> Parts:
    """A pickled message and its arrays' bytes, to be written one after the other."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    arrays = [buffer.raw() for buffer in buffers]
    return [pickle.dumps((pickled, [array.nbytes for array in arrays])), *arrays]


def receive(pipe: BufferedReader) -> Any:
    """The next message from `pack`. Its arrays lie in one block of memory, freed with the last.

    Raises:
        EOFError: the pipe was closed.
    """
    pickled, sizes = pickle.load(pipe)
    places = list(
        itertools.accumulate((-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes), initial=0)
    )
    block = np.empty(places[-1], np.uint8).data
    arrays = [block[place : place + size] for place, size in zip(places, sizes, strict=False)]
    for array in arrays:
        if pipe.readinto(array) < len(array):
            raise EOFError
    return pickle.loads(pickled, buffers=arrays)
