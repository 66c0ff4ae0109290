"""From a profile's `detector` section to a detector."""

from __future__ import annotations

import difflib

from pydantic import BaseModel, ValidationError

from facerec.detection import Detector
from facerec.errors import ProfileError
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
    _check_options(section, entry.facts.get("options"))
    detector: Detector = entry.target.from_section(section, device=device)
    return detector


def _check_options(section: DetectorSection, model: type[BaseModel] | None) -> None:
    if model is None and section.options:
        raise ProfileError(f"detector.options: the detector {section.name} has none")
    if model is None:
        return
    for key in section.options:
        if key not in model.model_fields:
            near = difflib.get_close_matches(key, model.model_fields, 1)
            known = f"did you mean {near[0]}?" if near else f"there are {_names(model)}"
            raise ProfileError(f"detector.options: {section.name} has no option {key}; {known}")
    try:
        model.model_validate(section.options)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        problem = first["msg"][0].lower() + first["msg"][1:]
        raise ProfileError(f"detector.options.{key}: {problem}, not {first['input']!r}") from error


def _names(model: type[BaseModel]) -> str:
    return ", ".join(model.model_fields)
