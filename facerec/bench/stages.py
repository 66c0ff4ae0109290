"""Benchmarks of detection and of embedding."""

from __future__ import annotations

import numpy as np

from facerec.bench.machine import matmul_peak
from facerec.bench.photos import small_photos
from facerec.bench.timing import Advance, Measurement, Timer, ignore
from facerec.engine.building import build_detector, open_embedder
from facerec.engine.engine import Engine
from facerec.imaging.portraits import compose_picture
from facerec.models.embedder import TorchEmbedder
from facerec.models.graph_embedder import GraphEmbedder
from facerec.parallel.devices import choose_device
from facerec.profile.loading import Profile


def bench_detection(profile: Profile, advance: Advance = ignore) -> list[Measurement]:
    """Time small photos in batches, and one image of 1260x560.

    Raises:
        MissingError: weights, a package or the device is missing.
    """
    detector = build_detector(profile)
    batch = small_photos(profile.runtime.batch)
    large = compose_picture()
    timer = Timer(2, advance)
    return [
        Measurement(
            f"{profile.detector.name}, 250x250, batches of {len(batch)}",
            1000 * timer.seconds_of(lambda: detector.detect(batch)) / len(batch),
            "picture",
        ),
        Measurement(
            f"{profile.detector.name}, {large.shape[1]}x{large.shape[0]}",
            1000 * timer.seconds_of(lambda: detector.detect([large])),
            "picture",
        ),
    ]


def bench_embedding(profile: Profile, advance: Advance = ignore) -> list[Measurement]:
    """Time faces one by one and in batches, beside the machine's peak in matrix products.

    Raises:
        MissingError: weights, a package or the device is missing.
    """
    embedder = open_embedder(profile)
    engine = Engine(build_detector(profile), embedder, batch=profile.runtime.batch)
    card = embedder.card
    measurements = []
    counts = sorted({1, profile.runtime.batch})
    timer = Timer(len(counts), advance)
    for count in counts:
        chips = np.random.default_rng(0).integers(
            0, 256, (count, card.input_height, card.input_width, 3), np.uint8
        )
        seconds = timer.seconds_of(lambda chips=chips: engine.embed_chips(chips)) / count  # type: ignore[misc]
        share, of = None, ""
        if isinstance(embedder, TorchEmbedder | GraphEmbedder):
            precision = embedder.arithmetic.rpartition(" ")[2]
            peak = matmul_peak(precision, choose_device(profile.runtime.device))
            share = 2 * embedder.multiply_adds() * engine.passes / seconds / 1e9 / peak
            of = f"{peak:.0f} GFLOP/s of a {precision} matrix product"
        name = f"{card.name}, {embedder.arithmetic}, batches of {count}"
        measurements.append(Measurement(name, 1000 * seconds, "face", share, of))
    return measurements
