"""WebDataset shards: tars whose members share a key, `000017.jpg` and `000017.cls`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from facerec.archives import IMAGE_SUFFIXES, TarSource
from facerec.datasets import Labels
from facerec.datasets.tree import MAX_PIXELS
from facerec.errors import InputError, MissingError
from facerec.faces import Image
from facerec.imaging.decode import decode_image

_LABEL_KEYS = ("cls", "label", "class", "person", "identity")


class Shards:
    """Images of several tars, with the label of each in a `.cls` (text) or `.json` beside it.

    Raises:
        MissingError: no image has a label.
        InputError: a label cannot be read.
    """

    def __init__(self, sources: Sequence[TarSource]) -> None:
        self._sources = list(sources)
        self._places: list[tuple[int, str]] = []
        labels: list[str] = []
        for number, source in enumerate(self._sources):
            names = list(source.names())
            with_labels = {_key(name): name for name in names if name.endswith((".cls", ".json"))}
            for name in names:
                if (
                    PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
                    and _key(name) in with_labels
                ):
                    self._places.append((number, name))
                    labels.append(_read_label(source, with_labels[_key(name)]))
        if not labels:
            raise MissingError(f"{sources[0].name}: no image there has a label (.cls or .json)")
        unique, inverse = np.unique(np.array(labels, dtype=object), return_inverse=True)
        self.people = list(unique)
        self.labels: Labels = inverse.astype(np.int64)

    def name(self, index: int) -> str:
        number, member = self._places[index]
        return f"{self._sources[number].name}/{member}"

    def image(self, index: int) -> Image:
        number, member = self._places[index]
        return decode_image(self._sources[number].read(member), member, MAX_PIXELS)


def _key(name: str) -> str:
    """A sample's key: its path up to the first dot of the last part."""
    folder, _, last = name.rpartition("/")
    return f"{folder}/{last.partition('.')[0]}"


def _read_label(source: TarSource, name: str) -> str:
    text = source.read(name).decode("utf-8", "replace").strip()
    if not name.endswith(".json"):
        return text
    try:
        fields = json.loads(text)
        return str(next(fields[key] for key in _LABEL_KEYS if key in fields))
    except (ValueError, TypeError, StopIteration) as error:
        known = ", ".join(_LABEL_KEYS)
        raise InputError(f"{source.name}/{name}: has none of {known}") from error
