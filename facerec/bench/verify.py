"""Accuracy guard: what a faster setting (bf16, int8, another engine) costs on LFW."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from facerec.engine.engine import Engine
from facerec.errors import UsageError
from facerec.evaluation.folds import accuracy_at
from facerec.evaluation.protocols.pairs import open_protocol
from facerec.evaluation.run import Setting, embed_set
from facerec.evaluation.verification import percent, verify
from facerec.imaging.archives import locate
from facerec.profile.loading import Profile

_ALLOWED, _ALLOWED_IN_INT8 = 0.05, 0.1
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Verdict:
    """LFW's accuracy in percent, in fp32 and with the setting.

    The cost is read at fixed thresholds, as cards and galleries use them. A threshold chosen anew
    on nine folds jumps between equally good values, which moves the tenth fold's accuracy by more
    than any arithmetic does.

    Attributes:
        arithmetic: of the setting; see `facerec.models.Embedder`.
        before: k-fold accuracy in fp32.
        after: with the setting, at each fold's threshold from fp32.
        alone: k-fold accuracy with the setting, at thresholds of its own.
        allowed: percentage points that `after` may be below `before`.
    """

    arithmetic: str
    before: float
    after: float
    alone: float
    allowed: float

    @property
    def accepted(self) -> bool:
        """Whether the cost is within the allowance."""
        return self.before - self.after <= self.allowed + _ROUNDING


def verify_setting(
    profile: Profile, data: Path, pairs: Path | None, advance: Callable[[], None]
) -> Verdict:
    """Measure LFW with the profile's `runtime` and with PyTorch or the file's own runtime in fp32.

    Args:
        data, pairs: as `facerec evaluate lfw` takes them.
        advance: called once per image and setting.

    Raises:
        MissingError: weights, data, a package or the device is missing.
        UsageError: the data has another form, or has no folds.
    """
    plain = profile.runtime.model_copy(update={"precision": "fp32", "engine": None})
    protocol, source = open_protocol("lfw", data, pairs)
    files = locate(source, protocol.keys)
    results = []
    for runtime in (plain, profile.runtime):
        loaded = profile.model_copy(update={"runtime": runtime})
        engine = Engine.from_profile(loaded)
        setting = Setting(loaded, aligned=False, use_cache=True, fail_on_missing=False)
        embedded = embed_set(
            engine, source, protocol.keys, files, setting, advance, select=protocol.select
        )
        results.append(verify(embedded.vectors, protocol))
    exact, rounded = results
    if exact.plain is None:
        raise UsageError(f"{protocol.name}: to verify a setting its pairs must have folds")
    after = accuracy_at(exact.plain.thresholds, rounded.similarities, protocol.same, protocol.folds)
    allowed = _ALLOWED_IN_INT8 if profile.runtime.precision == "int8" else _ALLOWED
    return Verdict(
        engine.arithmetic, percent(exact.accuracy), percent(after), percent(rounded.accuracy),
        allowed,
    )  # fmt: skip
