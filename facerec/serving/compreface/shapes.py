"""CompreFace's JSON shapes, of our faces and similarities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from facerec.card import Metric, distance_to_similarity
from facerec.faces import Face
from facerec.gallery.base import Hit
from facerec.gallery.certainty import Certainty

_STEEPNESS = 6.25
"""Slope at the threshold, relative to it: 5.29 per unit distance at 1.18 in CompreFace's models."""
_DIGITS = 5


class Scale:
    """Similarity as CompreFace's clients expect it: in [0, 1], and 0.5 at the threshold.

    CompreFace's own is `(tanh((threshold - distance) * slope) + 1) / 2` of the Euclidean distance
    between unit vectors, so that most correct guesses lie above 0.5 and most wrong ones below. A
    cosine would not do: Double Take calls a face known from 0.6 on, and the default model's
    strangers have cosines of 0.8.

    Args:
        threshold: the largest distance accepted as the same person.
        metric: of the threshold.
        certainty: what a cosine means; None where the card does not say.
    """

    def __init__(
        self, threshold: float, metric: Metric, certainty: Certainty | None = None
    ) -> None:
        least = distance_to_similarity(threshold, metric)
        self._threshold = max(_euclidean(least), 1e-6)
        self._certainty = certainty

    def similarity(self, cosine: float) -> float:
        """Of a cosine in [-1, 1]."""
        beyond = 1 - _euclidean(cosine) / self._threshold
        return round((math.tanh(_STEEPNESS * beyond) + 1) / 2, _DIGITS)

    def likeness(self, cosine: float, second: float | None = None) -> dict[str, float]:
        """Similarity of a cosine, and the `probability` of the right name, as `facerec recognize`
        tells it; without the latter where the card does not say, as CompreFace knows none.

        Args:
            second: see `Certainty.probability`.
        """
        told = {"similarity": self.similarity(cosine)}
        if self._certainty is not None:
            others = None if second is None else [second]
            (probability,) = self._certainty.probability([cosine], others).tolist()
            told["probability"] = round(probability, _DIGITS)
        return told

    def likenesses(self, hits: Sequence[Hit], count: int) -> list[dict[str, Any]]:
        """People with their similarities, most similar first; a probability is that of the first,
        as it is known of the most similar person alone.

        Args:
            hits: the most similar people, two or more if there are as many.
            count: of people told.
        """
        told: list[dict[str, Any]] = [
            {"subject": hit.name, "similarity": self.similarity(hit.similarity)}
            for hit in hits[:count]
        ]
        if told:
            second = hits[1].similarity if len(hits) > 1 else -1.0
            told[0] |= self.likeness(hits[0].similarity, second)
        return told


def _euclidean(cosine: float) -> float:
    return math.sqrt(max(0.0, 2 - 2 * cosine))


def counted(faces: Sequence[Face], *, least: float, limit: int) -> list[Face]:
    """The faces that count, the largest first.

    Args:
        least: minimum score.
        limit: maximum number; 0 for all.
    """
    strong = [face for face in faces if face.score >= least]
    ordered = sorted(strong, key=lambda face: -_area(face))
    return ordered[:limit] if limit else ordered


def _area(face: Face) -> float:
    return float(np.prod(face.box[2:] - face.box[:2]))


def face_record(
    face: Face, size: tuple[int, int], plugins: Sequence[str], milliseconds: float | None
) -> dict[str, Any]:
    """A face as in every answer.

    Args:
        size: height and width of its photo.
        plugins: what is asked for beside the box; of `age`, `gender`, `pose` and `mask` there is
            nothing to tell.
        milliseconds: the analysis took; None: not asked for.
    """
    height, width = size
    x_min, y_min, x_max, y_max = (round(float(side)) for side in face.box)
    record: dict[str, Any] = {
        "box": {
            "probability": round(float(face.score), _DIGITS),
            "x_max": min(max(x_max, 0), width),
            "y_max": min(max(y_max, 0), height),
            "x_min": min(max(x_min, 0), width),
            "y_min": min(max(y_min, 0), height),
        }
    }
    if "landmarks" in plugins:
        record["landmarks"] = [[round(float(x)), round(float(y))] for x, y in face.landmarks]
    if "calculator" in plugins and face.embedding is not None:
        record["embedding"] = face.embedding.astype(float).tolist()
    if milliseconds is not None:
        record["execution_time"] = {"detector": round(milliseconds, 1)}
    return record


def page_of(counts: dict[str, int], page: int, size: int) -> list[tuple[str, int, int]]:
    """Which entries a page shows: person, and the range of their entries.

    Args:
        counts: entries per person, in order.
        page: from 0.
        size: entries per page.
    """
    first, last = page * size, (page + 1) * size
    shown, before = [], 0
    for person, count in counts.items():
        start, stop = max(first - before, 0), min(last - before, count)
        if start < stop:
            shown.append((person, start, stop))
        before += count
    return shown
