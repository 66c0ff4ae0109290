"""Is one model better than another on the same pairs?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facerec.evaluation.curve import Flags


@dataclass(frozen=True, slots=True)
class McNemar:
    """Paired comparison of two models' decisions.

    Attributes:
        only_first: pairs that only the first model decides rightly.
        only_second: pairs that only the second model decides rightly.
        p_value: two-sided, exact.
    """

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: Flags, second: Flags) -> McNemar:
    """McNemar's test in its exact binomial form (McNemar 1947; Fay 2010).

    Args:
        first, second: `(N,) bool`, whether each model decided each pair rightly.
    """
    # scipy.stats takes half a second to import, which only a comparison should cost.
    from scipy.stats import binomtest

    only_first = int(np.count_nonzero(first & ~second))
    only_second = int(np.count_nonzero(second & ~first))
    discordant = only_first + only_second
    p_value = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return McNemar(only_first, only_second, p_value)
