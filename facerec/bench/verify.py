"""What a setting for speed costs in accuracy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from facerec.archives import locate
from facerec.engine import Engine
from facerec.evaluation.protocols.opening import open_protocol
from facerec.evaluation.run import Setting, embed_set
from facerec.evaluation.verification import percent, verify
from facerec.profile import Profile

_ALLOWED = {"int8": 0.1}
_ALLOWED_ELSE = 0.05
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Verdict:
    """LFW accuracy in percent, in fp32 and with the setting.

    Attributes:
        arithmetic: of the setting; see `facerec.models.Embedder`.
        allowed: percentage points that it may cost.
    """

    arithmetic: str
    before: float
    after: float
    allowed: float

    @property
    def accepted(self) -> bool:
        """Whether it costs no more than is allowed."""
        return self.before - self.after <= self.allowed + _ROUNDING


def verify_setting(
    profile: Profile, data: Path, pairs: Path | None, observe: Callable[[], None]
) -> Verdict:
    """Measure LFW with the profile's `runtime` and with PyTorch or the file's own runtime in fp32.

    Args:
        data, pairs: as `facerec evaluate lfw` takes them.
        observe: called twice an image.

    Raises:
        MissingError: weights, data, a package or the device is missing.
        UsageError: the data has another form.
    """
    plain = profile.runtime.model_copy(update={"precision": "fp32", "engine": None})
    protocol, source = open_protocol("lfw", data, pairs)
    files = locate(source, protocol.keys)
    accuracies = []
    for runtime in (plain, profile.runtime):
        loaded = profile.model_copy(update={"runtime": runtime})
        engine = Engine.from_profile(loaded)
        setting = Setting(loaded, aligned=False, use_cache=True, fail_on_missing=False)
        embedded = embed_set(engine, source, protocol.keys, files, setting, observe)
        accuracies.append(percent(verify(embedded.vectors, protocol).accuracy))
    before, after = accuracies
    precision = engine.arithmetic.rpartition(" ")[2]
    return Verdict(engine.arithmetic, before, after, _ALLOWED.get(precision, _ALLOWED_ELSE))
