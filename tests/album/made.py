"""Albums without photos: people, faces and chips written straight into the tables."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from facerec.album.store import open_album

NAMES = ("Anna", "Ben", "Zoë", "Carl")


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


def make_album(
    path: Path,
    counts: dict[str | None, int] | list[int],
    *,
    loose: int = 0,
    chips: list[bytes] | None = None,
    size: int = 8,
) -> Path:
    """An album of people with so many faces each, one face a photo, years 2001 to 2020.

    Args:
        counts: faces by name; or of unnamed people, the first.
        loose: faces that are nobody's.
        chips: taken in turn.
        size: of the vectors, which lie near their person's.
    """

    people = list(counts.items()) if isinstance(counts, dict) else [(None, n) for n in counts]
    chips = chips or [drawn_chip(seed) for seed in range(40)]
    rng = np.random.default_rng(0)
    with open_album(path, create=True) as album, album.transaction():
        album.set_meta("model", "made")
        face = 0
        for number, (name, count) in enumerate([*people, (None, loose)], start=1):
            nobody = number > len(people)
            if not nobody:
                album.execute("INSERT INTO people (id, name) VALUES (?, ?)", (number, name))
            centre = rng.normal(size=size)
            rows = range(face + 1, face + count + 1)
            face += count
            vectors = centre + 0.3 * rng.normal(size=(count, size))
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            taken = [f"{2001 + row % 20}-{1 + row % 12:02}-15T12:00:00" for row in rows]
            album.execute_many(
                "INSERT INTO photos (id, content, width, height, taken) VALUES (?, ?, 600, 400, ?)",
                ((row, f"{row:064x}", when) for row, when in zip(rows, taken, strict=True)),
            )
            album.execute_many(
                "INSERT INTO places (path, photo, size, mtime_ns) VALUES (?, ?, 1, 1)",
                ((f"/photos/{row}.jpg", row) for row in rows),
            )
            album.execute_many(
                "INSERT INTO faces VALUES (?, ?, 200, 100, 300, 220, ?, 0.9, ?, ?, 'grouped')",
                ((row, row, bytes(40), 0.5, None if nobody else number) for row in rows),
            )
            album.execute_many(
                "INSERT INTO vectors VALUES (?, ?, 'made', 0)",
                ((row, v.astype("<f4").tobytes()) for row, v in zip(rows, vectors, strict=True)),
            )
            album.execute_many(
                "INSERT INTO chips VALUES (?, ?)",
                ((row, chips[(7 * number + row % 3) % len(chips)]) for row in rows),
            )
    return path
