"""Verification metrics, each exact on the sorted scores.

Definitions: ISO/IEC 19795-1:2021 (false-accept and false-reject rates, DET), Fawcett 2006 (ROC,
AUC). Rates are fractions in [0, 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facerec.errors import UsageError
from facerec.evaluation.curve import ScoreCurve, check_pairs

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""False-accept rates reported, if there are enough impostor pairs."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Error rates at one threshold.

    Attributes:
        threshold: similarity at or above which a pair is accepted.
        far: share of impostor pairs it accepts.
        tar: share of genuine pairs it accepts.
    """

    threshold: float
    far: float
    tar: float


def supported_fars(impostors: int) -> tuple[float, ...]:
    """The `FARS` at which at least one of `impostors` pairs may be accepted."""
    return tuple(far for far in FARS if allowed_impostors(far, impostors) >= 1)


def allowed_impostors(far: float, impostors: int) -> int:
    """The most impostor pairs out of `impostors` that may be accepted at a rate of `far`."""
    # 0.07 * 100 is 7.000000000000001 and 0.29 * 100 is 28.999999999999996: both mean the integer.
    return math.floor(far * impostors * (1 + 1e-12))


def tar_at_far(curve: ScoreCurve, far: float) -> OperatingPoint:
    """The highest TAR of all thresholds whose FAR is at most `far`.

    Raises:
        UsageError: the impostor pairs are too few to measure that rate.
    """
    allowed = allowed_impostors(far, curve.impostor_total)
    if allowed < 1:
        raise UsageError(
            f"a false-accept rate of {far:g} needs at least {math.ceil(1 / far)} pairs of "
            f"different people, there are {curve.impostor_total}"
        )
    return operating_point(curve, _last_at_most(curve.impostor, allowed))


def _last_at_most(counts: NDArray[np.int64], allowed: int) -> int:
    return int(np.searchsorted(counts, allowed, side="right")) - 1


def operating_point(curve: ScoreCurve, index: int) -> OperatingPoint:
    """The operating point that accepts the `index` highest distinct scores."""
    return OperatingPoint(
        curve.threshold(index),
        int(curve.impostor[index]) / curve.impostor_total,
        int(curve.genuine[index]) / curve.genuine_total,
    )


def equal_error_rate(curve: ScoreCurve) -> float:
    """FAR where it equals FRR, on the linearly interpolated ROC."""
    # FAR - FRR rises along the curve from -1 to 1 in units of 1 / (genuine * impostor): exact.
    gap = (
        curve.impostor * curve.genuine_total
        - (curve.genuine_total - curve.genuine) * curve.impostor_total
    )
    right = int(np.searchsorted(gap, 0))
    left = right - 1
    share = -int(gap[left]) / (int(gap[right]) - int(gap[left]))
    before, after = int(curve.impostor[left]), int(curve.impostor[right])
    return (before + share * (after - before)) / curve.impostor_total


def area_under_roc(curve: ScoreCurve) -> float:
    """AUC: share of (genuine, impostor) couples in the right order, a tie counting half.

    The Mann-Whitney statistic.
    """
    width = np.diff(curve.impostor).astype(np.float64)
    doubled_height = (curve.genuine[1:] + curve.genuine[:-1]).astype(np.float64)
    return float(width @ doubled_height) / 2 / curve.genuine_total / curve.impostor_total


def best_threshold(curve: ScoreCurve) -> tuple[float, float]:
    """The similarity threshold with the highest accuracy, and that accuracy.

    Of several equally good ones, the one that accepts fewest impostors.
    """
    right = curve.genuine - curve.impostor
    index = int(np.argmax(right))
    total = curve.genuine_total + curve.impostor_total
    return curve.threshold(index), (int(right[index]) + curve.impostor_total) / total


def d_prime(similarities: ArrayLike, same: ArrayLike) -> float:
    """Distance of the two score means over their pooled deviation (Daugman 2000, eq. 5).

    Infinite where neither kind varies and the means differ; 0 where they are equal.
    """
    scores, flags = check_pairs(similarities, same)
    genuine, impostor = scores[flags], scores[~flags]
    gap = abs(float(genuine.mean(dtype=np.float64)) - float(impostor.mean(dtype=np.float64)))
    spread = (
        float(genuine.var(dtype=np.float64)) + float(impostor.var(dtype=np.float64))
    ) / 2  # fmt: skip
    if spread == 0.0:
        return math.inf if gap else 0.0
    return gap / math.sqrt(spread)


def roc_points(curve: ScoreCurve, limit: int = 1000) -> NDArray[np.float64]:
    """Points of the ROC for drawing.

    Of more than `limit` corners, a sample is kept: evenly spaced in the logarithm of the
    false-accept count, and in the index.

    Returns:
        `(P, 3) float64`: FAR, TAR, similarity threshold; strictest first.
    """
    corners = _corners(curve)
    if len(corners) > limit:
        counts = curve.impostor[corners]
        wanted = np.geomspace(1, max(int(counts[-1]), 2), limit // 2)
        by_count = np.searchsorted(counts, wanted, side="right") - 1
        by_place = np.linspace(0, len(corners) - 1, limit // 2).astype(np.int64)
        corners = corners[np.unique(np.concatenate((by_count, by_place)))]
    return np.array(
        [
            (int(curve.impostor[k]) / curve.impostor_total,
             int(curve.genuine[k]) / curve.genuine_total,
             curve.threshold(int(k)))
            for k in corners
        ]
    )  # fmt: skip


def _corners(curve: ScoreCurve) -> NDArray[np.int64]:
    """Indices of the curve's points that are not inside a straight horizontal or vertical run."""
    step_genuine, step_impostor = np.diff(curve.genuine) > 0, np.diff(curve.impostor) > 0
    both = step_genuine & step_impostor
    turns = (step_genuine[1:] != step_genuine[:-1]) | both[1:] | both[:-1]
    return np.concatenate(([0], np.flatnonzero(turns) + 1, [len(curve.scores)]))


def det_points(curve: ScoreCurve) -> NDArray[np.float64]:
    """Points of the detection error trade-off (Martin et al. 1997).

    Returns:
        `(P, 2) float64`: FAR, FRR, within 0 and 1 by half an error, as the normal-deviate axes
        need: so no error among 60 pairs is 1/120.
    """
    points = roc_points(curve)
    det = np.column_stack((points[:, 0], 1 - points[:, 1]))
    half = np.array([0.5 / curve.impostor_total, 0.5 / curve.genuine_total])
    return np.clip(det, half, 1 - half)
