"""Quality of a face: how well it will be told from others, from its pixels, landmarks and norm.

The product of four aspects in [0, 1]: sharpness, size, pose and exposure; and of the norm where the
model's card says what that means, see `norm_quality`. The weights were fitted
on LFW's folds 1-5, plain and degraded, by `python -m tests.benchmarks.quality`: quality halves
with every standard deviation of genuine pairs' cosines (0.017 with dlib's network) that a defect
costs. `docs/evaluate.md` shows how much discarding the worst lowers the error on the other folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from facerec.alignment.templates import arcface_template
from facerec.alignment.warp import enlargement, similarity_to_template, warp, warp_to_template
from facerec.card import ModelCard, Template
from facerec.faces import Face, Floats, Image

SIDE = 64
"""Side of the chips that quality is measured on, in pixels."""
_TEMPLATE = arcface_template(SIDE)
_FULL_SIZE = arcface_template(112)
"""The scale from which on more pixels no longer help."""
_INNER = slice(8, 60), slice(10, 54)
"""Rows and columns of a chip that show the face rather than its surroundings."""
_BLACK, _WHITE = 8, 247
_SHARP, _SOFTNESS, _TURNED, _CLIPPED, _CONTRAST = -1.3, 0.2, 0.2, 0.05, 2.2
"""Where sharpness, yaw, the clipped share and contrast begin to cost; the first with a soft
knee, so that sharp faces keep an order."""
_HALVINGS = {"blur": 2.1, "small": 0.44, "turned": 6.3, "clipped": 2.3, "flat": 0.6}
"""Halvings of quality per unit of each defect."""
DEFECTS = tuple(_HALVINGS)
"""Names of what costs quality."""


class Aspects(NamedTuple):
    """What quality is the product of, each `(N,) float32` in [0, 1].

    Attributes:
        sharpness: detail as against contrast.
        size: of the face in the photo, in pixels; 1 from 112 pixels of ArcFace's crop on.
        pose: by the yaw; 1 where no landmarks are known.
        exposure: neither clipped nor flat.
    """

    sharpness: Floats
    size: Floats
    pose: Floats
    exposure: Floats


def face_quality(chips: Image, faces: Sequence[Face]) -> Floats:
    """Quality of each face, `(N,) float32` in [0, 1]; see the module.

    Args:
        chips: `(N, 64, 64, 3) uint8` RGB, of `quality_chips`.
        faces: the same N faces, in pixels of the original photos.
    """
    quality: Floats = np.prod(face_aspects(chips, faces), axis=0)
    return quality


def face_aspects(chips: Image, faces: Sequence[Face]) -> Aspects:
    """The aspects of each face's quality; arguments as of `face_quality`."""
    costs = measure_defects(chips, faces) * np.array(list(_HALVINGS.values()))
    sharpness, size, pose, clipped, contrast = np.exp2(-costs).T.astype(np.float32)
    return Aspects(sharpness, size, pose, clipped * contrast)


def measure_defects(chips: Image, faces: Sequence[Face]) -> NDArray[np.float64]:
    """What costs quality, `(N, 5) float64` of at least 0, in the order of `DEFECTS`; arguments as
    of `face_quality`."""
    pixels = np.array([_measure(chip) for chip in chips], np.float64).reshape(-1, 3)
    detail, contrast, clipped = pixels.T
    places = np.array([_place(face) for face in faces], np.float64).reshape(-1, 2)
    # Unknown landmarks: an aligned image, of which size and pose cost nothing.
    scale, yaws = np.where(np.isnan(places), 0, places).T
    blur = _SOFTNESS * np.logaddexp(0, (_SHARP - detail) / _SOFTNESS)
    hinges = (yaws - _TURNED, clipped - _CLIPPED, _CONTRAST - contrast)
    turned, lost, flat = (np.maximum(0, hinge) for hinge in hinges)
    return np.stack([blur, np.maximum(0, scale), turned**2, lost, flat], axis=1)


