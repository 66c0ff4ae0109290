"""From JPEG files to vectors: the whole, and what each stage takes of it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facerec.alignment.warp import only_central_face
from facerec.bench.figures import Figure
from facerec.bench.pictures import write_photos
from facerec.bench.timing import seconds_of
from facerec.engine.engine import Engine
from facerec.faces import Frame
from facerec.imaging.photos import AnyPhoto
from facerec.imaging.reader import read_frames
from facerec.imaging.sources import find_photos
from facerec.profile.loading import Profile

_COUNT = 128


def bench_pipeline(profile: Profile, data: Path | None) -> list[Figure]:
    """Each stage by itself on all cores, and all of them in one stream.

    Args:
        data: a folder of photos; None: 128 small ones that are made up.

    Raises:
        MissingError: weights, a package or the device is missing.
    """
    engine = Engine.from_profile(profile)
    with tempfile.TemporaryDirectory() as folder:
        photos = write_photos(Path(folder), _COUNT) if data is None else find_photos([data])
        return _measure(engine, profile, list(photos))


def _measure(engine: Engine, profile: Profile, photos: Sequence[AnyPhoto]) -> list[Figure]:
    runtime = profile.runtime

    def read() -> list[Frame]:
        frames = read_frames(photos, workers=runtime.workers, max_pixels=runtime.max_pixels)
        return [frame for frame in frames if frame.image is not None]

    frames = read()
    images = [frame.image for frame in frames if frame.image is not None]
    batches = [images[at : at + runtime.batch] for at in range(0, len(images), runtime.batch)]
    found = [
        (image, face)
        for batch in batches
        for image, faces in zip(batch, engine.detect(batch), strict=True)
        for face in (only_central_face(image, faces) if faces else [])
    ]
    chips = np.concatenate([engine.align(image, [face]) for image, face in found])

    def stream() -> None:
        sources = read_frames(photos, workers=runtime.workers, max_pixels=runtime.max_pixels)
        for _ in engine.faces(sources, select=only_central_face):
            pass

    seconds = {
        "decode": seconds_of(read),
        "detect": seconds_of(lambda: [engine.detect(batch) for batch in batches]),
        "warp": seconds_of(lambda: [engine.align(image, [face]) for image, face in found]),
        "embed": seconds_of(lambda: engine.embed_chips(chips)),
    }
    total = sum(seconds.values())
    figures = [
        Figure(stage, 1000 * taken / len(images), "picture", taken / total, "the stages' sum")
        for stage, taken in seconds.items()
    ]
    together = seconds_of(stream)
    whole = Figure(
        "all in one stream", 1000 * together / len(images), "picture", together / total,
        "the stages' sum",
    )  # fmt: skip
    return [*figures, whole]
