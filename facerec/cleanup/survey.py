"""Survey: embed each image once, and measure sharpness, pose and perceptual hash."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from facerec.alignment.warp import central_face, warp_to_template
from facerec.card import ModelCard
from facerec.cleanup.photos import UNREADABLE, Facts
from facerec.engine.cache import EmbeddingCache
from facerec.engine.engine import Engine
from facerec.engine.quality import yaw
from facerec.errors import InputError, UsageError
from facerec.faces import Face, Floats, Frame, Image
from facerec.imaging.archives import Source
from facerec.imaging.reader import decode_frame, read_frame, read_frames
from facerec.parallel.ahead import map_ahead
from facerec.parallel.ranks import gather_shards, shard
from facerec.profile.schema import RuntimeSection

_CHIP_SIDE = 112
_HASH_SIDE = 8
_SPECTRUM_SIDE = 4 * _HASH_SIDE

Item = TypeVar("Item")
Observe = Callable[[str], None]
"""Callback after each image, with a problem or ""."""
Found = tuple[str, Floats | None, Facts]
"""Hash, vector and facts of an image."""
SURVEY = "survey.sqlite"
"""The cache in a report's folder: vector, facts and thumbnail of each image."""
_THUMBNAIL_SIDE = 80
_WEBP_QUALITY = 60


def open_survey(path: Path, origin: str | None = None) -> EmbeddingCache:
    """The cache of a survey, so that an interrupted one goes on.

    Args:
        origin: how the vectors are made; None reads what an earlier survey wrote, as it is.

    Raises:
        UsageError: the file is damaged or cannot be written.
    """
    return EmbeddingCache(path, origin, remedy="choose another --report", error=UsageError)


def survey(
    items: Sequence[Item], read: Callable[[Item], Frame], engine: Engine, runtime: RuntimeSection,
    cache: EmbeddingCache, *, aligned: bool, observe: Observe,
) -> list[Found]:  # fmt: skip
    """Embed the central face of each image that is not in `cache`.

    An image's vector depends neither on the other images nor on where an earlier run stopped.

    Args:
        read: `path_reader` or `source_reader` of the same cache.
        aligned: the images are aligned faces: nothing is detected.
    """
    mine = shard(items)
    frames = map_ahead(mine, read, workers=runtime.workers)
    whole = engine.in_whole_batches()
    seen = (
        _look_at_aligned(frames, whole)
        if aligned
        else _look_at_photos(frames, whole, runtime.batch, len(mine))
    )
    return gather_shards(list(_remember(seen, cache, observe)), len(items))


def path_reader(runtime: RuntimeSection, cache: EmbeddingCache) -> Callable[[Path], Frame]:
    """A reader of files that decodes those not in a cache."""
    return lambda path: read_frame(path, runtime.max_pixels, lambda _, sha256: sha256 not in cache)


def source_reader(
    source: Source, runtime: RuntimeSection, cache: EmbeddingCache
) -> Callable[[str], Frame]:
    """As `path_reader`, for keys of a folder or an archive."""

    def read(key: str) -> Frame:
        name = f"{source.name}/{key}"
        try:
            data = source.read(key)
        except InputError as error:
            return Frame(name, None, "", error)
        return decode_frame(name, data, runtime.max_pixels, lambda _, sha256: sha256 not in cache)

    return read


def survey_known(
    paths: Sequence[Path], faces: Sequence[Face], card: ModelCard, runtime: RuntimeSection,
    cache: EmbeddingCache, observe: Observe,
) -> list[Found]:  # fmt: skip
    """As `survey`, for images whose face and vector are known, as in a gallery.

    An image whose file is gone keeps its vector, without a hash or facts.
    """
    chip_size = (card.input_height, card.input_width)
    frames = read_frames(shard(paths), workers=runtime.workers, max_pixels=runtime.max_pixels)

    def look() -> Iterator[tuple[Frame, int, Face | None, Image | None]]:
        for frame, face in zip(frames, shard(faces), strict=True):
            known = frame.image is not None and bool(np.isfinite(face.landmarks).all())
            chip = (
                warp_to_template(frame.image, [face], card.template, chip_size)[0]
                if known and frame.image is not None
                else None
            )
            yield frame, 1, face, chip

    found = gather_shards(list(_remember(look(), cache, observe)), len(paths))
    return [
        (sha256, face.embedding, facts)
        for (sha256, _, facts), face in zip(found, faces, strict=True)
    ]


