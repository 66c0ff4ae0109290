"""Benchmarks of detection and of embedding."""

from __future__ import annotations

import numpy as np

from facerec.bench.machine import matmul_peak
from facerec.bench.photos import small_photos
from facerec.bench.timing import Advance, Measurement, Timer, ignore
from facerec.engine.building import build_detector, open_model
from facerec.engine.vectors import face_vectors
from facerec.imaging.portraits import compose_picture
from facerec.models import Embedder
from facerec.models.embedder import TorchEmbedder
from facerec.models.fusion import Fusion
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
    """Time faces one by one and in batches, beside the machine's peak in matrix products; of
    several networks each.

    Raises:
        MissingError: weights, a package or the device is missing.
    """
    model = open_model(profile)
    embedders = model.members if isinstance(model, Fusion) else (model,)
    counts = sorted({1, profile.runtime.batch})
    timer = Timer(len(embedders) * len(counts), advance)
    return [
        _time_embedder(embedder, count, profile, timer)
        for embedder in embedders
        for count in counts
    ]


def _time_embedder(embedder: Embedder, count: int, profile: Profile, timer: Timer) -> Measurement:
    vectors, card = face_vectors(embedder, profile.runtime.batch), embedder.card
    shape = count, card.input_height, card.input_width, 3
    chips = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    seconds = timer.seconds_of(lambda: vectors.of_chips(chips)) / count
    share, of = None, ""
    if isinstance(embedder, TorchEmbedder | GraphEmbedder):
        precision = embedder.arithmetic.rpartition(" ")[2]
        peak = matmul_peak(precision, choose_device(profile.runtime.device))
        share = 2 * embedder.multiply_adds() * vectors.passes / seconds / 1e9 / peak
        of = f"{peak:.0f} GFLOP/s of a {precision} matrix product"
    name = f"{card.name}, {embedder.arithmetic}, batches of {count}"
    return Measurement(name, 1000 * seconds, "face", share, of)
