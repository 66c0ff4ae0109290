"""Deciding who a face is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from facerec.card import Metric, ModelCard, distance_to_similarity, similarity_to_distance
from facerec.faces import Candidate, Face, Floats, Match
from facerec.gallery.gallery import Gallery
from facerec.profile import RecognizeSection


def deciding_card(gallery: Gallery, model: ModelCard, where: str) -> ModelCard:
    """The card whose thresholds hold for a gallery: its own if it was calibrated on its own
    people, else the model's.

    Raises:
        IncompatibleError: the gallery was built with another model.
    """
    model.require_same_model(gallery.card, where)
    return gallery.card if gallery.card.calibration else model


def decision_threshold(card: ModelCard, section: RecognizeSection) -> tuple[Metric, float]:
    """The metric, and the largest distance in it that still counts as the same person.

    Raises:
        UsageError: no threshold is given, and the card has none for the section's `far`.
    """
    metric = section.metric or card.metric
    if section.threshold is not None:
        return metric, section.threshold
    return metric, card.threshold(section.far, metric)


class Matcher:
    """Compares faces with a gallery as a profile's `recognize` section says.

    Args:
        gallery: the people.
        section: how to decide.
        model: the card of the model that embeds the faces.
        where: the gallery's name in an error.

    Attributes:
        metric: the metric of `threshold` and of all distances given out.
        threshold: largest distance that still counts as the same person.

    Raises:
        IncompatibleError: the gallery was built with another model.
        UsageError: no threshold is known for the section's `far`.
    """

    def __init__(
        self,
        gallery: Gallery,
        section: RecognizeSection,
        model: ModelCard,
        where: str = "the gallery",
    ) -> None:
        card = deciding_card(gallery, model, where)
        self.metric, self.threshold = decision_threshold(card, section)
        self._people = gallery.people
        self._places = {name: place for place, name in enumerate(self._people)}
        self._unique = section.unique
        self._count = section.candidates
        self._exemplar = section.match == "exemplar"
        if self._exemplar:
            # Rows sorted by person, so that a person's nearest photo is a segment's maximum.
            order = np.argsort(gallery.entries.person, kind="stable")
            self._vectors = gallery.entries.embeddings[order]
            self._starts = np.searchsorted(
                gallery.entries.person[order], np.arange(len(self._people))
            )
        else:
            self._vectors = gallery.templates()

    def match(
        self, embeddings: Floats, held: Sequence[str | None] = (), lead: float = 0.0
    ) -> list[Match]:
        """One decision per face of a picture.

        Args:
            embeddings: `(F, D) float32` unit vectors, or means of unit vectors.
            held: who each face was so far, if it was looked at before.
            lead: cosine by which each is nearer to who it was, in deciding.
        """
        if not self._people or not len(embeddings):
            return [Match(None)] * len(embeddings)
        similarity = self._similarities(embeddings)
        deciding = similarity.copy()
        for face, name in enumerate(held):
            if name in self._places:
                deciding[face, self._places[name]] += lead
        people = self._decide(deciding)
        return [self._match(person, row) for person, row in zip(people, similarity, strict=True)]

    def match_faces(self, faces: Sequence[Face]) -> list[Match]:
        """One decision per embedded face of a picture."""
        if not faces:
            return []
        return self.match(np.stack([face.embedding for face in faces]))  # type: ignore[misc]

    def _similarities(self, embeddings: Floats) -> Floats:
        """`(F, P) float32` cosines."""
        cosine = np.clip(embeddings @ self._vectors.T, -1, 1)
        return np.maximum.reduceat(cosine, self._starts, axis=1) if self._exemplar else cosine

    def _decide(self, similarity: Floats) -> list[int | None]:
        """The person of each face, or None."""
        least = distance_to_similarity(self.threshold, self.metric)
        if not self._unique:
            best = similarity.argmax(axis=1)
            return [
                int(person) if row[person] >= least else None
                for person, row in zip(best, similarity, strict=True)
            ]
        people: list[int | None] = [None] * len(similarity)
        taken: set[int] = set()
        # Nearest pair first: a person is never given to a face while another is nearer.
        for face, person in _pairs_at_least(similarity, least).tolist():
            if people[face] is None and person not in taken:
                people[face] = person
                taken.add(person)
        return people

    def _match(self, person: int | None, similarity: Floats) -> Match:
        count = min(self._count, len(similarity))
        order = np.argpartition(-similarity, count - 1)[:count]
        order = order[np.argsort(-similarity[order], kind="stable")]
        candidates = tuple(self._candidate(number, similarity) for number in order.tolist())
        if person is None:
            return Match(None, candidates[0], candidates)
        return Match(self._people[person], self._candidate(person, similarity), candidates)

    def _candidate(self, person: int, similarity: Floats) -> Candidate:
        cosine = float(similarity[person])
        return Candidate(self._people[person], cosine, similarity_to_distance(cosine, self.metric))


def _pairs_at_least(similarity: Floats, least: float) -> NDArray[np.intp]:
    """`(K, 2)` face and person indices with enough similarity, most similar first."""
    pairs = np.argwhere(similarity >= least)
    return pairs[np.argsort(-similarity[tuple(pairs.T)], kind="stable")]
