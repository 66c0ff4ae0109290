"""Migrating an album to another model: vectors change; faces, names and decisions stay.

Each face is embedded again from its photo, by the landmarks that the album has. Faces whose photos
are not there are translated by a map learned from the others, see `facerec.album.translation`, and
marked until they can be embedded. New vectors are gathered beside the old ones and take their place
in one transaction, so an album is of one model at any time, and a killed run goes on where it
stopped.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from facerec.album.export import album_card
from facerec.album.listing import place_of
from facerec.album.photos import find_photo, from_stored
from facerec.album.store import Album
from facerec.album.translation import Translation, fit_translation
from facerec.card import ModelCard
from facerec.engine.engine import Engine
from facerec.errors import InputError
from facerec.faces import Face, Floats, Image
from facerec.imaging.decode import decode_image
from facerec.imaging.names import is_archive, is_url
from facerec.imaging.photos import FailedPhoto, FilePhoto, Photo, is_file
from facerec.imaging.sources import find_photos

LEAST = 200
"""Faces from which a map is learned; the guide has what a map of so many is worth."""
_BATCH = 64
"""Faces from which no more are waited for: they are embedded and committed together."""
_BATCH_BYTES = 1 << 28
"""Bytes of their photos' pixels from which no more are waited for."""


@dataclass
class Migration:
    """What a migration has done, or would.

    Attributes:
        faces: of the album.
        embedded: those embedded again from their photos.
        translated: those translated, also by an earlier run.
        left: those that can be neither; they have no vector of the new model.
        translation: the map; None: none was needed, or there are too few faces to learn it from.
        failed: photos that are there and cannot be read, with the error.
    """

    faces: int = 0
    embedded: int = 0
    translated: int = 0
    left: int = 0
    translation: Translation | None = None
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class _Wanted:
    """A photo with faces that are to be embedded."""

    photo: int
    places: tuple[str, ...]
    faces: tuple[tuple[int, Floats], ...]
    """Id and landmarks."""


def is_migrated(album: Album, card: ModelCard) -> bool:
    """Whether an album is of a model, and no vector is translated."""
    if album.meta("model") != card.fingerprint():
        return False
    sql = "SELECT 1 FROM vectors WHERE translated OR model != ?"
    return album.row(sql, (card.fingerprint(),)) is None


def plan_migration(album: Album, card: ModelCard) -> Migration:
    """What is left to do for a migration to a model, as far as it seems without reading photos."""
    wanted = list(_wanted(album, card.fingerprint()))
    there = sum(len(one.faces) for one in wanted if any(map(_seems_there, one.places)))
    faces = _count(album, "SELECT count(*) FROM vectors")
    return Migration(faces, there, sum(len(one.faces) for one in wanted) - there)


def migrate(
    album: Album,
    engine: Engine,
    max_pixels: int,
    *,
    observe: Callable[[int], None] = lambda _: None,
) -> Migration:
    """Give all faces vectors of the engine's model; the album is of that model then.

    If photos are missing, and too few are there to learn a map from, the album stays as it is, and
    what was embedded is kept for the next run.

    Args:
        observe: callback with the number of faces done.

    Raises:
        UsageError: the album cannot be written.
    """
    model = engine.card.fingerprint()
    _begin(album, model)
    report = Migration(faces=_count(album, "SELECT count(*) FROM vectors"))
    wanted = list(_wanted(album, model))
    engine = engine.in_whole_batches()
    batch: list[tuple[int, tuple[Image, Face]]] = []
    held = 0
    for faces in _read(album, wanted, max_pixels, report):
        batch += faces
        # The faces of one photo share its pixels.
        held += faces[0][1][0].nbytes
        if len(batch) >= _BATCH or held >= _BATCH_BYTES:
            _embed(album, engine, batch)
            observe(len(batch))
            batch.clear()
            held = 0
    _embed(album, engine, batch)
    observe(len(batch))
    with album.transaction():
        _finish(album, engine.card, report)
    return report


def _begin(album: Album, model: str) -> None:
    """Forget what an unfinished migration to another model has gathered."""
    if album.meta("migrating") != model:
        with album.transaction():
            album.execute("DELETE FROM migrated")
            album.set_meta("migrating", model)


def _wanted(album: Album, model: str) -> Iterator[_Wanted]:
    """Photos with faces that have no vector of the model's own yet."""
    gathered = "migrated" if album.meta("migrating") == model else "(SELECT NULL AS face)"
    places: dict[int, list[str]] = defaultdict(list)
    for path, photo in album.rows("SELECT path, photo FROM places"):
        places[photo].append(from_stored(path))
    faces: dict[int, list[tuple[int, Floats]]] = defaultdict(list)
    rows = album.rows(
        "SELECT photo, id, landmarks FROM faces JOIN vectors ON face = id"
        f" WHERE (model != ? OR translated) AND id NOT IN (SELECT face FROM {gathered}"
        " WHERE face IS NOT NULL) ORDER BY photo, id",
        (model,),
    )
    for photo, face, landmarks in rows:
        faces[photo].append((face, np.frombuffer(landmarks, "<f4").reshape(5, 2)))
    for photo, of in faces.items():
        yield _Wanted(photo, tuple(sorted(places.get(photo, ()))), tuple(of))


