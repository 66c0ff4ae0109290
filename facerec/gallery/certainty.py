"""How certain a name is: probabilities, and thresholds for a gallery's size, from a card's cohort.

A stranger is named falsely if the most similar of all enrolled people is accepted, so that the
false-positive identification rate (FPIR; Grother & Ngan 2014, NISTIR 8009) grows with the gallery.
A stranger's photo reaches a cosine with the mean vector of `k` photos at the rate `p_k`. Strangers
differ: some look like many people. With rates spread over them by a gamma distribution of squared
coefficient of variation `v`, nobody of those enrolled is met with probability `(1 + v r)^(-1/v)`
(negative binomial), where `r` is the sum of `((1 - p_k)^-v - 1) / v`, about `p_k`, over them: one
person alone is met at the rate `p_k`.

Two people enrolled may look alike, as twins do, or one person under two names. Then the second most
similar competes with the most similar: with odds `a` and `b` against a stranger the probabilities
are `a`, `b` and 1 over `1 + a + b` (Bayes).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facerec.card import Cohort

_PRIOR = 0.5
"""Probability that a face is of somebody enrolled, before it is compared."""
_STEPS = 60
"""Bisections of a threshold."""
_LEAST_RIGHT, _LEAST_FALSE = 1e-12, 1e-9
"""Probability masses added to each interval, so that an empty one says that nobody is known."""

Reals = NDArray[np.float64]


class Certainty:
    """What a cosine with the most similar person of a gallery means.

    Args:
        cohort: of the model's card.
        enrolled: number of people by the number of photos that they are enrolled with; of people
            compared photo by photo, the number of photos under 1. Nobody counts as one person of
            one photo, as a stranger is compared with somebody at least.
    """

    def __init__(self, cohort: Cohort, enrolled: Mapping[int, int]) -> None:
        self._cosines = np.array(cohort.cosines)
        self._log_spread = np.log(cohort.spread)
        if not (people := sum(enrolled.values())):
            people, enrolled = 1, {1: 1}
        weights = dict.fromkeys(cohort.impostor, 0)
        for photos, count in enrolled.items():
            # Rates level off: beyond the cohort's largest number its own stand.
            weights[max(size for size in weights if size <= max(photos, 1))] += count
        met = sum(
            weight * _exposure(np.array(cohort.impostor[size]), np.array(cohort.spread))
            for size, weight in weights.items()
        )
        found = sum(weight * np.array(cohort.genuine[size]) for size, weight in weights.items())
        self._log_met = np.log(np.maximum(met, np.finfo(float).tiny))
        self._found: Reals = np.asarray(found) / people
        self._log_odds, self._log_odds_to_strangers = self._odds(False), self._odds(True)

    def false_name_rate(self, cosine: ArrayLike) -> Reals:
        """FPIR, `(N,) float64`, at cosine thresholds `(N,)`."""
        met = np.exp(self._along(cosine, self._log_met))
        spread = np.exp(self._along(cosine, self._log_spread))
        return np.asarray(-np.expm1(-np.log1p(spread * met) / spread))

    def threshold(self, rate: float) -> float:
        """The cosine at and above which a share `rate` of strangers is named; above 1: none may
        be named at that rate."""
        low, high = -1.0, 2.0
        for _ in range(_STEPS):
            middle = (low + high) / 2
            above = self.false_name_rate([middle])[0] > rate
            low, high = (middle, high) if above else (low, middle)
        return high

    def probability(self, cosine: ArrayLike, second: ArrayLike | None = None) -> Reals:
        """Probability `(N,) float64` that the most similar person, at a cosine `(N,)`, is the
        right one, for faces of which half are of people enrolled.

        Args:
            second: `(N,)` cosines of the second most similar person, -1 where there is none; None:
                the average over galleries.
        """
        if second is None:
            return np.asarray(1 / (1 + np.exp(-self._at(cosine, self._log_odds))))
        first, other = (self._at(each, self._log_odds_to_strangers) for each in (cosine, second))
        return np.asarray(1 / (1 + np.exp(-first) * (1 + np.exp(other))))

    def _at(self, cosine: ArrayLike, log_odds: Reals) -> Reals:
        return np.asarray(np.interp(np.asarray(cosine, float), self._middles, log_odds))

    @property
    def _middles(self) -> Reals:
        """`(G + 1,)` middles of the intervals that the cosines part."""
        first, last = np.diff(self._cosines)[[0, -1]]
        edges = np.concatenate(
            [[self._cosines[0] - first], self._cosines, [self._cosines[-1] + last]]
        )
        return np.asarray((edges[:-1] + edges[1:]) / 2)

    def _odds(self, to_strangers: bool) -> Reals:
        """`(G + 1,)` log-odds of the right name in each interval of cosines: isotonic regression
        of the masses there, by pooling adjacent violators. Against a stranger, or also against
        a known face whose own person is farther."""
        rate = np.concatenate([[1.0], self.false_name_rate(self._cosines), [0.0]])
        found = np.concatenate([[1.0], self._found, [0.0]])
        false, right = np.maximum(-np.diff(rate), 0), np.maximum(-np.diff(found), 0)
        alone = (found[:-1] + found[1:]) / 2
        unmet = 1 - (rate[:-1] + rate[1:]) / 2
        # A known face's own person is nearest, or another one is and the own is farther.
        good = _PRIOR * right * unmet + _LEAST_RIGHT
        farther = 0.0 if to_strangers else _PRIOR * (1 - alone)
        bad = false * (1 - _PRIOR + farther) + _LEAST_FALSE
        blocks: list[list[float]] = []
        for one, other in zip(good.tolist(), bad.tolist(), strict=True):
            blocks.append([one, other, 1])
            while len(blocks) > 1 and _odds_of(blocks[-2]) >= _odds_of(blocks[-1]):
                last = blocks.pop()
                blocks[-1] = [sum(parts) for parts in zip(blocks[-1], last, strict=True)]
        odds = [np.log(_odds_of(block)) for block in blocks]
        return np.repeat(odds, [int(count) for *_, count in blocks])

    def _along(self, cosine: ArrayLike, values: Reals) -> Reals:
        """Values at cosines, linear between the cohort's and beyond its last."""
        asked = np.asarray(cosine, float)
        slope = (values[-1] - values[-2]) / (self._cosines[-1] - self._cosines[-2])
        beyond = np.maximum(asked - self._cosines[-1], 0)
        return np.asarray(np.interp(asked, self._cosines, values) + slope * beyond)


def _exposure(rates: Reals, spread: Reals) -> Reals:
    """What a person met at these rates adds to `r`."""
    met = np.minimum(rates, 1 - 1e-9)
    return np.asarray(np.expm1(-spread * np.log1p(-met)) / spread)


def _odds_of(block: list[float]) -> float:
    return block[0] / block[1]
