"""What an image's cosines say about whose it is: its folder's person's, another's, nobody's.

Each cosine becomes a log-likelihood ratio by logistic regression on the data set's own scores
(Platt 1999; Brümmer and du Preez 2006). The shares of the three kinds and the regressions are
estimated in turn (expectation maximisation) and compared by Bayes' rule. The limits follow from
the data set; the constants below were chosen on LFW's people, see *Cleanup* on the accuracy page.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]

_ROUNDS = 20
_SETTLED = 1e-3
_NEWTON_STEPS = 100
_DOUBT = 1e-5
"""How far the regression's targets are from 0 and 1: where no score overlaps, the slope stays
finite and the limit in the middle of the gap."""


@dataclass(frozen=True, slots=True)
class Line:
    """Log-likelihood ratio of a cosine, a person's own image to another's: `slope * c + offset`."""

    slope: float
    offset: float

    def at(self, cosine: Scores) -> Scores:
        """`(N,)` ratios of `(N,)` cosines."""
        return self.slope * cosine + self.offset


@dataclass(frozen=True, slots=True)
class Evidence:
    """How cosines to centroids are weighed.

    Attributes:
        own: of a cosine to the folder's own person.
        other: of the highest cosine to another person, which is the highest of many.
        shares: of images of their folder's person, of another folder's, and of nobody's.
    """

    own: Line
    other: Line
    shares: tuple[float, float, float]

    @property
    def own_limit(self) -> float:
        """Cosine to the own person below which an image is more likely nobody's."""
        mine, _, nobody = np.log(self.shares)
        return float((nobody - mine - self.own.offset) / self.own.slope)

    def least_other(self, own: NDArray[np.floating]) -> NDArray[np.float32]:
        """`(N,) float32`: cosine to another person from which an image is more likely that one's
        than its folder's or nobody's.

        Args:
            own: `(N,)` cosine to the own person; NaN, which nothing exceeds, without others there.
        """
        mine, elsewhere, nobody = np.log(self.shares)
        own_ratio = np.where(np.isnan(own), np.inf, self.own.at(own.astype(np.float64)) + mine)
        least = np.maximum(own_ratio, nobody) - elsewhere - self.other.offset
        return np.asarray(least / self.other.slope, np.float32)

    def lead(self, own: NDArray[np.floating], other: NDArray[np.floating]) -> Scores:
        """`(N,)` log-odds, 0 or more, of the likeliest of the three kinds over the next likeliest.

        Args:
            own, other: `(N,)` cosines to the own person and to the nearest other; NaN gives NaN.
        """
        ratios = [self.own.at(own.astype(np.float64)), self.other.at(other.astype(np.float64))]
        logs = np.sort(np.stack([*ratios, np.zeros(len(own))], 1) + np.log(self.shares), 1)
        lead: Scores = logs[:, 2] - logs[:, 1]
        return lead


def weigh(
    alike: NDArray[np.floating], nearest: NDArray[np.floating], impostor: NDArray[np.floating],
    mine: NDArray[np.bool_], elsewhere: NDArray[np.bool_],
) -> Evidence | None:  # fmt: skip
    """Estimate the evidence from images of all three kinds.

    Args:
        alike: `(N,)` cosine to the leave-one-out centroid of the folder's person.
        nearest: `(N,)` highest cosine to another person's.
        impostor: `(N, K)` cosines to some others'.
        mine, elsewhere: `(N,)` what the images are taken for at first.

    Returns:
        None if the cosines do not tell people apart.
    """
    own, highest = (np.asarray(cosines, np.float64) for cosines in (alike, nearest))
    # From the surer half on, so that strangers taken for the folder's person do not stay it.
    sure = mine & (own >= np.median(own[mine])) if mine.any() else mine
    chances = np.stack([sure, elsewhere & ~sure, ~sure & ~elsewhere], 1).astype(np.float64)
    evidence = None
    for _ in range(_ROUNDS):
        # An image of another folder's person is no impostor there.
        foreign = impostor[(impostor < highest[:, None]) | (chances[:, 1:2] < 0.5)]
        first = _regress(own, chances[:, 0], foreign.astype(np.float64), np.ones(len(foreign)))
        second = _regress(own, chances[:, 0], highest, 1 - chances[:, 1])
        if first is None or second is None:
            return None
        mass = chances.sum(0) + 1
        shares = mass / mass.sum()
        evidence = Evidence(first, second, tuple(shares.tolist()))
        logs = np.stack([first.at(own), second.at(highest), np.zeros(len(own))], 1) + np.log(shares)
        logs -= logs.max(1, keepdims=True)
        odds = np.exp(logs)
        before, chances = chances, odds / odds.sum(1, keepdims=True)
        if np.abs(chances - before).max() < _SETTLED:
            break
    return evidence


def _regress(genuine: Scores, mass: Scores, impostor: Scores, against: Scores) -> Line | None:
    """Logistic regression of weighted scores, both kinds of equal weight; None without a slope."""
    kinds = [(genuine[mass > 0], mass[mass > 0]), (impostor[against > 0], against[against > 0])]
    totals = [float(weights.sum()) for _, weights in kinds]
    if min(totals) <= 0:
        return None
    scores = np.concatenate([scores for scores, _ in kinds])
    weight = np.concatenate([w / total for (_, w), total in zip(kinds, totals, strict=True)])
    target = np.repeat([1 - _DOUBT, _DOUBT], [len(scores) for scores, _ in kinds])
    middle = float(np.average(scores, weights=weight))
    spread = float(np.sqrt(np.average((scores - middle) ** 2, weights=weight)))
    if spread < 1e-6:
        return None
    design = np.stack([(scores - middle) / spread, np.ones_like(scores)], 1)
    slope, offset = _newton(design, target, weight)
    if slope <= 0:
        return None
    return Line(slope / spread, offset - slope * middle / spread)


def _newton(design: Scores, target: Scores, weight: Scores) -> tuple[float, float]:
    """The maximum of the concave log-likelihood, by damped Newton steps."""

    def likelihood(of: Scores) -> float:
        ratio = design @ of
        return float((weight * (target * ratio - np.logaddexp(0, ratio))).sum())

    found = np.zeros(2)
    reached = likelihood(found)
    for _ in range(_NEWTON_STEPS):
        chance = (1 + np.tanh(design @ found / 2)) / 2
        gradient = design.T @ (weight * (target - chance))
        curvature = (design * (weight * chance * (1 - chance))[:, None]).T @ design
        step = np.linalg.solve(curvature + 1e-9 * np.eye(2), gradient)
        while (gained := likelihood(found + step) - reached) < 0 and np.abs(step).max() > 1e-9:
            step /= 2
        if gained <= 1e-12 * abs(reached):
            break
        found, reached = found + step, reached + gained
    return float(found[0]), float(found[1])