def _seems_there(place: str) -> bool:
    return is_url(place) or any(is_file(one) for one in (Path(place), *Path(place).parents))


def _read(
    album: Album, wanted: Sequence[_Wanted], max_pixels: int, report: Migration
) -> Iterator[list[tuple[int, tuple[Image, Face]]]]:
    """Of each photo that is there: its faces by id, each with the picture."""
    for one, found in _find(wanted, report):
        for photo in found:
            try:
                data = photo.read(max_pixels)
                if find_photo(album, hashlib.sha256(data).hexdigest()) != one.photo:
                    continue  # something else lies there now
                image = decode_image(data, str(photo), max_pixels)
            except InputError as error:
                report.failed[str(photo)] = str(error)
                continue
            report.failed.pop(str(photo), None)
            nowhere = np.zeros(4, np.float32)
            yield [(face, (image, Face(nowhere, 1.0, points))) for face, points in one.faces]
            break


def _find(
    wanted: Sequence[_Wanted], report: Migration
) -> Iterator[tuple[_Wanted, list[FilePhoto] | list[Photo]]]:
    """Each wanted photo with what seems to be it, files first; each archive is opened once."""
    packed: dict[str, dict[str, _Wanted]] = defaultdict(dict)
    for one in wanted:
        files = [FilePhoto(Path(place)) for place in one.places if _is_file(place)]
        if files:
            yield one, files
        elif (place := next(filter(_seems_there, one.places), None)) is not None:
            packed[_source(place)][place] = one
    for source, by_place in packed.items():
        for photo in find_photos([source]):
            if isinstance(photo, FailedPhoto):
                report.failed[str(photo)] = str(photo.error)
            elif (known := by_place.get(place_of(photo).path)) is not None:
                yield known, [photo]


def _is_file(place: str) -> bool:
    return not is_url(place) and is_file(Path(place))


def _source(place: str) -> str:
    """What must be opened for a photo that is no file: an archive, or a URL."""
    if is_url(place):
        return place
    return next((str(p) for p in Path(place).parents if is_archive(p.name)), place)


def _embed(album: Album, engine: Engine, batch: Sequence[tuple[int, tuple[Image, Face]]]) -> None:
    if not batch:
        return
    vectors = engine.embed_found([found for _, found in batch])
    with album.transaction():
        album.execute_many(
            # Not of a face that was forgotten meanwhile.
            "INSERT OR REPLACE INTO migrated"
            " SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM faces WHERE id = ?1)",
            (
                (face, vector.astype("<f4").tobytes())
                for (face, _), vector in zip(batch, vectors, strict=True)
            ),
        )


def _finish(album: Album, card: ModelCard, report: Migration) -> None:
    """Put the new vectors in the place of the old ones; inside a transaction."""
    model = card.fingerprint()
    report.embedded = _count(album, "SELECT count(*) FROM migrated")
    missing = list(
        album.rows(
            "SELECT face, vector FROM vectors WHERE model != ?"
            " AND face NOT IN (SELECT face FROM migrated)",
            (model,),
        )
    )
    rows = [(face, vector, model, 0) for face, vector in album.rows("SELECT * FROM migrated")]
    if missing:
        report.translation = _learn(album, model)
        if report.translation is None:
            report.left = len(missing)
            return
        old = np.stack([np.frombuffer(vector, "<f4") for _, vector in missing])
        new = report.translation.apply(old).astype("<f4")
        pairs = zip(missing, new, strict=True)
        rows += [(face, vector.tobytes(), model, 1) for (face, _), vector in pairs]
    album.execute_many(
        "UPDATE vectors SET vector = ?2, model = ?3, translated = ?4 WHERE face = ?1", rows
    )
    album.execute("DELETE FROM migrated")
    album.set_meta("migrating", None)
    # Migrated faces are aligned by the landmarks that are stored.
    points = album_card(album).points
    album.set_meta("card", card.model_copy(update={"points": points}).to_json())
    album.set_meta("model", model)
    report.translated = _count(album, "SELECT count(*) FROM vectors WHERE translated")


def _learn(album: Album, model: str) -> Translation | None:
    """The map from the album's model, learned from faces that have both vectors; None: too few."""
    rows = list(
        album.rows(
            "SELECT photo, vectors.vector, migrated.vector FROM migrated"
            " JOIN vectors USING (face) JOIN faces ON faces.id = face"
            " WHERE model = (SELECT value FROM meta WHERE key = 'model') AND model != ?"
            " AND NOT translated",
            (model,),
        )
    )
    if len(rows) < LEAST:
        return None
    old, new = (np.stack([np.frombuffer(row[column], "<f4") for row in rows]) for column in (1, 2))
    return fit_translation(old, new, np.array([row[0] for row in rows], np.int64))


def _count(album: Album, sql: str) -> int:
    found = album.row(sql)
    return 0 if found is None else int(found[0])
