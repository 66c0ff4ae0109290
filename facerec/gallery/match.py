"""Open-set identification: who a face is, by nearest neighbour and threshold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from facerec.card import (
    Calibration,
    Metric,
    ModelCard,
    distance_to_similarity,
    similarity_to_distance,
)
from facerec.errors import UsageError
from facerec.faces import Candidate, Face, Floats, Match
from facerec.gallery.base import GalleryStore, Hit
from facerec.gallery.certainty import Certainty
from facerec.gallery.entries import mean_vector
from facerec.profile.schema import RecognizeSection
from facerec.weights.catalog import read_catalogue


def deciding_card(gallery: GalleryStore, model: ModelCard, where: str) -> ModelCard:
    """The card whose thresholds apply to a gallery: its own if they were written into it, else the
    model's; a gallery's copy of the model's where the model has none.

    Raises:
        IncompatibleError: the gallery was built with another model.
    """
    model.require_same_model(gallery.card, where)
    own, known = gallery.card.calibration, model.calibration
    if own is None:
        return model
    if known is None or gallery.card.calibrated_for == "gallery":
        return gallery.card
    if gallery.card.calibrated_for == "model" or _are_of_model(own, model):
        return model
    return gallery.card


def _are_of_model(own: Calibration, model: ModelCard) -> bool:
    """Whether an older gallery's thresholds, which do not say whose they are, are those that the
    model has or was published with; their cohort may be older, or none."""
    catalogue, fingerprint = read_catalogue(), model.fingerprint()
    published = [record.card for record in catalogue.models.values()]
    known = [
        model.calibration,
        catalogue.fusions.get(fingerprint),
        *(card.calibration for card in published if card.fingerprint() == fingerprint),
    ]
    return any(one is not None and _same_thresholds(own, one) for one in known)


def _same_thresholds(one: Calibration, other: Calibration) -> bool:
    return one.model_copy(update={"cohort": other.cohort}) == other


def certainty_of(
    card: ModelCard, enrolled: Callable[[], Mapping[int, int]] = lambda: {1: 1}
) -> Certainty | None:
    """What a cosine with a gallery's people means; None where the card holds no cohort.

    Args:
        enrolled: see `Certainty`; asked only with a cohort, as counting may read a server's people.
            By default one person of one photo, as when two faces are compared.
    """
    cohort = card.calibration.cohort if card.calibration else None
    return None if cohort is None else Certainty(cohort, enrolled())


def decision_threshold(
    card: ModelCard, section: RecognizeSection, certainty: Certainty | None = None
) -> tuple[Metric, float]:
    """The metric and the threshold: the largest distance accepted as the same person.

    Args:
        certainty: of the gallery; None: two faces are compared.

    Raises:
        UsageError: no threshold is given, and the card has none for the section's `far`, or no
            cohort for its `max_false_names`.
    """
    metric = section.metric or card.metric
    if section.threshold is not None:
        return metric, section.threshold
    if section.max_false_names is None:
        return metric, card.threshold(section.far, metric)
    certainty = certainty or certainty_of(card)
    if certainty is None:
        raise UsageError(
            f"{card.name}: its card knows no cohort of strangers, which recognize.max_false_names "
            "needs; facerec evaluate lfw --calibrate CARD measures one"
        )
    cosine = certainty.threshold(section.max_false_names)
    return metric, similarity_to_distance(cosine, metric)


def comparing(
    card: ModelCard, section: RecognizeSection, photos: int = 1
) -> tuple[Metric, float, Certainty | None]:
    """Metric, threshold and certainty for two faces, or a face and a person.

    Args:
        photos: that the person's mean vector is of; strangers are nearer to a mean of several.

    Raises:
        UsageError: see `decision_threshold`.
    """
    certainty = certainty_of(card, lambda: {photos: 1})
    return (*decision_threshold(card, section, certainty), certainty)


@dataclass(frozen=True, slots=True, eq=False)
class _Decider:
    """What a matcher decides by at one moment; see its properties.

    Attributes:
        revision: of the gallery.
    """

    revision: object
    card: ModelCard
    certainty: Certainty | None
    metric: Metric
    threshold: float


class Matcher:
    """Identifies faces in a gallery by a profile's `recognize` section.

    Args:
        gallery: the people.
        section: threshold, candidates and policy.
        model: the card of the model that embeds the faces.
        where: the gallery's name in an error.

    Threads may share a matcher, as they may its gallery. What it decides by follows the gallery as
    it grows and shrinks.

    Attributes:
        gallery: the people.

    Raises:
        IncompatibleError: the gallery was built with another model.
        UsageError: no threshold is known for the section's `far` or `max_false_names`.
    """

    def __init__(
        self,
        gallery: GalleryStore,
        section: RecognizeSection,
        model: ModelCard,
        where: str = "the gallery",
    ) -> None:
        self.gallery = gallery
        self._section = section
        self._model = model
        self._where = where
        self._decider = self._decide_by()

    @property
    def metric(self) -> Metric:
        """Of `threshold` and of all distances returned."""
        return self._newest().metric

    @property
    def threshold(self) -> float:
        """The largest distance accepted as the same person, for the people enrolled now."""
        return self._newest().threshold

    @property
    def card(self) -> ModelCard:
        """Whose thresholds apply."""
        return self._newest().card

    @property
    def certainty(self) -> Certainty | None:
        """What a cosine with the gallery's people means; None where the card does not say."""
        return self._newest().certainty

    def _newest(self) -> _Decider:
        """What is decided by, made anew if the gallery was changed."""
        if self._decider.revision is not self.gallery.revision:
            self._decider = self._decide_by()
        return self._decider

    def _decide_by(self) -> _Decider:
        # Looked at first: a change that another thread makes meanwhile is seen the next time.
        revision = self.gallery.revision
        card = deciding_card(self.gallery, self._model, self._where)
        certainty = certainty_of(card, self._enrolled)
        metric, threshold = decision_threshold(card, self._section, certainty)
        return _Decider(revision, card, certainty, metric, threshold)

    def match(
        self, embeddings: Floats, held: Sequence[str | None] = (), lead: float = 0.0
    ) -> list[Match]:
        """One decision per face of an image.

        Args:
            embeddings: `(F, D) float32` unit vectors, or means of unit vectors.
            held: each face's identity in earlier frames, or None.
            lead: hysteresis: cosine added to a face's similarity to the identity it held.

        Raises:
            UsageError: the embeddings have another shape, or are longer than unit vectors.
        """
        if not len(embeddings):
            return []
        decider = self._newest()
        # With F faces and unique identities, a face falls back on at most its F-th nearest.
        top = max(self._section.candidates, len(embeddings) if self._section.unique else 1)
        # The second most similar says how certain the first is.
        top = max(top, 1 if decider.certainty is None else 2)
        found = self.gallery.search(
            embeddings, top, match=self._section.match, where=self._section.where
        )
        names = [*held, *[None] * (len(found) - len(held))]
        leaning = []
        for vector, hits, name in zip(embeddings, found, names, strict=True):
            if name is not None and len(hits) == top and all(hit.name != name for hit in hits):
                hits += self._compare(vector, name)
            near = [Hit(hit.name, hit.similarity + lead * (hit.name == name)) for hit in hits]
            leaning.append(sorted(near, key=lambda hit: -hit.similarity))
        decided = self._decide(leaning, decider)
        matches = [
            self._match(name, hits, decider.metric)
            for name, hits in zip(decided, found, strict=True)
        ]
        if decider.certainty is None:
            return matches
        cosines = [-1.0 if one.nearest is None else one.nearest.similarity for one in matches]
        others = [_rival(one, hits) for one, hits in zip(matches, found, strict=True)]
        probabilities = decider.certainty.probability(cosines, others).tolist()
        return [
            one if one.nearest is None else replace(one, probability=probability)
            for one, probability in zip(matches, probabilities, strict=True)
        ]

    def _enrolled(self) -> dict[int, int]:
        """The gallery's people by number of photos, as `Certainty` takes them."""
        sizes = self.gallery.sizes(self._section.where)
        if self._section.match == "template":
            return sizes
        return {1: sum(faces * people for faces, people in sizes.items())}

    def match_faces(self, faces: Sequence[Face]) -> list[Match]:
        """One decision per embedded face of an image.

        Raises:
            UsageError: a face has no embedding.
        """
        if not faces:
            return []
        vectors = [face.embedding for face in faces if face.embedding is not None]
        if len(vectors) < len(faces):
            raise UsageError(
                "a face has no embedding: Engine.embed gives faces with one, Engine.detect without"
            )
        return self.match(np.stack(vectors))

    def _compare(self, vector: Floats, name: str) -> list[Hit]:
        """A face's similarity to a person outside its top hits; empty if the person was removed."""
        try:
            rows = self.gallery.person(name, self._section.where)
        except UsageError:
            return []
        if not len(rows):
            return []
        exemplar = self._section.match == "exemplar"
        vectors = rows.embeddings if exemplar else mean_vector(rows.embeddings)[None]
        return [Hit(name, float(np.clip((vectors @ vector).max(), -1, 1)))]

    def _decide(self, found: Sequence[Sequence[Hit]], decider: _Decider) -> list[str | None]:
        """The person of each face, or None."""
        least = distance_to_similarity(decider.threshold, decider.metric)
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

    def _match(self, name: str | None, hits: Sequence[Hit], metric: Metric) -> Match:
        candidates = tuple(_candidate(hit, metric) for hit in hits[: self._section.candidates])
        if name is None:
            return Match(None, candidates[0] if candidates else None, candidates)
        decided = next(hit for hit in hits if hit.name == name)
        return Match(name, _candidate(decided, metric), candidates)


def _candidate(hit: Hit, metric: Metric) -> Candidate:
    return Candidate(hit.name, hit.similarity, similarity_to_distance(hit.similarity, metric))


def _rival(match: Match, hits: Sequence[Hit]) -> float:
    """Cosine of the most similar person but the one told; -1 where there is none."""
    told = match.nearest.name if match.nearest else None
    return max((hit.similarity for hit in hits if hit.name != told), default=-1.0)
