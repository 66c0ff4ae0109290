"""What every benchmark tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a benchmark.

    Attributes:
        part: what was timed.
        milliseconds: for one unit.
        unit: such as `face`, `picture`, `query`.
        share: of the time of the whole, or of the machine's peak, 0 to 1; None: not known.
        of: what it is a share of.
    """

    part: str
    milliseconds: float
    unit: str
    share: float | None = None
    of: str = ""

    @property
    def per_second(self) -> float:
        """Units a second."""
        return 1000 / self.milliseconds

    def to_record(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "part": self.part,
            "milliseconds": round(self.milliseconds, 4),
            "per_second": round(self.per_second, 2),
            "unit": self.unit,
            "share": None if self.share is None else round(self.share, 4),
            "of": self.of,
        }
