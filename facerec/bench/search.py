"""Finding the nearest people of a large gallery."""

from __future__ import annotations

import numpy as np

from facerec.bench.figures import Figure
from facerec.bench.machine import read_peak
from facerec.bench.timing import seconds_of
from facerec.faces import Face
from facerec.gallery import Gallery
from facerec.gallery.match import Matcher
from facerec.profile.loading import Profile
from facerec.weights.store import load_card

PEOPLE = 50_000
_QUERIES = (1, 64)


def bench_search(profile: Profile) -> list[Figure]:
    """One and 64 queries among 50,000 made-up people, beside reading their vectors once.

    Raises:
        MissingError: there is no such model.
    """
    card = load_card(profile.model.name)
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((PEOPLE, card.embedding_size), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    gallery = Gallery(card)
    nowhere = np.zeros(4, np.float32), np.zeros((5, 2), np.float32)
    for number, vector in enumerate(vectors):
        face = Face(nowhere[0], 1.0, nowhere[1], vector)
        gallery.add(f"person {number}", [face], str(number))
    section = profile.recognize.model_copy(update={"threshold": 0.1, "unique": False})
    matcher = Matcher(gallery, section, card)
    reading = vectors.nbytes / read_peak() / 1e9
    figures = []
    for count in _QUERIES:
        taken = seconds_of(lambda count=count: matcher.match(vectors[:count]))  # type: ignore[misc]
        figures.append(
            Figure(
                f"{PEOPLE:,} people x {card.embedding_size}, {count} at once",
                1000 * taken / count, "query", reading / taken,
                f"reading the vectors once, {read_peak():.1f} GB/s",
            )
        )  # fmt: skip
    return figures
