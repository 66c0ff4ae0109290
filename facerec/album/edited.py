"""Photos whose bytes have changed where they lie, as when a program writes metadata into them.

The same picture keeps its faces, with their ids and all that was decided about them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facerec.album.faces import SAME_BOX
from facerec.album.photos import from_stored, to_stored
from facerec.album.records import NewFace
from facerec.album.store import Album
from facerec.faces import Floats, box_iou

_SAME_FACE = 0.98
"""Cosine from which two faces in one place of a picture are one face, encoded anew or
retouched; the next photo of a burst is less like it."""


def photo_before(album: Album, path: str, size: tuple[int, int]) -> int | None:
    """The photo that lay at a path when it was last looked at, if it had this height and width."""
    found = album.row(
        "SELECT photo FROM places JOIN photos ON photos.id = photo"
        " WHERE path = ? AND height = ? AND width = ?",
        (to_stored(path), *size),
    )
    return None if found is None else int(found[0])


def carry_erased(album: Album, before: int, content: str) -> None:
    """What was erased from a photo stays erased under its new content."""
    album.execute(
        "INSERT INTO erased SELECT ?1, x1, y1, x2, y2 FROM erased"
        " WHERE content = (SELECT content FROM photos WHERE id = ?2)"
        " AND NOT EXISTS (SELECT 1 FROM erased WHERE content = ?1)",
        (content, before),
    )


def same_faces(album: Album, photo: int, faces: Sequence[NewFace]) -> dict[int, int]:
    """The new faces, by place in the list, that are faces of a photo: to these faces' ids."""
    rows = list(
        album.rows(
            "SELECT faces.id, x1, y1, x2, y2, vector FROM faces JOIN vectors ON face = faces.id"
            " WHERE photo = ?",
            (photo,),
        )
    )
    if not rows:
        return {}
    boxes = np.array([row[1:5] for row in rows], np.float32)
    vectors = [np.frombuffer(row[5], "<f4") for row in rows]
    same: dict[int, int] = {}
    for place, new in enumerate(faces):
        (shared,) = box_iou(new.face.box[None], boxes)
        best = int(shared.argmax())
        face = int(rows[best][0])
        alike = _cosine(new.face.embedding, vectors[best]) >= _SAME_FACE
        if shared[best] >= SAME_BOX and alike and face not in same.values():
            same[place] = face
    return same


def _cosine(one: Floats | None, other: Floats) -> float:
    return -1.0 if one is None or one.shape != other.shape else float(one @ other)


def lies_elsewhere(album: Album, photo: int, path: str) -> bool:
    """Whether a photo also lies at another path than this."""
    paths = album.rows("SELECT path FROM places WHERE photo = ?", (photo,))
    return any(from_stored(one) != path for (one,) in paths)


def change_content(album: Album, photo: int, content: str, taken: str | None) -> None:
    """A photo gets its new content, and is still known by the old; what could not be decoded as
    the new one before gives way."""
    damaged = album.row("SELECT id FROM photos WHERE content = ?", (content,))
    if damaged is not None:
        album.execute("UPDATE places SET photo = ? WHERE photo = ?", (photo, damaged[0]))
        album.execute("DELETE FROM photos WHERE id = ?", damaged)
    album.execute(
        "INSERT OR IGNORE INTO contents SELECT content, id FROM photos WHERE id = ?", (photo,)
    )
    album.execute("UPDATE photos SET content = ?, taken = ? WHERE id = ?", (content, taken, photo))


def copy_decisions(album: Album, faces: dict[int, int]) -> None:
    """What was decided about faces is decided about those of a copy too.

    Args:
        faces: face of the copy → face that was decided about.
    """
    rows = list(faces.items())
    album.execute_many(
        "UPDATE faces SET (person, state) = (SELECT person, state FROM faces WHERE id = ?2)"
        " WHERE id = ?1",
        rows,
    )
    album.execute_many(
        "INSERT OR IGNORE INTO decisions (kind, face, person)"
        " SELECT kind, ?1, person FROM decisions WHERE face = ?2",
        rows,
    )
