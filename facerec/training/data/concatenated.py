"""Several training sets as one, with labels that do not meet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from facerec.faces import Image
from facerec.training.data import Examples, Labels


class Concatenated:
    """The images of several sets, one after the other.

    People of two sets are two people, even of one name; such a name is then preceded by its set's.

    Args:
        parts: the sets.
        names: of the sets.
    """

    def __init__(self, parts: Sequence[Examples], names: Sequence[str]) -> None:
        self._parts = list(parts)
        self._starts = np.cumsum([0, *(len(part.labels) for part in parts)])
        before = np.cumsum([0, *(len(part.people) for part in parts)])
        self.labels: Labels = np.concatenate(
            [part.labels + start for part, start in zip(parts, before, strict=False)]
        )
        known = Counter(person for part in parts for person in set(part.people))
        self.people = [
            f"{name}/{person}" if known[person] > 1 else person
            for part, name in zip(parts, names, strict=True)
            for person in part.people
        ]

    def name(self, index: int) -> str:
        part, inside = self._locate(index)
        return part.name(inside)

    def image(self, index: int) -> Image:
        part, inside = self._locate(index)
        return part.image(inside)

    def _locate(self, index: int) -> tuple[Examples, int]:
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._parts[number], index - int(self._starts[number])
