"""The JSON objects of results, which commands print and `facerec serve` answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from facerec.card import Metric, similarity_to_distance
from facerec.faces import Candidate, Face, Floats, Match
from facerec.gallery.base import Where
from facerec.gallery.certainty import Certainty
from facerec.gallery.enrol import Enrolment


def detection_record(image: str, size: tuple[int, int], faces: Sequence[Face]) -> dict[str, Any]:
    """Of one photo, as `facerec detect` tells it.

    Args:
        image: its name.
        size: height and width, in pixels.
    """
    height, width = size
    return {
        "image": image,
        "width": width,
        "height": height,
        "faces": [face.to_record() for face in faces],
    }


def recognition_record(
    image: str, size: tuple[int, int], faces: Sequence[Face], matches: Sequence[Match]
) -> dict[str, Any]:
    """Of one photo, as `facerec recognize image` tells it; `name` is null for a stranger.

    Args:
        image: its name.
        size: height and width, in pixels.
        matches: one a face.
    """
    record = detection_record(image, size, faces)
    told = zip(record["faces"], matches, strict=True)
    return {**record, "faces": [{**face, **match_record(match)} for face, match in told]}


def match_record(match: Match) -> dict[str, Any]:
    """Who a face is, and the candidates."""
    nearest = _candidate_record(match.nearest) if match.nearest else {}
    return {
        "name": match.name,
        "similarity": nearest.get("similarity"),
        "distance": nearest.get("distance"),
        "probability": _rounded(match.probability),
        "candidates": [_candidate_record(candidate) for candidate in match.candidates],
    }


def comparison_record(
    a: str, b: str, vectors: tuple[Floats, Floats], metric: Metric, threshold: float,
    certainty: Certainty | None,
) -> dict[str, Any]:  # fmt: skip
    """Of two faces, as `facerec compare` tells it.

    Args:
        a: the name of the first.
        b: the name of the second.
        vectors: `(D,) float32` unit vectors of both.
        metric: of the distance and the threshold.
        threshold: largest distance of the same person.
        certainty: what a cosine means; None where the card does not say.
    """
    first, second = vectors
    similarity = min(max(float(first @ second), -1.0), 1.0)
    distance = similarity_to_distance(similarity, metric)
    probability = None if certainty is None else float(certainty.probability([similarity])[0])
    return {
        "a": a,
        "b": b,
        "same": distance <= threshold,
        "similarity": round(similarity, 6),
        "distance": round(distance, 6),
        "probability": _rounded(probability),
        "threshold": round(threshold, 6),
        "metric": metric,
    }


def entry_record(
    person: str, source: str, distance: float, score: float, quality: float, meta: Where,
    turn: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Of an enrolled face, as `facerec gallery show` tells it.

    Args:
        source: its photo, as the gallery names it.
        distance: from the person's mean vector, in the card's metric.
        score: the detector's, in [0, 1]; NaN when unknown.
        quality: in [0, 1]; NaN when unknown.
        meta: the face's metadata.
        turn: see `turn_of`; told unless it is 0.
    """
    record = {
        "person": person,
        "source": source,
        "distance": round(distance, 6),
        "score": None if math.isnan(score) else round(score, 4),
        "quality": None if math.isnan(quality) else round(quality, 4),
        "meta": dict(meta),
    }
    return {**record, "turn": turn} if turn else record


def enrolment_record(gallery: str, people: Mapping[str, int], report: Enrolment) -> dict[str, Any]:
    """Of an enrolment, as `facerec embed` tells it.

    Args:
        gallery: its address.
        people: faces by person.
    """
    return {
        "gallery": gallery,
        "people": people,
        "enrolled": report.enrolled,
        "replaced": report.replaced,
        "skipped": report.skipped,
        "faces": report.faces,
        "quality": _spread(report.qualities),
        "low_quality": {
            photo: [round(quality, 4) for quality in qualities]
            for photo, qualities in report.low_quality.items()
        },
        "no_face": report.no_face,
        "several_faces": report.several_faces,
        "failed": report.failed,
        "removed": report.removed,
        "warnings": [remark.record() for remark in report.remarks],
    }


def _spread(qualities: Sequence[float]) -> dict[str, float] | None:
    """Lowest and median quality of the faces enrolled; None for no faces."""
    if not qualities:
        return None
    return {"lowest": round(min(qualities), 4), "median": round(median(qualities), 4)}


def _rounded(probability: float | None) -> float | None:
    return None if probability is None else round(probability, 6)


def _candidate_record(candidate: Candidate) -> dict[str, Any]:
    return {
        "name": candidate.name,
        "similarity": round(candidate.similarity, 6),
        "distance": round(candidate.distance, 6),
    }
