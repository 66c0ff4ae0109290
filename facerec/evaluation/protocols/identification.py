"""Identification lists: gallery and probes."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facerec.errors import UsageError


@dataclass(frozen=True, slots=True, eq=False)
class IdentificationProtocol:
    """Gallery and probe images with their people.

    Attributes:
        keys: the distinct images, as the lists name them.
        gallery: `(G,) int64` rows of `keys`.
        gallery_people: `(G,) int64`.
        probes: `(N,) int64` rows of `keys`.
        probe_people: `(N,) int64`; strangers have a number that is not in the gallery.
    """

    keys: tuple[str, ...]
    gallery: NDArray[np.int64]
    gallery_people: NDArray[np.int64]
    probes: NDArray[np.int64]
    probe_people: NDArray[np.int64]


def read_identification(
    gallery: str, gallery_where: str, probes: str, probes_where: str
) -> IdentificationProtocol:
    """Two lists with lines `image person`, or `person/photo` alone, separated as in pair lists.

    Raises:
        UsageError: a line has another form, or a list is empty.
    """
    keys: dict[str, int] = {}
    people: dict[str, int] = {}

    def rows(text: str, where: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        lines = [
            _line(line, f"{where}:{number}")
            for number, line in enumerate(text.splitlines(), start=1)
            if line.strip() and not line.startswith("#")
        ]
        if not lines:
            raise UsageError(f"{where}: lists no images")
        images = [keys.setdefault(image, len(keys)) for image, _ in lines]
        owners = [people.setdefault(person, len(people)) for _, person in lines]
        return np.array(images, dtype=np.int64), np.array(owners, dtype=np.int64)

    gallery_rows, gallery_people = rows(gallery, gallery_where)
    probe_rows, probe_people = rows(probes, probes_where)
    return IdentificationProtocol(
        tuple(keys), gallery_rows, gallery_people, probe_rows, probe_people
    )


def _line(line: str, where: str) -> tuple[str, str]:
    line = line.strip()
    separator = next((mark for mark in ("\t", ",") if mark in line), None)
    parts = [part.strip() for part in line.split(separator)]
    if len(parts) == 2 and all(parts):
        return parts[0], parts[1]
    person = posixpath.basename(posixpath.dirname(parts[0]))
    if len(parts) == 1 and person:
        return parts[0], person
    raise UsageError(f"{where}: expected 'image person' or 'person/photo', not {line!r}")
