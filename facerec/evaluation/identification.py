"""Identification (1:N): CMC, and open-set DIR, FPIR and TPIR, in blocks of probes.

Grother & Ngan 2014 (NISTIR 8009) for CMC, FPIR and TPIR; Jain & Li, Handbook of Face Recognition
(2nd ed.), chapter 21.2.2 for the detection and identification rate. A person of the gallery is as
similar to a probe as the most similar of their entries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facerec.card import Metric, similarity_to_distance
from facerec.errors import UsageError
from facerec.evaluation.curve import halfway
from facerec.evaluation.protocols.identification import IdentificationProtocol
from facerec.evaluation.verification import percent, rate_name
from facerec.faces import Floats

RANKS = (1, 5, 10)

FPIRS = (1e-1, 1e-2, 3e-3, 1e-3)
"""False-positive identification rates reported, if there are enough strangers; 3e-3 is FRTE's."""

Vectors = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """Each probe's search of the gallery.

    Attributes:
        rank: `(N,) int64`, the mate's rank among the people of the gallery, from 1, ties counted
            against it; 0 for a stranger; above `people` where there is nothing to compare, which
            is a miss at every rank.
        mate: `(N,) float32`, similarity to the probe's own person (mate); -inf for a stranger.
        best: `(N,) float32`, similarity to the most similar person.
        people: number of people in the gallery.
    """

    rank: Labels
    mate: Vectors
    best: Vectors
    people: int

    @property
    def known(self) -> NDArray[np.bool_]:
        """`(N,) bool`: the probe's person is in the gallery."""
        return self.rank > 0


@dataclass(frozen=True, slots=True)
class OpenSetPoint:
    """Open-set identification at one threshold.

    Attributes:
        threshold: similarity at or above which the most similar person is named.
        fpir: share of strangers that are named as somebody.
        dir: share of known probes named rightly: most similar person is theirs, and accepted.
        tpir: as `dir` but at any rank: their own person is accepted.
    """

    threshold: float
    fpir: float
    dir: float
    tpir: float


def search(
    gallery: Vectors, gallery_people: Labels, probes: Vectors, probe_people: Labels,
    block: int = 1024,
) -> Search:  # fmt: skip
    """Compare each probe with every gallery entry.

    Args:
        gallery: `(G, D) float32` unit vectors.
        gallery_people: `(G,) int64`, the person of each.
        probes: `(N, D) float32` unit vectors.
        probe_people: `(N,) int64`; a person absent from the gallery is a stranger.
        block: probes compared at once; memory is about `12 * block * G` bytes.

    Raises:
        UsageError: the gallery or the probe set is empty.
    """
    if not len(gallery) or not len(probes):
        raise UsageError("identification needs at least one gallery entry and one probe")
    order = np.argsort(gallery_people, kind="stable")
    people, starts = np.unique(gallery_people[order], return_index=True)
    entries = np.ascontiguousarray(gallery[order])
    column = np.minimum(np.searchsorted(people, probe_people), len(people) - 1)
    known = people[column] == probe_people

    rank = np.zeros(len(probes), dtype=np.int64)
    mate = np.full(len(probes), -np.inf, dtype=np.float32)
    best = np.empty(len(probes), dtype=np.float32)
    for first in range(0, len(probes), block):
        rows = slice(first, min(first + block, len(probes)))
        similarity = probes[rows] @ entries.T
        if len(starts) < len(entries):
            similarity = np.maximum.reduceat(similarity, starts, axis=1)
        best[rows] = similarity.max(axis=1)
        own = similarity[np.arange(len(similarity)), column[rows]]
        mate[rows] = np.where(known[rows], own, -np.inf)
        rank[rows] = np.where(known[rows], (similarity >= own[:, None]).sum(axis=1), 0)
    return Search(rank, mate, best, len(people))


def cumulative_match(found: Search) -> NDArray[np.float64]:
    """CMC: share of the known probes whose person is among the first `k`, for `k` = 1, 2, ...

    Returns:
        `(P,) float64`, P the people of the gallery; below 1 at the end where some are never found.

    Raises:
        UsageError: no probe shows a person of the gallery.
    """
    ranks = found.rank[found.known]
    if not len(ranks):
        raise UsageError("no probe shows a person of the gallery")
    counts = np.bincount(ranks, minlength=found.people + 1)[1 : found.people + 1]
    return np.cumsum(counts) / len(ranks)


