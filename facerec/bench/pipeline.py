"""Benchmark of the whole stream, from JPEG files to embeddings, and of each of its stages."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facerec.alignment.warp import only_central_face
from facerec.bench.photos import write_photos
from facerec.bench.timing import Advance, Measurement, Timer, ignore
from facerec.engine.engine import Engine
from facerec.faces import Frame
from facerec.imaging.photos import AnyPhoto
from facerec.imaging.reader import read_frames
from facerec.imaging.sources import find_photos
from facerec.profile.loading import Profile

_COUNT = 128


def bench_pipeline(
    profile: Profile, data: Path | None, advance: Advance = ignore
) -> list[Measurement]:
    """Time each stage alone on all cores, then all in one stream.

    Args:
        data: a folder of photos; None: 128 generated ones of 250x250.
        advance: called with the percentage done.

    Raises:
        MissingError: weights, a package or the device is missing.
    """
    engine = Engine.from_profile(profile)
    with tempfile.TemporaryDirectory() as folder:
        photos = write_photos(Path(folder), _COUNT) if data is None else find_photos([data])
        return _measure(engine, profile, list(photos), Timer(6, advance))


def _measure(
    engine: Engine, profile: Profile, photos: Sequence[AnyPhoto], timer: Timer
) -> list[Measurement]:
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
    timer.step()

    def stream() -> None:
        sources = read_frames(photos, workers=runtime.workers, max_pixels=runtime.max_pixels)
        for _ in engine.faces(sources, select=only_central_face, expected=len(photos)):
            pass

    seconds = {
        "decode": timer.seconds_of(read),
        "detect": timer.seconds_of(lambda: [engine.detect(batch) for batch in batches]),
        "warp": timer.seconds_of(lambda: [engine.align(image, [face]) for image, face in found]),
        "embed": timer.seconds_of(lambda: engine.embed_chips(chips)),
    }
    total = sum(seconds.values())
    measurements = [
        Measurement(stage, 1000 * taken / len(images), "picture", taken / total, "the stages' sum")
        for stage, taken in seconds.items()
    ]
    together = timer.seconds_of(stream)
    whole = Measurement(
        "all in one stream", 1000 * together / len(images), "picture", together / total,
        "the stages' sum",
    )  # fmt: skip
    return [*measurements, whole]
