"""Open-set identification: who a face is, by nearest neighbour and threshold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facerec.card import Metric, ModelCard, distance_to_similarity, similarity_to_distance
from facerec.errors import UsageError
from facerec.faces import Candidate, Face, Floats, Match
from facerec.gallery.base import GalleryStore, Hit
from facerec.gallery.entries import mean_vector
from facerec.profile.schema import RecognizeSection


def deciding_card(gallery: GalleryStore, model: ModelCard, where: str) -> ModelCard:
    """The card whose thresholds apply to a gallery: its own if it was calibrated on its people,
    else the model's.

    Raises:
        IncompatibleError: the gallery was built with another model.
    """
    model.require_same_model(gallery.card, where)
    return gallery.card if gallery.card.calibration else model


def decision_threshold(card: ModelCard, section: RecognizeSection) -> tuple[Metric, float]:
    """The metric and the threshold: the largest distance accepted as the same person.

    Raises:
        UsageError: no threshold is given, and the card has none for the section's `far`.
    """
    metric = section.metric or card.metric
    if section.threshold is not None:
        return metric, section.threshold
    return metric, card.threshold(section.far, metric)


class Matcher:
    """Identifies faces in a gallery by a profile's `recognize` section.

    Args:
        gallery: the people.
        section: threshold, candidates and policy.
        model: the card of the model that embeds the faces.
        where: the gallery's name in an error.

    Attributes:
        metric: of `threshold` and of all distances returned.
        threshold: largest distance accepted as the same person.
        card: whose thresholds apply.

    Raises:
        IncompatibleError: the gallery was built with another model.
        UsageError: no threshold is known for the section's `far`.
    """

    def __init__(
        self,
        gallery: GalleryStore,
        section: RecognizeSection,
        model: ModelCard,
        where: str = "the gallery",
    ) -> None:
        self.card = deciding_card(gallery, model, where)
        self.metric, self.threshold = decision_threshold(self.card, section)
        self._gallery = gallery
        self._section = section

    def match(
        self, embeddings: Floats, held: Sequence[str | None] = (), lead: float = 0.0
    ) -> list[Match]:
        """One decision per face of an image.

        Args:
            embeddings: `(F, D) float32` unit vectors, or means of unit vectors.
            held: each face's identity in earlier frames, or None.
            lead: hysteresis: cosine added to a face's similarity to the identity it held.
        """
        if not len(embeddings):
            return []
        # With F faces and unique identities, a face falls back on at most its F-th nearest.
        top = max(self._section.candidates, len(embeddings) if self._section.unique else 1)
        found = self._gallery.search(
            embeddings, top, match=self._section.match, where=self._section.where
        )
        names = [*held, *[None] * (len(found) - len(held))]
        leaning = []
        for vector, hits, name in zip(embeddings, found, names, strict=True):
            if name is not None and len(hits) == top and all(hit.name != name for hit in hits):
                hits += self._compare(vector, name)
            near = [Hit(hit.name, hit.similarity + lead * (hit.name == name)) for hit in hits]
            leaning.append(sorted(near, key=lambda hit: -hit.similarity))
        decided = self._decide(leaning)
        return [self._match(name, hits) for name, hits in zip(decided, found, strict=True)]

    def match_faces(self, faces: Sequence[Face]) -> list[Match]:
        """One decision per embedded face of an image."""
        if not faces:
            return []
        return self.match(np.stack([face.embedding for face in faces]))  # type: ignore[misc]

    def _compare(self, vector: Floats, name: str) -> list[Hit]:
        """A face's similarity to a person outside its top hits; empty if the person was removed."""
        try:
            rows = self._gallery.person(name, self._section.where)
        except UsageError:
            return []
        if not len(rows):
            return []
        exemplar = self._section.match == "exemplar"
        vectors = rows.embeddings if exemplar else mean_vector(rows.embeddings)[None]
        return [Hit(name, float(np.clip((vectors @ vector).max(), -1, 1)))]

    def _decide(self, found: Sequence[Sequence[Hit]]) -> list[str | None]:
        """The person of each face, or None."""
        least = distance_to_similarity(self.threshold, self.metric)
        near = [[hit for hit in hits if hit.similarity >= least] for hits in found]
        if not self._section.unique:
            return [hits[0].name if hits else None for hits in near]
        decided: list[str | None] = [None] * len(found)
        taken: set[str] = set()
        pairs = [(face, hit) for face, hits in enumerate(near) for hit in hits]
        # Greedy assignment, nearest pair first.
        for face, hit in sorted(pairs, key=lambda pair: -pair[1].similarity):
            if decided[face] is None and hit.name not in taken:
                decided[face] = hit.name
                taken.add(hit.name)
        return decided

    def _match(self, name: str | None, hits: Sequence[Hit]) -> Match:
        candidates = tuple(self._candidate(hit) for hit in hits[: self._section.candidates])
        if name is None:
            return Match(None, candidates[0] if candidates else None, candidates)
        decided = next(hit for hit in hits if hit.name == name)
        return Match(name, self._candidate(decided), candidates)

    def _candidate(self, hit: Hit) -> Candidate:
        distance = similarity_to_distance(hit.similarity, self.metric)
        return Candidate(hit.name, hit.similarity, distance)
