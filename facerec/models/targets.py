"""What an export target offers, told before anything is loaded."""

from __future__ import annotations

from facerec.errors import UsageError
from facerec.registry import EXPORTS


def check_target(to: str, precision: str, *, normalise: bool) -> None:
    """Refuse what a target does not write.

    Args:
        to: a name of `EXPORTS`.
        precision: of the file's weights.
        normalise: put the preprocessing into the graph.

    Raises:
        UsageError: the target has no such precision, or no place for preprocessing.
    """
    precisions = EXPORTS.fact(to, "precisions")
    if precision not in precisions:
        raise UsageError(f"--to {to} writes {', '.join(precisions)}, not --precision {precision}")
    if normalise and not EXPORTS.fact(to, "normalises"):
        raise UsageError(f"--to {to} does not take --normalise")
