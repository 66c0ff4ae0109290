"""Findings on single images, and the images that speak for them."""

from __future__ import annotations

import numpy as np

from facerec.cleanup.findings import Finding, Kind
from facerec.cleanup.groups import Rows
from facerec.cleanup.photos import Photos
from facerec.faces import Floats

_NEIGHBOURS = 3


def about(
    photos: Photos, kind: Kind, row: int, confidence: float, *, target: str | None = None,
    **evidence: object,
) -> Finding:  # fmt: skip
    """A finding on one image."""
    person = photos.people[photos.person[row]]
    return Finding(kind, [str(photos.file[row])], person, confidence, target, evidence)


def nearest(
    photos: Photos, rows: Rows, vectors: Floats, row: int, among: Rows
) -> list[tuple[str, float]]:
    """The nearest images among some, with their cosines.

    Args:
        rows: the photos' row of each vector.
        vectors: `(N, D) float32`, of which `row` and `among` are rows.
    """
    cosines = vectors[among] @ vectors[row]
    best = np.argsort(-cosines, kind="stable")[:_NEIGHBOURS]
    return [(str(photos.file[rows[among[n]]]), round(float(cosines[n]), 4)) for n in best]


def beyond(ratio: float) -> float:
    """Confidence for how far a value is beyond a limit: 0.5 at it, 0.75 at twice, towards 1."""
    return 1.0 - 0.5 / ratio
