"""A folder per person, on disk or inside a tar or a zip."""

from __future__ import annotations

import numpy as np

from facerec.errors import MissingError
from facerec.faces import Image
from facerec.imaging.archives import Source, photo_names
from facerec.imaging.decode import decode_image
from facerec.imaging.labels import Owners
from facerec.training.data import Labels

MAX_PIXELS = 4096 * 4096
"""Larger images are refused before they are decoded."""


class Tree:
    """Images of the people that `facerec embed` names too, see `facerec.imaging.belonging`.

    Args:
        source: a folder or an archive.
        level: which folder names a person, see `data.person_level`.

    Raises:
        MissingError: there is no image.
        InputError: a label cannot be read.
    """

    def __init__(self, source: Source, level: str = "auto") -> None:
        self._source = source
        self._keys = sorted(photo_names(source))
        if not self._keys:
            raise MissingError(f"{source.name}: holds no images in folders, one per person")
        owner = Owners(source, self._keys, level).owner
        owners = np.array([owner(key) for key in self._keys], dtype=object)
        unique, labels = np.unique(owners, return_inverse=True)
        self.people = list(unique)
        self.labels: Labels = labels.astype(np.int64)

    def name(self, index: int) -> str:
        return f"{self._source.name}/{self._keys[index]}"

    def image(self, index: int) -> Image:
        key = self._keys[index]
        return decode_image(self._source.read(key), key, MAX_PIXELS)
