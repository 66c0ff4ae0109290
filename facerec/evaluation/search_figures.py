"""All figures of a 1:N search."""

from __future__ import annotations

from typing import Any

import numpy as np

from facerec.card import Metric, similarity_to_distance
from facerec.evaluation.identification import (
    Search,
    cumulative_match,
    open_set_point,
    supported_fpirs,
)
from facerec.evaluation.verification import percent, rate_name

RANKS = (1, 5, 10)


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
    record["thresholds"] = {
        rate_name(rate): similarity_to_distance(point.threshold, metric)
        for rate, point in points.items()
    }
    record["metric"] = metric
    return record
