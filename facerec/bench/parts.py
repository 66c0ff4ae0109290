"""Detection and embedding, each by itself."""

from __future__ import annotations

import numpy as np

from facerec.bench.figures import Figure
from facerec.bench.machine import matmul_peak
from facerec.bench.pictures import small_photos
from facerec.bench.timing import seconds_of
from facerec.engine.building import build_detector, open_embedder
from facerec.engine.engine import Engine
from facerec.imaging.portraits import compose_picture
from facerec.models.embedder import TorchEmbedder
from facerec.parallel.devices import choose_device
from facerec.profile.loading import Profile


def bench_detection(profile: Profile) -> list[Figure]:
    """Small photos in batches, and one picture of 1260x560 by itself.

    Raises:
        MissingError: weights, a package or the device is missing.
    """
    detector = build_detector(profile)
    batch = small_photos(profile.runtime.batch)
    picture = compose_picture()
    return [
        Figure(
            f"{profile.detector.name}, 250x250, batches of {len(batch)}",
            1000 * seconds_of(lambda: detector.detect(batch)) / len(batch),
            "picture",
        ),
        Figure(
            f"{profile.detector.name}, {picture.shape[1]}x{picture.shape[0]}",
            1000 * seconds_of(lambda: detector.detect([picture])),
            "picture",
        ),
    ]


def bench_embedding(profile: Profile) -> list[Figure]:
    """Faces one by one and in batches, beside the peak of the machine's matrix product.

    Raises:
        MissingError: weights, a package or the device is missing.
    """
    embedder = open_embedder(profile)
    engine = Engine(build_detector(profile), embedder, batch=profile.runtime.batch)
    card = embedder.card
    figures = []
    for count in sorted({1, profile.runtime.batch}):
        chips = np.random.default_rng(0).integers(
            0, 256, (count, card.input_height, card.input_width, 3), np.uint8
        )
        seconds = seconds_of(lambda chips=chips: engine.embed_chips(chips)) / count  # type: ignore[misc]
        share, of = None, ""
        if isinstance(embedder, TorchEmbedder):
            precision = embedder.arithmetic.removeprefix("torch ")
            peak = matmul_peak(precision, choose_device(profile.runtime.device))
            share = 2 * embedder.multiply_adds() * engine.passes / seconds / 1e9 / peak
            of = f"{peak:.0f} GFLOP/s of a {precision} matrix product"
        name = f"{card.name}, {embedder.arithmetic}, batches of {count}"
        figures.append(Figure(name, 1000 * seconds, "face", share, of))
    return figures
