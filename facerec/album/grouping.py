"""Grouping: who each face of an album is, from all vectors and all that the user decided.

A first grouping by cosine shows which faces are different people. From these the density around
each face is measured, and the threshold, until groups and threshold agree; the second grouping
uses both. Few faces are grouped by the model card's calibration. The outcome depends on the faces,
not on their order, nor on how the last grouping came about: that only gives people their ids.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facerec.album.impostors import Cohort
from facerec.album.known import Known, Numbers, Rules
from facerec.album.lasting import lasting_people
from facerec.album.linkage import Clusters, cut
from facerec.album.similarity import EXACT, Similarity, pairs_from
from facerec.card import ModelCard, distance_to_similarity
from facerec.cleanup.threshold import calibrated_threshold, distance_at
from facerec.errors import UsageError
from facerec.faces import Floats
from facerec.files.text import counted
from facerec.parallel.products import single_threaded_blas

Rows = NDArray[np.intp]

PASSES = 7
"""Passes over all faces: two of comparing and one of linking; the density; and one of comparing and
two of linking."""
MEASURABLE = 50
"""Faces from which on the threshold is measured."""
_FEW_GROUPS = 10
_FALSE_PAIRS = 3e-3
"""False-accept rate of the card's threshold for few faces, times their number."""
_LAXEST_RATE = 1e-2
_ROUNDS = 10
_MEASURED = "measured on the album's faces"
_KEYS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Grouping:
    """Who each face is.

    Attributes:
        person: `(N,) int64`, `NOBODY` for a face that joins nobody yet. People who are new have
            ids from `first_new` on.
        threshold: mean similarity, at least, of two groups that became one.
        likely: similarity from which on two faces may be one person, and a user may be asked.
        reason: where the threshold comes from, a clause.
    """

    person: Numbers
    threshold: float
    likely: float
    reason: str


def group(
    vectors: Floats,
    known: Known,
    card: ModelCard,
    first_new: int,
    *,
    distance: float | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Grouping:
    """Group all faces of an album by person.

    Args:
        vectors: `(N, D) float32` unit vectors.
        known: what else is known of the faces.
        card: of the model that made the vectors.
        first_new: id of the first new person.
        distance: threshold on the card's metric, instead of one that is measured.
        advance: progress callback, with the number of faces compared: at most `PASSES` times all.

    Raises:
        UsageError: there are too few faces to measure a threshold, and the card has none.
    """
    if not len(vectors):
        return Grouping(np.empty(0, np.int64), 1.0, 1.0, "there are no faces")
    # Sorted, so that neither ties nor rounding depend on the order of the faces.
    order = np.lexsort(vectors.T[:_KEYS])
    with single_threaded_blas():
        labels, threshold, least, reason = _Album(
            vectors[order], known.sorted_by(order), card, distance, advance
        ).group()
    back = np.empty(len(order), np.intp)
    back[order] = np.arange(len(order))
    return Grouping(lasting_people(labels[back], known, first_new), threshold, least, reason)


class _Album:
    """One grouping under way, of faces in sorted order."""

    def __init__(
        self,
        vectors: Floats,
        known: Known,
        card: ModelCard,
        distance: float | None,
        advance: Callable[[int], None],
    ) -> None:
        self._vectors = vectors
        self._known = known
        self._card = card
        self._distance = distance
        self._advance = advance
        self._cohort = Cohort(vectors, advance)

    def group(self) -> tuple[Rows, float, float, str]:
        """Labels from 0; threshold, likely and reason as of `Grouping`."""
        cosine = Similarity.of(self._vectors)
        labels = None
        if self._distance is None and len(self._vectors) >= MEASURABLE:
            lax = self._cohort.floor(self._known.photos)
            pairs, near = pairs_from(cosine, lax, None, self._advance)
            labels, threshold = self._settle(cosine, lax, pairs)
        if labels is None or labels.max() + 1 < _FEW_GROUPS:
            threshold, reason = self._given()
            least = min(threshold, likely(self._card, threshold))
            pairs, _ = pairs_from(cosine, threshold, None, self._advance)
            return self._link(cosine, threshold, pairs), threshold, least, reason
        scaled = Similarity.of(self._vectors, self._cohort.density(labels, threshold))
        if len(self._vectors) <= EXACT:
            pairs, near = pairs_from(scaled, lax)
        else:  # the nearest by cosine are nearly those
            near = scaled.of_pairs(pairs)
        _, threshold = self._settle(scaled, lax, pairs[near >= lax])
        links = pairs[near >= threshold]
        return self._link(scaled, threshold, links), threshold, (lax + threshold) / 2, _MEASURED

    def _settle(
        self, similarity: Similarity, lax: float, pairs: NDArray[np.intp]
    ) -> tuple[Rows, float]:
        """Groups at the threshold that is measured on those very groups, along pairs of faces.

        The groups are all but those of `_link`, where merges below the threshold may have been in
        the way of others.
        """
        impostors = self._cohort.pairs(similarity, lax)
        clusters = Clusters(similarity, Rules(self._known))
        clusters.link(pairs, lax)
        self._advance(len(self._vectors))
        threshold, labels = lax, self._cut(clusters, lax)
        for _ in range(_ROUNDS):
            before = threshold
            threshold = impostors.threshold(self._known, labels, lax)
            labels = self._cut(clusters, threshold)
            if threshold == before:
                break
        return labels, threshold

    def _link(self, similarity: Similarity, least: float, pairs: NDArray[np.intp]) -> Rows:
        """Groups whose pairs are on average that similar; `pairs` are those that are themselves."""
        clusters = Clusters(similarity, Rules(self._known))
        turn = np.zeros(len(self._vectors), np.intp)
        # Who was rejected resembles those it was taken for, and would keep them from their person.
        turn[[row for row, _ in self._known.forbidden]] = 1
        turn[self._known.late] = 2
        turns = turn[pairs].max(1, initial=0)
        for now in range(3):
            clusters.link(pairs[turns == now], least)
            while len(turn) > EXACT and clusters.link_means(least, turn > now):
                pass
        self._advance(len(self._vectors))
        return self._cut(clusters, least)

    def _cut(self, clusters: Clusters, least: float) -> Rows:
        return cut(clusters.merges, len(self._vectors), least)

    def _given(self) -> tuple[float, str]:
        """The threshold that is asked for, or the card's for so many faces."""
        metric, count = self._card.metric, len(self._vectors)
        if self._distance is not None:
            return distance_to_similarity(self._distance, metric), "as given"
        rate = min(_FALSE_PAIRS / count, _LAXEST_RATE)
        distance = distance_at(self._card, rate, metric)
        if distance is not None:
            reason = f"the card's for two images, extended to FAR {rate:.0e}"
            return distance_to_similarity(distance, metric), reason
        if self._card.calibration is None:
            few = counted(count, "face is", "faces are")
            raise UsageError(
                f"{self._card.name} is not calibrated, and {few} "
                "too few to measure a threshold; give --distance-threshold"
            )
        choice = calibrated_threshold(self._card, metric)
        return distance_to_similarity(choice.threshold, metric), choice.reason


def likely(card: ModelCard, threshold: float) -> float:
    """The similarity from which on two faces may be one person, by a card; without calibration the
    threshold.
    """
    distance = distance_at(card, _LAXEST_RATE, card.metric)
    return threshold if distance is None else distance_to_similarity(distance, card.metric)
