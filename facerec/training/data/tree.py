"""A folder per person, on disk or inside a tar or a zip."""

from __future__ import annotations

import numpy as np

from facerec.errors import MissingError
from facerec.faces import Image
from facerec.imaging.archives import Source, photo_names
from facerec.imaging.decode import decode_image
from facerec.training.data import Labels

MAX_PIXELS = 4096 * 4096
"""Larger images are refused before they are decoded."""


class Tree:
    """Images labelled by the folder they are in.

    Raises:
        MissingError: there is no image in a folder.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._keys = sorted(key for key in photo_names(source) if "/" in key)
        if not self._keys:
            raise MissingError(f"{source.name}: holds no images in folders, one per person")
        folders = [key.rpartition("/")[0] for key in self._keys]
        unique, labels = np.unique(np.array(folders, dtype=object), return_inverse=True)
        self.people = _short(list(unique))
        self.labels: Labels = labels.astype(np.int64)

    def name(self, index: int) -> str:
        return f"{self._source.name}/{self._keys[index]}"

    def image(self, index: int) -> Image:
        key = self._keys[index]
        return decode_image(self._source.read(key), key, MAX_PIXELS)


def _short(folders: list[str]) -> list[str]:
    """Last parts of the folders' names, if they are unique."""
    last = [folder.rpartition("/")[2] for folder in folders]
    return last if len(set(last)) == len(last) else folders
