"""From a profile's `detector` section to a detector."""

from __future__ import annotations

from facerec.detection import Detector
from facerec.profile.schema import DetectorSection
from facerec.registry import DETECTORS


def create_detector(section: DetectorSection, *, device: str = "cpu") -> Detector:
    """Import the detector that the section names and build it.

    Args:
        section: the profile's `detector`.
        device: `cpu`, `cuda` or `cuda:1`, for detectors that can choose.

    Raises:
        MissingError: a package or weights file that the detector needs is absent.
        ProfileError: the detector has no such option, or not with that value.
    """
    entry = DETECTORS.get(section.name)
    entry.options(section.options, "detector.options")
    detector: Detector = entry.target.from_section(section, device=device)
    return detector
