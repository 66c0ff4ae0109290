"""From a profile's `detector` section to a detector."""

from __future__ import annotations

from pathlib import Path

from facerec.detection import Detector
from facerec.errors import MissingError, ProfileError
from facerec.profile.detector_keys import readers_of, unread_keys
from facerec.profile.schema import DetectorSection
from facerec.registry import DETECTORS

OWN_LANDMARKS = "own"
MTCNN_POINTS = "mtcnn"


def create_detector(section: DetectorSection, *, device: str = "cpu") -> Detector:
    """Import the detector that the section names and build it.

    Args:
        section: the profile's `detector`.
        device: `cpu`, `cuda` or `cuda:1`, for detectors that can choose.

    Raises:
        MissingError: a package or weights file that the detector needs is absent.
        ProfileError: the detector has no such option, or not with that value; or it does not read a
            key that is set.
    """
    entry = DETECTORS.get(section.name)
    for key in unread_keys(section):
        others = ", ".join(readers_of(key))
        raise ProfileError(f"detector.{key}: {section.name} does not read it; it is of {others}")
    entry.options(section.options, "detector.options")
    detector: Detector = entry.target.from_section(section, device=device)
    if landmarks_of(section) == OWN_LANDMARKS:
        return detector
    from facerec.detection.mtcnn.landmarks import MTCNNLandmarks
    from facerec.detection.mtcnn.weights import load_mtcnn_weights

    return MTCNNLandmarks(detector, load_mtcnn_weights())


def weights_of(section: DetectorSection) -> Path | None:
    """The detector's weights file: `detector.weights`, or else the downloaded one, or else a pip
    package's; None where it takes none.

    Raises:
        MissingError: there is none of them; says how one gets there.
    """
    from facerec.weights.catalog import PackageFile, read_catalogue
    from facerec.weights.downloads import find_download

    name, packaged = (DETECTORS.fact(section.name, fact) for fact in ("weights", "packaged"))
    if section.weights is not None or name is None:
        return section.weights
    if (downloaded := find_download(name)) is not None:
        return downloaded
    remedy = f"facerec download weights {name}, or set detector.weights"
    if packaged is None:
        raise MissingError(f"the detector {section.name} needs its weights file; try: {remedy}")
    file = read_catalogue().weights[packaged].file
    assert isinstance(file, PackageFile)
    try:
        return file.find_sound()
    except MissingError as error:
        raise MissingError(f"{error}, or: {remedy}") from error


def points_of(section: DetectorSection) -> str:
    """By whose five points faces are aligned: `mtcnn`, or the detector that places its own."""
    if DETECTORS.fact(section.name, "cascade"):
        return MTCNN_POINTS
    return section.name if landmarks_of(section) == OWN_LANDMARKS else MTCNN_POINTS


def landmarks_of(section: DetectorSection) -> str:
    """Whose landmarks the faces of a section's detector carry: `own`, or `mtcnn` for those of
    MTCNN's third network."""
    if DETECTORS.fact(section.name, "cascade"):
        return OWN_LANDMARKS
    return section.landmarks or DETECTORS.fact(section.name, "landmarks") or OWN_LANDMARKS
