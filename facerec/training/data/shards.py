"""WebDataset shards: tars whose members share a key, `000017.jpg` and `000017.cls`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facerec.errors import MissingError
from facerec.faces import Image
from facerec.imaging.archives import Source
from facerec.imaging.decode import decode_image
from facerec.imaging.labels import read_labels
from facerec.training.data import Labels
from facerec.training.data.tree import MAX_PIXELS


class Shards:
    """Images in several tars, each with its label in a `.cls` (text) or `.json` member.

    Raises:
        MissingError: no image has a label.
        InputError: a label cannot be read.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = list(sources)
        self._members: list[tuple[int, str]] = []
        labels: list[str] = []
        for number, source in enumerate(self._sources):
            for name, label in read_labels(source).items():
                self._members.append((number, name))
                labels.append(label)
        if not labels:
            raise MissingError(f"{sources[0].name}: no image there has a label (.cls or .json)")
        unique, inverse = np.unique(np.array(labels, dtype=object), return_inverse=True)
        self.people = list(unique)
        self.labels: Labels = inverse.astype(np.int64)

    def name(self, index: int) -> str:
        number, member = self._members[index]
        return f"{self._sources[number].name}/{member}"

    def image(self, index: int) -> Image:
        number, member = self._members[index]
        return decode_image(self._sources[number].read(member), member, MAX_PIXELS)
