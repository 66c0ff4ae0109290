"""Memory that a thread uses again for one picture after the other."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence

import numpy as np

from facerec.faces import Floats

Empty = Callable[[str, Sequence[int]], Floats]

_MOST_VALUES = 12_000_000


class Scratch(threading.local):
    """Arrays by name, each thread its own; what asks for the same name again gets the same memory.

    Fresh memory costs a page fault for every 4 KB, a twentieth of the time that detection takes.
    Arrays of more than 12 million values (the pixels of 4 megapixels) are not kept.
    """

    def __init__(self) -> None:
        self._held: dict[str, Floats] = {}

    def empty(self, name: str, shape: Sequence[int]) -> Floats:
        """An array `shape` of float32, with anything in it."""
        size = math.prod(shape)
        if size > _MOST_VALUES:
            return np.empty(shape, np.float32)
        held = self._held.get(name)
        if held is None or len(held) < size:
            held = self._held[name] = np.empty(size, np.float32)
        return held[:size].reshape(shape)
