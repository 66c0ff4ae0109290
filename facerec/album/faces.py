"""Faces of an album: boxes, vectors, chips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from facerec.album.photos import from_stored
from facerec.album.records import FaceColumns, NewFace, StoredFace
from facerec.album.store import Album, Row
from facerec.faces import Floats, box_iou

SAME_BOX = 0.5
"""Intersection over union from which two boxes of one photo are one face."""

_FACE = (
    "SELECT faces.id, faces.photo, (SELECT min(path) FROM places WHERE places.photo = faces.photo),"
    " x1, y1, x2, y2, score, quality, taken, person, name, state"
    " FROM faces JOIN photos ON photos.id = faces.photo LEFT JOIN people ON people.id = person"
)


def add_faces(
    album: Album, photo: int, content: str, faces: Sequence[NewFace], model: str
) -> list[int | None]:
    """Add faces of a photo, without those that were erased from it.

    Args:
        content: the photo's.
        model: fingerprint of the card that made the vectors.

    Returns:
        their ids; None for an erased one.
    """
    erased = read_erased(album, content)
    return [
        None if _is_among(one.face.box, erased) else _add_face(album, photo, one, model)
        for one in faces
    ]


def _add_face(album: Album, photo: int, new: NewFace, model: str) -> int:
    face = new.face
    assert face.embedding is not None, "faces are stored with their vectors"
    added = album.execute(
        "INSERT INTO faces (photo, x1, y1, x2, y2, landmarks, score, quality)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            photo, *face.box.astype(float).tolist(), face.landmarks.astype("<f4").tobytes(),
            float(face.score), face.quality,
        ),
    ).lastrowid  # fmt: skip
    assert added is not None, "a row was inserted"
    vector = face.embedding.astype("<f4").tobytes()
    album.execute(
        "INSERT INTO vectors (face, vector, model) VALUES (?, ?, ?)", (added, vector, model)
    )
    album.execute("INSERT INTO chips VALUES (?, ?)", (added, new.chip))
    return added


def read_erased(album: Album, content: str) -> Floats:
    """`(N, 4) float32`: boxes of faces that were erased from a photo."""
    rows = album.rows("SELECT x1, y1, x2, y2 FROM erased WHERE content = ?", (content,))
    return np.array(list(rows), np.float32).reshape(-1, 4)


def _is_among(box: Floats, boxes: Floats) -> bool:
    return bool((box_iou(box[None], boxes) >= SAME_BOX).any())


def read_faces(
    album: Album, people: Iterable[int] | None = None, *, photo: int | None = None
) -> Iterator[StoredFace]:
    """Faces by id, without those of photos that lie nowhere any more.

    Args:
        people: only theirs.
        photo: only this one's.
    """
    conditions = ["EXISTS (SELECT 1 FROM places WHERE places.photo = faces.photo)"]
    values: list[int] = []
    if people is not None:
        values += people
        conditions.append(f"person IN ({','.join('?' * len(values))})")
    if photo is not None:
        conditions.append("faces.photo = ?")
        values.append(photo)
    sql = f"{_FACE} WHERE {' AND '.join(conditions)} ORDER BY faces.id"
    yield from map(_stored, album.rows(sql, values))


def read_face(album: Album, face: int) -> StoredFace | None:
    """One face by its id, wherever its photo lies; None: there is none."""
    found = album.row(f"{_FACE} WHERE faces.id = ?", (face,))
    return None if found is None else _stored(found)


def _stored(row: Row) -> StoredFace:
    face, photo, path, x1, y1, x2, y2, score, quality, taken, person, name, state = row
    return StoredFace(
        face, photo, None if path is None else from_stored(path), (x1, y1, x2, y2), score, quality,
        taken, person, name, state == "confirmed",
    )  # fmt: skip


def read_chip(album: Album, face: int) -> bytes | None:
    """The small JPEG of a face; None: there is no such face."""
    found = album.row("SELECT jpeg FROM chips WHERE face = ?", (face,))
    return None if found is None else bytes(found[0])


def read_columns(album: Album) -> FaceColumns:
    """What a grouping needs of all faces, also of photos that lie nowhere at the moment."""
    rows = list(
        album.rows(
            "SELECT faces.id, photo, quality, taken, person, state, translated, vector"
            " FROM faces JOIN photos ON photos.id = photo JOIN vectors ON face = faces.id"
            " WHERE model = (SELECT value FROM meta WHERE key = 'model') ORDER BY faces.id"
        )
    )
    columns: list[tuple[Any, ...]] = list(zip(*rows, strict=True)) or [()] * 8
    ids, photos, quality, taken, person, state, translated, vectors = columns
    size = len(vectors[0]) // 4 if vectors else 0
    return FaceColumns(
        np.array(ids, np.int64),
        np.array(photos, np.int64),
        np.frombuffer(b"".join(vectors), "<f4").reshape(-1, size) if size else _no_vectors(),
        np.array([np.nan if one is None else one for one in quality], np.float32),
        np.array(taken, object),
        np.array([-1 if one is None else one for one in person], np.int64),
        np.array([one == "confirmed" for one in state], bool),
        np.array(translated, bool),
    )


def _no_vectors() -> Floats:
    return np.empty((0, 0), np.float32)


def assign_faces(album: Album, people: Iterable[tuple[int, int | None]]) -> None:
    """Take faces for people, as a grouping does: confirmed faces stay whose they are, and nobody
    gets a face that the user said is not theirs.

    Args:
        people: face and person each; None: nobody yet.
    """
    album.execute_many(
        "UPDATE faces SET person = ?2 WHERE id = ?1 AND state = 'grouped' AND person IS NOT ?2"
        " AND NOT EXISTS (SELECT 1 FROM decisions"
        " WHERE kind = 'is-not' AND face = ?1 AND decisions.person = ?2)",
        people,
    )


def shown_twice(album: Album, person: int) -> list[tuple[str | None, list[int]]]:
    """Photos that show somebody more than once, and these faces, from the left.

    Grouping makes none of these: a user confirmed them, or merged people.
    """
    several = (
        "SELECT photo FROM faces WHERE person = ? GROUP BY photo HAVING count(*) > 1 ORDER BY photo"
    )
    return [
        (
            _path_of(album, photo),
            [
                int(face)
                for (face,) in album.rows(
                    "SELECT id FROM faces WHERE photo = ? AND person = ? ORDER BY x1, id",
                    (photo, person),
                )
            ],
        )
        for (photo,) in list(album.rows(several, (person,)))
    ]


def _path_of(album: Album, photo: int) -> str | None:
    """The first place of a photo; None: it lies nowhere any more."""
    found = album.row("SELECT min(path) FROM places WHERE photo = ?", (photo,))
    return None if found is None or found[0] is None else from_stored(found[0])
