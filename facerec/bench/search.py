"""Benchmark of exact search among 50,000 people."""

from __future__ import annotations

import numpy as np

from facerec.bench.machine import read_peak
from facerec.bench.timing import Advance, Measurement, Timer, ignore
from facerec.engine.building import open_model
from facerec.gallery import Gallery
from facerec.gallery.base import Batch
from facerec.gallery.match import Matcher
from facerec.profile.loading import Profile

PEOPLE = 50_000
_QUERIES = (1, 64)


def bench_search(profile: Profile, advance: Advance = ignore) -> list[Measurement]:
    """Time 1 and 64 queries among 50,000 random people, beside one read of all their vectors.

    Raises:
        MissingError: there is no such model.
    """
    card = open_model(profile).card
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((PEOPLE, card.embedding_size), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    gallery = Gallery(card)
    gallery.append(
        Batch(
            [f"person {number}" for number in range(PEOPLE)],
            [str(number) for number in range(PEOPLE)],
            [""] * PEOPLE,
            [{}] * PEOPLE,
            vectors,
            np.zeros((PEOPLE, 4), np.float32),
            np.zeros((PEOPLE, 5, 2), np.float32),
            np.ones(PEOPLE, np.float32),
            np.ones(PEOPLE, np.float32),
        )
    )
    timer = Timer(1 + len(_QUERIES), advance)
    timer.step()
    section = profile.recognize.model_copy(update={"threshold": 0.1, "unique": False})
    matcher = Matcher(gallery, section, card)
    reading = vectors.nbytes / read_peak() / 1e9
    measurements = []
    for count in _QUERIES:
        taken = timer.seconds_of(lambda count=count: matcher.match(vectors[:count]))  # type: ignore[misc]
        measurements.append(
            Measurement(
                f"{PEOPLE:,} people x {card.embedding_size}, {count} at once",
                1000 * taken / count, "query", reading / taken,
                f"reading the vectors once, {read_peak():.1f} GB/s",
            )
        )  # fmt: skip
    return measurements
