"""Albums without photos: people, faces and chips written straight into the tables."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from facerec.album.store import Album, open_album
from facerec.faces import Floats
from facerec.imaging.draw import write_image
from tests.conftest import make_card, noise


def drawn_chip(seed: int, side: int = 96) -> bytes:
    """A JPEG of a face as children draw it, in colours of its own."""
    rng = np.random.default_rng(seed)
    ground, skin, hair = (tuple(map(int, rng.integers(60, 230, 3))) for _ in range(3))
    image = np.full((side, side, 3), ground, np.uint8)
    centre, radius = (side // 2, side // 2), side // 3
    cv2.circle(image, centre, radius + 5, hair, -1)
    cv2.circle(image, (centre[0], centre[1] + 4), radius, skin, -1)
    for x in (-1, 1):
        cv2.circle(image, (centre[0] + x * radius // 2, centre[1] - 2), 4, (20, 20, 20), -1)
    cv2.ellipse(image, (centre[0], centre[1] + 12), (radius // 2, 7), 0, 0, 180, (20, 20, 90), 2)
    return cv2.imencode(".jpg", image)[1].tobytes()


@dataclass(frozen=True)
class Group:
    """Faces of one person, or of nobody.

    Attributes:
        faces: how many, each in a photo of its own.
        name: None: unnamed; faces of people with names are confirmed.
        like: who has faces of the same kind, by place among the groups; None: nobody.
        nobody: whether they are no person's.
    """

    faces: int
    name: str | None = None
    like: int | None = None
    nobody: bool = False


def make_album(
    path: Path, groups: Sequence[Group], *, chips: list[bytes] | None = None, size: int = 16
) -> Path:
    """An album of groups, of the years 2001 to 2020; people are numbered from 1.

    Args:
        chips: taken in turn.
        size: of the vectors.
    """
    chips = chips or [drawn_chip(seed) for seed in range(40)]
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(len(groups), size))
    with open_album(path, create=True) as album, album.transaction():
        album.set_meta("model", "made")
        album.set_meta("card", make_card(size).to_json())
        album.set_meta("grouping", '{"threshold": 0.8, "likely": 0.7}')
        last = 0
        for place, group in enumerate(groups):
            person = None if group.nobody else place + 1
            if person is not None:
                values = (person, group.name)
                album.execute("INSERT INTO people (id, name) VALUES (?, ?)", values)
            centre = centres[place if group.like is None else group.like]
            rows = range(last + 1, last + group.faces + 1)
            last += group.faces
            vectors = centre + 0.2 * rng.normal(size=(group.faces, size))
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            own = [chips[(7 * place + number % 3) % len(chips)] for number in rows]
            _add(album, rows, person, group.name is not None, vectors, own)
    return path


def _add(
    album: Album, rows: range, person: int | None, confirmed: bool, vectors: Floats,
    chips: list[bytes],
) -> None:  # fmt: skip
    taken = [f"{2001 + row % 20}-{1 + row % 12:02}-15T12:00:00" for row in rows]
    album.execute_many(
        "INSERT INTO photos (id, content, width, height, taken) VALUES (?, ?, 600, 400, ?)",
        ((row, f"{row:064x}", when) for row, when in zip(rows, taken, strict=True)),
    )
    album.execute_many(
        "INSERT INTO places (path, photo, size, mtime_ns) VALUES (?, ?, 1, 1)",
        ((f"/photos/{row}.jpg", row) for row in rows),
    )
    state = "confirmed" if confirmed else "grouped"
    album.execute_many(
        "INSERT INTO faces (id, photo, x1, y1, x2, y2, landmarks, score, quality, person, state)"
        " VALUES (?, ?, 200, 100, 300, 220, ?, 0.9, 0.5, ?, ?)",
        ((row, row, bytes(40), person, state) for row in rows),
    )
    if confirmed:
        album.execute_many(
            "INSERT INTO decisions (kind, face, person) VALUES ('is', ?, ?)",
            ((row, person) for row in rows),
        )
    album.execute_many(
        "INSERT INTO vectors (face, vector, model) VALUES (?, ?, 'made')",
        ((row, one.astype("<f4").tobytes()) for row, one in zip(rows, vectors, strict=True)),
    )
    album.execute_many(
        "INSERT INTO chips (face, jpeg) VALUES (?, ?)", zip(rows, chips, strict=True)
    )


def real_photo(file: Path, path: Path, photo: int) -> Path:
    """A picture of 2400 by 1600 pixels as one of an album's photos."""
    write_image(file, cv2.resize(noise(40, 60), (2400, 1600), interpolation=cv2.INTER_NEAREST))
    content = hashlib.sha256(file.read_bytes()).hexdigest()
    with open_album(path) as album, album.transaction():
        album.execute(
            "UPDATE photos SET content = ?, width = 2400, height = 1600 WHERE id = ?",
            (content, photo),
        )
        album.execute("UPDATE places SET path = ? WHERE photo = ?", (str(file), photo))
    return file
