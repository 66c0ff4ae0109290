"""Error versus discard: what is left of the errors when the faces of least quality are left out.

Grother & Tabassi 2007 (PAMI 29(4)). The threshold stays what it was on all pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from facerec.evaluation.curve import Flags, Scores
from facerec.evaluation.metrics import supported_fars, tar_at_far
from facerec.evaluation.protocols.pairs import PairProtocol
from facerec.evaluation.verification import Verification
from facerec.faces import Floats

SHARES = tuple(percent / 100 for percent in range(31))
"""Shares of the pairs discarded."""
TOLD = (0.0, 0.05, 0.1, 0.2)
"""Those of them that a record tells."""

Reals = NDArray[np.float64]


class DiscardCurve(NamedTuple):
    """False-reject rates by the share of pairs discarded.

    Attributes:
        far: false-accept rate of all pairs at the threshold.
        rejects: `(31,)` false-reject rate of the genuine pairs kept, at `SHARES`; NaN for none.
    """

    far: float
    rejects: Reals

    def told(self) -> dict[str, float]:
        """Percent at `TOLD`, as a JSON object."""
        return {
            f"{share:g}": round(100 * float(self.rejects[SHARES.index(share)]), 4) for share in TOLD
        }


def discard_curve(
    result: Verification, protocol: PairProtocol, quality: Floats
) -> DiscardCurve | None:
    """The curve of a verification, at its lowest supported false-accept rate of 1e-3 or more.

    Args:
        quality: `(I,) float32` of the protocol's images; NaN for those without a face, whose pairs
            are left out.

    Returns:
        None where no quality is known, or there are too few pairs of strangers.
    """
    pairs = np.min(quality[protocol.pairs], axis=1)
    known = np.isfinite(pairs)
    fars = [far for far in supported_fars(result.curve.impostor_total) if far >= 1e-3]
    if not known.any() or not fars:
        return None
    far = min(fars)
    threshold = tar_at_far(result.curve, far).threshold
    rejects = _rejects(result.similarities[known], result.same[known], pairs[known], threshold)
    return DiscardCurve(far, rejects)


def _rejects(similarities: Scores, same: Flags, quality: Floats, threshold: float) -> Reals:
    # Stable, so that pairs of equal quality are discarded in the protocol's order.
    order = np.argsort(quality, kind="stable")
    genuine = same[order]
    rejected = genuine & (similarities[order] < threshold)
    rates = np.full(len(SHARES), np.nan)
    for number, share in enumerate(SHARES):
        kept = slice(round(share * len(order)), None)
        if genuine[kept].any():
            rates[number] = rejected[kept].sum() / genuine[kept].sum()
    return rates
