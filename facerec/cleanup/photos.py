"""The images of a data set and facts about each, as columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facerec.cleanup.groups import Rows
from facerec.faces import Floats
from facerec.files.parsing import parse_json
from facerec.imaging.photos import normalise_person

UNREADABLE = -1
"""Number of faces of an image that cannot be read."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about one image, besides its vector.

    Attributes:
        faces: number of faces; 1 for an aligned image; -1 if it cannot be read.
        height, width: pixels; 0 if unknown.
        size: longer side of the chosen face's box in pixels; NaN for an aligned image.
        yaw: see `facerec.engine.quality.yaw`; NaN if unknown.
        sharpness: see `survey.sharpness`; NaN if unknown.
        looks: see `survey.perceptual_hash`; 0 if unknown.
    """

    faces: int
    height: int = 0
    width: int = 0
    size: float = float("nan")
    yaw: float = float("nan")
    sharpness: float = float("nan")
    looks: int = 0

    def to_json(self) -> str:
        """The facts as a JSON object."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Facts:
        """Inverse of `to_json`."""
        return cls(**parse_json(text))


@dataclass(frozen=True, slots=True, eq=False)
class Photos:
    """One row per image, those of a person together.

    Attributes:
        path: `(N,) object` str; each image's file.
        file: `(N,) object` str; its path in a tree of folders by person, with slashes.
        person: `(N,)` index into `people`, ascending.
        people: names.
        sha256: `(N,) object` str; hash of the file, empty if it cannot be read.
        vector: `(N, D) float32` unit vectors; a row of NaN without a face.
        facts: one each.
        by_file: people are named by the files, so that no folder is theirs.
    """

    path: NDArray[np.object_]
    file: NDArray[np.object_]
    person: Rows
    people: Sequence[str]
    sha256: NDArray[np.object_]
    vector: Floats
    facts: Sequence[Facts]
    by_file: bool = False

    def __len__(self) -> int:
        return len(self.person)

    def embedded(self) -> Rows:
        """The rows that have a vector."""
        return np.flatnonzero(~np.isnan(self.vector[:, 0]))

    def owners(self, rows: Rows) -> tuple[Rows, int]:
        """`(n,)` person of each of some rows, from 0 without gaps, and how many people they are."""
        numbers, person = np.unique(self.person[rows], return_inverse=True)
        return person, len(numbers)

    def vectors(self, rows: Rows) -> Floats:
        """`(n, D) float32` of ascending rows; of all rows not copied."""
        return self.vector if len(rows) == len(self) else self.vector[rows]

    def taken(self, rows: Rows, person: Rows, people: Sequence[str]) -> Photos:
        """Some rows, reordered and assigned to other people."""
        return Photos(
            self.path[rows], self.file[rows], person, people, self.sha256[rows],
            self.vector[rows], [self.facts[row] for row in rows], self.by_file,
        )  # fmt: skip

    def images(self) -> list[tuple[str, str, str]]:
        """Absolute path, hash and path in the tree of each, as `plan.plan` takes them."""
        absolute = (str(Path(path).absolute()) for path in self.path)
        return list(zip(absolute, self.sha256.tolist(), self.file.tolist(), strict=True))

    def folder(self, row: int) -> str:
        """The folder of an image's person: its path in the tree, "" at its top."""
        folders = str(self.file[row]).split("/")[:-1]
        named = [normalise_person(folder) for folder in folders]
        person = self.people[self.person[row]]
        return "/".join(folders[: named.index(person) + 1] if person in named else folders[:1])


def collect(
    items: Sequence[tuple[str, str, str]], found: Sequence[tuple[str, Floats | None, Facts]],
    size: int, *, by_file: bool = False,
) -> Photos:  # fmt: skip
    """Photos from person, path and file of each image, and its hash, vector and facts.

    Args:
        size: length of the vectors.
        by_file: people are named by the files.
    """
    order = sorted(range(len(items)), key=lambda row: (items[row][0], items[row][2]))
    people = sorted({person for person, _, _ in items})
    number = {person: index for index, person in enumerate(people)}
    vector = np.full((len(items), size), np.nan, np.float32)
    for row, source in enumerate(order):
        known = found[source][1]
        if known is not None:
            vector[row] = known
    return Photos(
        np.array([items[row][1] for row in order], object),
        np.array([items[row][2] for row in order], object),
        np.array([number[items[row][0]] for row in order], np.intp),
        people,
        np.array([found[row][0] for row in order], object),
        vector,
        [found[row][2] for row in order],
        by_file,
    )
