"""Verification (1:1): all figures of one model on one set of pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facerec.card import Metric, similarity_to_distance
from facerec.evaluation.curve import Flags, ScoreCurve, Scores, score_curve
from facerec.evaluation.folds import (
    FoldAccuracy,
    fold_accuracy,
    mean_subtracted_accuracy,
    pair_similarities,
)
from facerec.evaluation.metrics import (
    area_under_roc,
    best_threshold,
    d_prime,
    equal_error_rate,
    supported_fars,
    tar_at_far,
)
from facerec.evaluation.protocols.pairs import PairProtocol
from facerec.evaluation.significance import (
    Interval,
    accuracy_interval,
    eer_interval,
    fold_mean_interval,
    tar_interval,
)
from facerec.faces import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """Scores of a set of pairs, and what follows from them.

    Attributes:
        similarities: `(N,)` cosine of each pair.
        same: `(N,) bool`.
        curve: of these pairs.
        plain: k-fold accuracy; None where the protocol has no folds.
        centred: the same with the mean embedding subtracted; None where there are no vectors.
    """

    similarities: Scores
    same: Flags
    curve: ScoreCurve
    plain: FoldAccuracy | None
    centred: FoldAccuracy | None

    @property
    def correct(self) -> Flags:
        """`(N,) bool`: decided rightly, by the folds' thresholds or else by the best one."""
        if self.plain is not None:
            return self.plain.correct
        correct: Flags = (self.similarities >= best_threshold(self.curve)[0]) == self.same
        return correct

    @property
    def accuracy(self) -> float:
        """Share of right decisions; the mean over folds where there are folds."""
        return float(self.correct.mean()) if self.plain is None else self.plain.mean


def verify(vectors: Floats, protocol: PairProtocol) -> Verification:
    """Compare a protocol's pairs.

    Args:
        vectors: `(I, D) float32` unit vectors of its images; rows of NaN are scored as unlike.

    Raises:
        UsageError: the pairs are all of one kind.
    """
    similarities = pair_similarities(vectors, protocol.pairs)
    result = verify_scores(similarities, protocol.same, protocol.folds)
    if result.plain is None:
        return result
    centred = mean_subtracted_accuracy(vectors, protocol.pairs, protocol.same, protocol.folds)
    return Verification(similarities, protocol.same, result.curve, result.plain, centred)


def verify_scores(
    similarities: Scores, same: Flags, folds: NDArray[np.int64] | None
) -> Verification:
    """As `verify`, from given similarities.

    Args:
        folds: `(N,) int64`; None or a single fold: no k-fold accuracy.
    """
    curve = score_curve(similarities, same)
    has_folds = folds is not None and len(np.unique(folds)) > 1
    plain = fold_accuracy(similarities, same, folds) if has_folds and folds is not None else None
    return Verification(similarities, same, curve, plain, None)


def verification_record(result: Verification, metric: Metric) -> dict[str, Any]:
    """The figures as a JSON object: rates in percent, thresholds as distances in `metric`."""
    curve = result.curve
    points = {far: tar_at_far(curve, far) for far in supported_fars(curve.impostor_total)}
    record: dict[str, Any] = {
        "pairs": len(result.same),
        "genuine": curve.genuine_total,
        "impostor": curve.impostor_total,
        "accuracy": percent(result.accuracy),
        "accuracy_std": None if result.plain is None else percent(result.plain.std),
        "accuracy_interval": _percents(
            accuracy_interval(result.correct, result.same)
            if result.plain is None
            else fold_mean_interval(result.plain.accuracies)
        ),
        "tar_at_far": {rate_name(far): percent(point.tar) for far, point in points.items()},
        "tar_interval": {
            rate_name(far): _percents(tar_interval(curve, far)) for far in points
        },
        "thresholds": {
            rate_name(far): similarity_to_distance(point.threshold, metric)
            for far, point in points.items()
        },
        "eer": percent(equal_error_rate(curve)),
        "eer_interval": _percents(eer_interval(curve)),
        "auc": percent(area_under_roc(curve)),
        "d_prime": _finite(round(d_prime(result.similarities, result.same), 6)),
        "threshold": similarity_to_distance(best_threshold(curve)[0], metric),
        "metric": metric,
    }  # fmt: skip
    if result.centred is not None:
        record["mean_subtracted"] = {
            "accuracy": percent(result.centred.mean),
            "accuracy_std": percent(result.centred.std),
        }
    return record


def rate_name(far: float) -> str:
    """A rate as cards and JSON write it: `1e-3`."""
    exponent = math.floor(math.log10(far) + 1e-9)
    digits = far / 10.0**exponent
    return f"{digits:g}e{exponent}"


def percent(share: float) -> float:
    """A share in percent, to a ten-thousandth of one."""
    return round(100 * share, 4)


def _percents(interval: Interval) -> list[float]:
    return [percent(end) for end in interval]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
