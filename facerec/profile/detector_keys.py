"""Which of the profile's detector keys a detector reads."""

from __future__ import annotations

from facerec.profile.schema import DetectorSection
from facerec.registry import DETECTORS

_SHARED = ("min_face", "thresholds", "scale_factor", "max_candidates", "score", "weights")
"""Those that not every detector reads; the others are read by whoever builds it."""


def keys_read(name: str) -> set[str]:
    """Those of the shared keys that a detector reads; all, where it does not say (`reads`)."""
    reads = DETECTORS.fact(name, "reads") if name in DETECTORS else None
    return set(_SHARED if reads is None else reads)


def unread_keys(section: DetectorSection) -> list[str]:
    """Keys that are not at their default, and that the section's detector does not read."""
    plain, reads = DetectorSection(), keys_read(section.name)
    return [
        key for key in _SHARED if key not in reads and getattr(section, key) != getattr(plain, key)
    ]


def with_defaults(section: DetectorSection) -> DetectorSection:
    """The section, with what its detector does not read at its default."""
    plain = DetectorSection()
    return section.model_copy(update={key: getattr(plain, key) for key in unread_keys(section)})


def readers_of(key: str) -> list[str]:
    """The detectors that say that they read a shared key."""
    return [name for name in DETECTORS.names() if key in (DETECTORS.fact(name, "reads") or ())]