def _look_at_aligned(
    frames: Iterable[Frame], engine: Engine
) -> Iterator[tuple[Frame, int, Face | None, Image | None]]:
    for frame, faces in engine.faces(frames, aligned=True):
        yield frame, len(faces), faces[0] if faces else None, frame.image


def _look_at_photos(
    frames: Iterable[Frame], engine: Engine, batch: int, expected: int
) -> Iterator[tuple[Frame, int, Face | None, Image | None]]:
    waiting: list[tuple[Frame, int, Face | None, Image | None]] = []
    for frame, faces in engine.detections(frames, expected=expected):
        if frame.image is None or not faces:
            waiting.append((frame, len(faces), None, None))
        else:
            face = central_face(frame.image, faces)
            waiting.append((frame, len(faces), face, engine.align(frame.image, [face])[0]))
        if len(waiting) >= batch:
            yield from _embed(waiting, engine)
            waiting = []
    yield from _embed(waiting, engine)


def _embed(
    seen: list[tuple[Frame, int, Face | None, Image | None]], engine: Engine
) -> Iterator[tuple[Frame, int, Face | None, Image | None]]:
    found = [
        (frame.image, face)
        for frame, _, face, _ in seen
        if frame.image is not None and face is not None
    ]
    vectors = iter(engine.embed_found(found))
    for frame, count, face, chip in seen:
        if face is not None:
            face = Face(face.box, face.score, face.landmarks, next(vectors))
        yield frame, count, face, chip


def _remember(
    seen: Iterable[tuple[Frame, int, Face | None, Image | None]],
    cache: EmbeddingCache,
    observe: Observe,
) -> Iterator[Found]:
    for frame, count, face, chip in seen:
        observe(str(frame.error) if frame.error else "")
        if frame.error is not None:
            yield frame.sha256, None, Facts(UNREADABLE)
        elif frame.image is None:
            yield frame.sha256, *_recall(cache, frame.sha256)
        else:
            vector = face.embedding if face else None
            facts = _facts(frame.image, count, face, chip)
            thumbnail = _thumbnail(frame.image if chip is None else chip)
            cache.put(frame.sha256, vector, facts.to_json(), thumbnail)
            yield frame.sha256, vector, facts


def _recall(cache: EmbeddingCache, sha256: str) -> tuple[Floats | None, Facts]:
    vector, facts = cache.get(sha256)
    return vector, Facts.from_json(facts)


def _facts(image: Image, count: int, face: Face | None, chip: Image | None) -> Facts:
    located = face is not None and bool(np.isfinite(face.landmarks).all())
    return Facts(
        count,
        image.shape[0],
        image.shape[1],
        float(face.size) if face is not None and located else np.nan,
        yaw(face.landmarks) if face is not None and located else np.nan,
        sharpness(chip) if chip is not None else np.nan,
        perceptual_hash(image),
    )


def _thumbnail(image: Image) -> bytes:
    scale = _THUMBNAIL_SIDE / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".webp", small[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, _WEBP_QUALITY])
    return bytes(data.tobytes())


def sharpness(chip: Image) -> float:
    """Variance of the Laplacian of a face's grey values (Pech-Pacheco et al. 2000).

    Chips are resized to 112 pixels, so that values compare across models.

    Args:
        chip: `(H, W, 3) uint8` RGB, aligned.
    """
    side = (_CHIP_SIDE, _CHIP_SIDE)
    grey = cv2.cvtColor(cv2.resize(chip, side, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def perceptual_hash(image: Image) -> int:
    """pHash, robust to compression and resizing: 64 bits, which of the 8x8 lowest DCT coefficients
    of the grey values exceed their median (Zauner 2010, section 3.2.1).

    Args:
        image: `(H, W, 3) uint8` RGB.
    """
    side = (_SPECTRUM_SIDE, _SPECTRUM_SIDE)
    small = cv2.resize(image, side, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    low = cv2.dct(grey)[:_HASH_SIDE, :_HASH_SIDE].ravel()
    # Without the DC coefficient, the mean brightness.
    bits = low > np.median(low[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
