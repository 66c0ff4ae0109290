"""Error versus discard: what is left of the errors when the faces of least quality are left out.

Grother & Tabassi 2007 (PAMI 29(4)): of the genuine pairs, as the errors are theirs; pairs of
strangers count for the threshold alone, which stays what it was on all of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from facerec.evaluation.curve import Flags
from facerec.evaluation.metrics import supported_fars, tar_at_far
from facerec.evaluation.protocols.pairs import PairProtocol
from facerec.evaluation.verification import Verification
from facerec.faces import Floats

SHARES = tuple(percent / 100 for percent in range(31))
"""Shares of the genuine pairs discarded."""
TOLD = (0.0, 0.05, 0.1, 0.2)
"""Those of them that a record tells."""

Reals = NDArray[np.float64]


class DiscardCurve(NamedTuple):
    """False-reject rates by the share of genuine pairs discarded.

    Attributes:
        far: false-accept rate of all pairs at the threshold.
        rejects: `(31,)` false-reject rate of the genuine pairs kept, at `SHARES`.
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
        None where no genuine pair's quality is known, or there are too few pairs of strangers.
    """
    pairs = np.min(quality[protocol.pairs], axis=1)
    known = np.isfinite(pairs) & result.same
    fars = [far for far in supported_fars(result.curve.impostor_total) if far >= 1e-3]
    if not known.any() or not fars:
        return None
    far = min(fars)
    threshold = tar_at_far(result.curve, far).threshold
    return DiscardCurve(far, _rejects(result.similarities[known] < threshold, pairs[known]))


def _rejects(rejected: Flags, quality: Floats) -> Reals:
    # Stable, so that pairs of equal quality are discarded in the protocol's order.
    worst_first = rejected[np.argsort(quality, kind="stable")]
    kept = (worst_first[round(share * len(worst_first)) :] for share in SHARES)
    return np.array([np.mean(one) for one in kept])
