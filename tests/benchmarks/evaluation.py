"""How long the metrics take: `python -m tests.benchmarks.evaluation`.

Two sets of made scores: 6,000 pairs with ten folds, as LFW has, and 15.7 million pairs, as IJB-C
has (19,557 of them genuine).
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from facerec.evaluation.curve import ScoreCurve, score_curve
from facerec.evaluation.folds import fold_accuracy
from facerec.evaluation.metrics import (
    area_under_roc,
    best_threshold,
    d_prime,
    det_points,
    equal_error_rate,
    roc_points,
    supported_fars,
    tar_at_far,
)
from facerec.evaluation.significance import eer_interval, tar_interval


def main() -> None:
    """Print one table a set, in milliseconds, best of three."""
    for genuine, impostor in ((3000, 3000), (19_557, 15_658_489)):
        generator = np.random.default_rng(0)
        scores = np.concatenate(
            (generator.normal(0.6, 0.15, genuine), generator.normal(0, 0.12, impostor))
        ).astype(np.float32)
        same = np.arange(len(scores)) < genuine
        curve = score_curve(scores, same)
        steps: dict[str, Callable[[], Any]] = {
            "sort and count": lambda s=scores, f=same: score_curve(s, f),
            "TAR at FAR, EER, AUC, best": lambda c=curve: _summaries(c),
            "d-prime": lambda s=scores, f=same: d_prime(s, f),
            "ROC and DET points": lambda c=curve: (roc_points(c), det_points(c)),
        }
        if genuine + impostor < 100_000:
            folds = np.arange(len(scores)) % 10
            steps["k-fold accuracy"] = lambda s=scores, f=same, k=folds: fold_accuracy(s, f, k)
        total = 0.0
        print(f"\n{len(scores):,} pairs")
        for name, step in steps.items():
            taken = _best_of(step)
            total += taken
            print(f"  {name:28s} {taken:10.1f} ms")
        print(f"  {'all of these':28s} {total:10.1f} ms")
        print(f"  {'bootstrap intervals':28s} {_best_of(lambda c=curve: _intervals(c)):10.1f} ms")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"  {'peak memory so far':28s} {peak:10.2f} GB")


def _summaries(curve: ScoreCurve) -> None:
    for far in supported_fars(curve.impostor_total):
        tar_at_far(curve, far)
    equal_error_rate(curve)
    area_under_roc(curve)
    best_threshold(curve)


def _intervals(curve: ScoreCurve) -> None:
    eer_interval(curve)
    for far in supported_fars(curve.impostor_total):
        tar_interval(curve, far)


def _best_of(step: Callable[[], Any], repeats: int = 3) -> float:
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        step()
        taken.append(time.perf_counter() - started)
    return 1000 * min(taken)


if __name__ == "__main__":
    main()