def supported_fpirs(found: Search) -> tuple[float, ...]:
    """The `FPIRS` at which at least one stranger may be named."""
    strangers = int(np.count_nonzero(~found.known))
    return tuple(rate for rate in FPIRS if _allowed(rate, strangers) >= 1)


def _allowed(rate: float, strangers: int) -> int:
    return math.floor(rate * strangers * (1 + 1e-12))


def open_set_point(found: Search, fpir: float) -> OpenSetPoint:
    """The best rates of all thresholds that name at most a share `fpir` of the strangers.

    Raises:
        UsageError: there are too few strangers for that rate, or no known probe.
    """
    strangers = np.sort(found.best[~found.known])[::-1]
    if not found.known.any():
        raise UsageError("no probe shows a person of the gallery")
    allowed = _allowed(fpir, len(strangers))
    if allowed < 1:
        raise UsageError(
            f"a false-positive identification rate of {fpir:g} needs at least "
            f"{math.ceil(1 / fpir)} strangers among the probes, there are {len(strangers)}"
        )
    mate = found.mate[found.known]
    if allowed >= len(strangers):
        threshold = min(float(strangers[-1]), float(mate.min()))
    else:
        rejected = strangers[allowed]
        above = np.concatenate((strangers[:allowed], mate, np.array([np.inf], mate.dtype)))
        nearest = above[above > rejected].min()
        threshold = (
            float(np.nextafter(rejected, np.float32(np.inf)))
            if math.isinf(nearest)
            else halfway(rejected, nearest)
        )
    accepted = mate >= threshold
    first = found.rank[found.known] == 1
    return OpenSetPoint(
        threshold=threshold,
        fpir=float(np.mean(strangers >= threshold)),
        dir=float(np.mean(accepted & first)),
        tpir=float(np.mean(accepted)),
    )


def search_record(found: Search, metric: Metric) -> dict[str, Any]:
    """The figures as a JSON object: rates in percent, thresholds as distances in `metric`.

    Raises:
        UsageError: no probe shows a person of the gallery.
    """
    cmc = cumulative_match(found)
    points = {rate: open_set_point(found, rate) for rate in supported_fpirs(found)}
    record: dict[str, Any] = {
        "people": found.people,
        "probes": len(found.rank),
        "strangers": int(np.count_nonzero(~found.known)),
    }
    record |= {f"rank_{k}": percent(float(cmc[min(k, len(cmc)) - 1])) for k in RANKS}
    record["cmc"] = [percent(float(share)) for share in cmc[:100]]
    record["dir_at_far"] = {rate_name(rate): percent(point.dir) for rate, point in points.items()}
    record["tpir_at_fpir"] = {
        rate_name(rate): percent(point.tpir) for rate, point in points.items()
    }
    record["fnir_at_fpir"] = {
        rate_name(rate): percent(1 - point.tpir) for rate, point in points.items()
    }
    record["thresholds"] = {
        rate_name(rate): similarity_to_distance(point.threshold, metric)
        for rate, point in points.items()
    }
    record["metric"] = metric
    return record


def identify(vectors: Floats, protocol: IdentificationProtocol) -> Search:
    """Search the gallery for each probe; an image without a vector matches nobody.

    Args:
        vectors: `(I, D) float32` unit vectors or rows of NaN.

    Raises:
        UsageError: no gallery image has a vector.
    """
    usable = np.isfinite(vectors[protocol.gallery]).all(axis=1)
    found = search(
        vectors[protocol.gallery[usable]],
        protocol.gallery_people[usable],
        np.nan_to_num(vectors[protocol.probes]),
        protocol.probe_people,
    )
    unseen = np.isnan(vectors[protocol.probes]).any(axis=1)
    enrolled = np.isin(protocol.probe_people, protocol.gallery_people)
    # A known probe without a vector, or whose person has none, is found at no rank: to count it at
    # the last one would call it found where few people have a vector.
    lost = enrolled & (unseen | (found.rank == 0))
    people = len(np.unique(protocol.gallery_people))
    nothing = np.float32(-1)
    return Search(
        np.where(lost, people + 1, found.rank),
        np.where(lost, nothing, found.mate),
        np.where(unseen, nothing, found.best),
        people,
    )