def norm_quality(norms: Floats, card: ModelCard) -> Floats:
    """What the norms of vectors tell of their faces' quality, `(N,) float32` in (0, 1].

    With MagFace (Meng et al. 2021, section 3.2) and AdaFace (Kim et al. 2022, section 3.3) the
    norm of a vector before normalisation rises with the quality of its face; its scale differs
    from model to model. So it is told by two quantiles of the model's own validation faces:
    `2^-max(0, (median - norm) / (median - q05))`: 1 from the median on, halved at the 5 % quantile
    and with every such distance below. 1 where the card has no such quantiles.

    Args:
        norms: `(N,) float32`.
        card: the model's.
    """
    usual = card.norms.usual if card.norms is not None else None
    if usual is None:
        return np.ones(len(norms), np.float32)
    low, median = usual
    factor: Floats = np.exp2(-np.maximum(0, (median - norms) / (median - low)))
    return factor.astype(np.float32)


def usual_norms(norms: Floats) -> tuple[float, float] | None:
    """The quantiles of `facerec.card.Norms.usual`; NaN are left out. None where they do not differ,
    as of a file that gives unit vectors."""
    known = norms[np.isfinite(norms)].astype(np.float64)
    if not len(known):
        return None
    low, median = (float(f"{value:.5g}") for value in np.quantile(known, (0.05, 0.5)))
    # A thousandth: the rounding of vectors that are all of one length.
    return (low, median) if 0 < low < 0.999 * median else None


def quality_chips(found: Sequence[tuple[Image, Face]]) -> Image:
    """`(N, 64, 64, 3) uint8` RGB: faces, each given with the image it was found in, warped to
    ArcFace's template."""
    chips = np.empty((len(found), SIDE, SIDE, 3), np.uint8)
    for out, (image, face) in zip(chips, found, strict=True):
        out[:] = warp_to_template(image, [face], _TEMPLATE, (SIDE, SIDE))[0]
    return chips


def adapt_chips(chips: Image, template: Template) -> Image:
    """Chips `(N, H, W, 3) uint8` on another template as `quality_chips` gives them."""
    matrix = similarity_to_template(np.asarray(template.points, np.float32), _TEMPLATE)
    adapted = np.empty((len(chips), SIDE, SIDE, 3), np.uint8)
    for chip, out in zip(chips, adapted, strict=True):
        warp(chip, matrix, (SIDE, SIDE), out=out)
    return adapted


def upsampling(landmarks: Floats) -> float:
    """Scale from a photo to a face's chip of `quality_chips`; above 1 it is upsampled."""
    return enlargement(landmarks, _TEMPLATE)


def yaw(landmarks: Floats) -> float:
    """Yaw of the head: the nose's offset from the eyes' midpoint, along the line through them, over
    their distance. 0 is frontal; at 0.5 the nose is in front of an eye; infinite if the eyes
    coincide.

    Args:
        landmarks: `(5, 2) float32` pixels.
    """
    left, right, nose = (landmarks[point].astype(np.float64) for point in range(3))
    line = right - left
    length = float(line @ line)
    return abs(float((nose - (left + right) / 2) @ line)) / length if length > 0 else np.inf


def _measure(chip: Image) -> tuple[float, float, float]:
    """Logarithms of detail as against contrast and of contrast, and the clipped share."""
    grey = cv2.cvtColor(chip, cv2.COLOR_RGB2GRAY)
    face = grey[_INNER]
    _, spread = cv2.meanStdDev(face)
    _, edges = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S)[_INNER])
    middle = cv2.countNonZero(cv2.inRange(face, _BLACK, _WHITE))
    contrast, detail = float(spread[0, 0]), float(edges[0, 0])
    return (
        np.log((detail + 0.5) / (contrast + 2)),
        np.log(contrast + 1),
        1 - middle / face.size,
    )


def _place(face: Face) -> tuple[float, float]:
    """Logarithm of the scale from photo to full size, and the yaw; NaN without landmarks."""
    if not np.isfinite(face.landmarks).all():
        return np.nan, np.nan
    return float(np.log(enlargement(face.landmarks, _FULL_SIZE))), yaw(face.landmarks)
