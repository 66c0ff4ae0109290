"""Identification lists: gallery and probes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facerec.errors import UsageError
from facerec.evaluation.protocols.rows import Row, image_key, read_rows
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
    """Two lists with lines `image person`, or `person/photo` alone, as `read_rows` reads them.

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
    lines = [_line(row) for row in read_rows(text, where)]
    if not lines:
        raise UsageError(f"{where}: lists no images")
    return lines


def _line(row: Row) -> tuple[str, str | None]:
    columns = [image_key(row.columns[0]), *row.columns[1:]]
    if len(columns) == 2 and all(columns):
        return columns[0], columns[1]
    if len(columns) == 1 and "/" in columns[0].strip("/"):
        return columns[0], None
    raise UsageError(
        f"{row.where}: expected 'image person' or 'person/photo', not {row.line[:60]!r}"
    )
