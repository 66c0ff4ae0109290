"""Identification lists: gallery and probes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facerec.errors import UsageError
from facerec.imaging.belonging import levels_of, make_rule
from facerec.imaging.photos import normalise_person


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
    gallery: str, gallery_where: str, probes: str, probes_where: str, level: str = "auto"
) -> IdentificationProtocol:
    """Two lists with lines `image person`, or `person/photo` alone, separated as in pair lists.

    Args:
        level: which folder of `person/photo` names the person, see `data.person_level`.

    Raises:
        UsageError: a line has another form, or a list is empty.
    """
    lists = [
        _lines(text, where) for text, where in ((gallery, gallery_where), (probes, probes_where))
    ]
    unnamed = [image for lines in lists for image, person in lines if person is None]
    rule = make_rule(level, levels_of(unnamed), packed=True)
    keys: dict[str, int] = {}
    people: dict[str, int] = {}
    rows = []
    for lines in lists:
        owners = []
        for image, person in lines:
            *folders, file = image.split("/")
            owner = normalise_person(person or rule.name(folders, file) or folders[-1])
            owners.append(people.setdefault(owner, len(people)))
        images = [keys.setdefault(image, len(keys)) for image, _ in lines]
        rows += [np.array(images, dtype=np.int64), np.array(owners, dtype=np.int64)]
    return IdentificationProtocol(tuple(keys), *rows)


def _lines(text: str, where: str) -> list[tuple[str, str | None]]:
    """Image and person of each line; None where its folders name the person."""
    lines = [
        _line(line, f"{where}:{number}")
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.startswith("#")
    ]
    if not lines:
        raise UsageError(f"{where}: lists no images")
    return lines


def _line(line: str, where: str) -> tuple[str, str | None]:
    line = line.strip()
    separator = next((mark for mark in ("\t", ",") if mark in line), None)
    parts = [part.strip() for part in line.split(separator)]
    if len(parts) == 2 and all(parts):
        return parts[0], parts[1]
    if len(parts) == 1 and "/" in parts[0].strip("/"):
        return parts[0], None
    raise UsageError(f"{where}: expected 'image person' or 'person/photo', not {line[:60]!r}")
