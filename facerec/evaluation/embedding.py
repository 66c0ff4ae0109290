"""Embedding an evaluation set's images, with a cache."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from facerec.alignment.warp import only_central_face
from facerec.engine.cache import EmbeddingCache
from facerec.engine.engine import Engine
from facerec.engine.pool import Select
from facerec.errors import InputError
from facerec.faces import Face, Floats, Frame, Image
from facerec.imaging.archives import Source
from facerec.imaging.decode import full_size
from facerec.imaging.reader import decode_frame
from facerec.parallel.ahead import chunks, map_ahead
from facerec.profile.schema import RuntimeSection

Observe = Callable[[], None]
Region = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """Vectors of the images, and why some have none.

    Attributes:
        vectors: `(I, D) float32` unit vectors; a row of NaN where there is none.
        quality: `(I,) float32` in [0, 1], of each image's face; NaN where there is none, or it was
            not measured.
        norms: `(I,) float32`, see `facerec.faces.Face.norm`; NaN where it is None.
        missing: reason by key, for images without a vector.
        unreadable: number of those that are absent or damaged, rather than without a face.
        reused: number of vectors from the cache.
        raw: `(I, D) float32`, fused networks' raw vectors side by side, see `Engine.apart`; else
            `vectors`.
    """

    vectors: Floats
    quality: Floats
    norms: Floats
    missing: dict[str, str]
    unreadable: int
    reused: int
    raw: Floats


def embed_images(
    engine: Engine, source: Source, keys: Sequence[str], files: Mapping[str, str],
    runtime: RuntimeSection, *, aligned: bool, cache: EmbeddingCache | None, observe: Observe,
    regions: Mapping[str, Region] | None = None, quality: bool = False,
    select: Select = only_central_face, landmarks: Mapping[str, Floats] | None = None,
) -> Embedded:  # fmt: skip
    """Embed one face of each image, the central one unless `select` says otherwise.

    Args:
        keys: the images, as the protocol names them.
        files: each key's file in the source; a key may be absent.
        aligned: the images are aligned faces: nothing is detected.
        observe: callback after each image.
        regions: x, y, width and height of the face, for images that show several.
        quality: look again at images whose cached vector was kept without it.
        select: picks the face of an image that shows several.
        landmarks: `(5, 2) float32` of each image's face: nothing is detected.
    """
    mark = "" if aligned or select is only_central_face else f":{select.__name__}"
    bare = cache.without_facts() if quality and cache is not None else set()
    places = regions or {}
    points = (not aligned and landmarks) or {}
    downscale = full_size if aligned or points else engine.reduction

    def read(key: str) -> Frame:
        if key not in files:
            return Frame(key, None, "", InputError(f"{source.name}: holds no {key}"))
        try:
            data = source.read(files[key])
        except InputError as error:
            return Frame(key, None, "", error)
        region = places.get(key)
        own = mark + ("" if region is None else ":" + ",".join(f"{side:g}" for side in region))
        if key in points:
            own = ":" + ",".join(f"{value:g}" for value in points[key].reshape(-1))
        frame = decode_frame(
            key, data, runtime.max_pixels, lambda name, sha256: wanted(name, sha256 + own),
            downscale if region is None else full_size,
        )  # fmt: skip
        if region is not None and frame.image is not None:
            frame = dataclasses.replace(frame, image=crop_around(frame.image, region))
        return dataclasses.replace(frame, sha256=frame.sha256 + own)

    def wanted(_: str, sha256: str) -> bool:
        return cache is None or sha256 not in cache or sha256 in bare

    vectors = np.full((len(keys), engine.card.embedding_size), np.nan, np.float32)
    qualities, norms = np.full((2, len(keys)), np.nan, np.float32)
    missing: dict[str, str] = {}
    unreadable = reused = 0
    frames = map_ahead(keys, read, workers=runtime.workers)
    # Whole batches: a vector must not depend on the batch it is in.
    whole = engine.in_whole_batches()
    stream = (
        _faces_at(whole, frames, points, runtime.batch)
        if points
        else whole.faces(frames, aligned=aligned, select=select, expected=len(keys))
    )
    for row, (frame, faces) in enumerate(stream):
        observe()
        if frame.error is not None:
            missing[frame.source] = str(frame.error).removeprefix(f"{frame.source}: ")
            unreadable += 1
            continue
        if frame.image is None and cache is not None:
            vector, facts = cache.get(frame.sha256)
            told = json.loads(facts or "{}")
            reused += 1
        else:
            vector = faces[0].embedding if faces else None
            told = _facts(faces[0]) if faces else {"quality": None}
            if cache is not None:
                cache.put(frame.sha256, vector, json.dumps(told))
        if vector is None:
            missing[frame.source] = "no face found"
        else:
            vectors[row] = vector
            for measured, key in ((qualities, "quality"), (norms, "norm")):
                if told.get(key) is not None:
                    measured[row] = told[key]
    return Embedded(vectors, qualities, norms, missing, unreadable, reused, vectors)


def _faces_at(
    engine: Engine, frames: Iterable[Frame], landmarks: Mapping[str, Floats], batch: int
) -> Iterator[tuple[Frame, list[Face]]]:
    """As `Engine.faces`, of a face whose landmarks are known in each image."""
    for some in chunks(frames, batch):
        located = [
            (frame, [] if frame.image is None else [_face_at(landmarks[frame.source])])
            for frame in some
        ]
        yield from zip(some, engine.complete(located, embed=True), strict=True)


def _face_at(landmarks: Floats) -> Face:
    return Face(np.concatenate((landmarks.min(axis=0), landmarks.max(axis=0))), 1.0, landmarks)


def _facts(face: Face) -> dict[str, float | None]:
    """What a cache keeps of a face beside its vector."""
    quality: dict[str, float | None] = {"quality": face.quality}
    return quality if face.norm is None else {**quality, "norm": face.norm}


def crop_around(image: Image, region: Region) -> Image:
    """Crop around a face, with a margin of the face's size on every side.

    Args:
        image: `(H, W, 3) uint8`.
        region: x, y, width and height in pixels; may reach beyond the image.
    """
    x, y, width, height = region
    left, top = (max(int(start), 0) for start in (x - width, y - height))
    right, bottom = int(np.ceil(x + 2 * width)), int(np.ceil(y + 2 * height))
    part = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    return np.ascontiguousarray(part) if part.size else image
