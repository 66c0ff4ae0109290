"""Exporting: a gallery of the named people's confirmed faces, for every other command."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from facerec.album.photos import from_stored
from facerec.album.store import Album
from facerec.card import ModelCard
from facerec.errors import UsageError
from facerec.gallery import Gallery
from facerec.gallery.base import Batch
from facerec.gallery.places import Places

_CONFIRMED = (
    "SELECT name, (SELECT min(path) FROM places WHERE places.photo = faces.photo), content,"
    " vector, x1, y1, x2, y2, landmarks, score, quality FROM faces"
    " JOIN people ON people.id = person JOIN photos ON photos.id = photo"
    " JOIN vectors ON face = faces.id"
    " WHERE state = 'confirmed' AND name IS NOT NULL AND NOT translated AND model = ?"
    " ORDER BY name, faces.id"
)


def album_card(album: Album) -> ModelCard:
    """The card of the album's vectors.

    Raises:
        UsageError: nothing was scanned yet.
    """
    card = album.meta("card")
    if card is None:
        raise UsageError(f"{album.path}: is empty; fill it: facerec album scan PHOTOS")
    return ModelCard.from_json(card, album.path)


def export_confirmed(album: Album, target: str | Path) -> Counter[str]:
    """Write the named people's confirmed faces as a gallery file.

    Returns:
        faces by person.

    Raises:
        UsageError: no face of a named person is confirmed, or the place cannot be written.
    """
    card = album_card(album)
    rows = list(album.rows(_CONFIRMED, (card.fingerprint(),)))
    if not rows:
        raise UsageError(
            f"{album.path}: no face of a named person is confirmed; see: facerec album name"
        )
    places = Places(Path(target).parent)
    names, paths, contents, vectors, x1, y1, x2, y2, landmarks, scores, quality = zip(
        *rows, strict=True
    )
    gallery = Gallery(card)
    gallery.append(
        Batch(
            list(names),
            ["" if path is None else places.source(from_stored(path)) for path in paths],
            list(contents),
            [{}] * len(rows),
            np.frombuffer(b"".join(vectors), "<f4").reshape(len(rows), -1),
            np.stack([x1, y1, x2, y2], axis=1).astype(np.float32),
            np.frombuffer(b"".join(landmarks), "<f4").reshape(-1, 5, 2),
            np.array(scores, np.float32),
            np.array([np.nan if one is None else one for one in quality], np.float32),
        )
    )
    gallery.save(target)
    return Counter(names)
