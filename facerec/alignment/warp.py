"""Alignment: least-squares similarity of five landmarks to a template, warps, test-time views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from PIL import Image as Pillow

from facerec.alignment.templates import ARCFACE, ARCFACE_SIZE
from facerec.card import Augment, Template
from facerec.errors import UsageError, require_choice
from facerec.faces import Face, Floats, Image

ChipTemplate = Literal["auto", "model", "arcface", "none"]


@dataclass(frozen=True, slots=True)
class View:
    """A test-time augmentation of a chip: scaled about its centre, then shifted.

    Attributes:
        scale: above 1 zooms in.
        right, down: shifts, as shares of the chip's width and height.
    """

    scale: float = 1.0
    right: float = 0.0
    down: float = 0.0

    def matrix(self, size: tuple[int, int]) -> Floats:
        """`(2, 3) float32`, from a chip of that height and width to its view."""
        height, width = size
        left, top = (1 - self.scale) * (width - 1) / 2, (1 - self.scale) * (height - 1) / 2
        shift = (left + self.right * width, top + self.down * height)
        return np.array([[self.scale, 0, shift[0]], [0, self.scale, shift[1]]], np.float32)

    def template(self, template: Template, size: tuple[int, int]) -> Template:
        """The template that warps a face straight to its view."""
        matrix = self.matrix(size)
        points = np.asarray(template.points) @ matrix[:, :2].T + matrix[:, 2]
        return Template.model_validate({"name": template.name, "points": points.tolist()})


WHOLE = View()
VIEWS = (
    WHOLE,
    View(right=0.02),
    View(right=-0.02),
    View(down=0.02),
    View(down=-0.02),
    View(scale=0.95),
    View(scale=1.05),
)
"""Averaged by `augment: views`; chosen on LFW's folds 1-4. Other views need another name, as the
card's fingerprint holds the name alone."""


def views_of(augment: Augment) -> tuple[View, ...]:
    """The views that a card's `augment` averages; flips are the embedder's."""
    return VIEWS if augment == "views" else (WHOLE,)


def similarity_to_template(landmarks: Floats, template: Template) -> Floats:
    """Least-squares similarity from landmarks to the template's points.

    With points as complex numbers the map is `a z + b`; `a` minimises the summed squared error
    after centring (Umeyama 1991, without reflection).

    Args:
        landmarks: `(5, 2) float32` pixels.

    Returns:
        `(2, 3) float32` affine matrix. All landmarks in one point give the identity's scale.
    """
    source = landmarks.astype(np.float64) @ np.array([1, 1j])
    target = np.asarray(template.points) @ np.array([1, 1j])
    centred = source - source.mean()
    spread = np.vdot(centred, centred).real
    a = np.vdot(centred, target - target.mean()) / spread if spread > 0 else 1.0 + 0j
    b = target.mean() - a * source.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]], np.float32)


def enlargement(landmarks: Floats, template: Template) -> float:
    """Scale from image to chip; above 1 the chip is upsampled."""
    matrix = similarity_to_template(landmarks, template)
    return float(np.hypot(matrix[0, 0], matrix[1, 0]))


def warp_to_template(
    image: Image, faces: Sequence[Face], template: Template, size: tuple[int, int]
) -> Image:
    """One chip per face; pixels outside the image are black.

    Args:
        size: height and width of the chips.

    Returns:
        `(N, H, W, 3) uint8` RGB.
    """
    chips = np.empty((len(faces), *size, 3), np.uint8)
    for chip, face in zip(chips, faces, strict=True):
        matrix = similarity_to_template(face.landmarks, template)
        warp(image, matrix, size, out=chip)
    return chips


def warp(image: Image, matrix: Floats, size: tuple[int, int], out: Image | None = None) -> Image:
    """Bilinear warp by a similarity. A source region of more than twice the chip's resolution is
    first downscaled by area, or it would alias.

    Args:
        matrix: `(2, 3) float32`, image to chip.
        size: height and width of the chip.
        out: `(H, W, 3) uint8` written in place.
    """
    shrink = int(1 / max(float(np.hypot(matrix[0, 0], matrix[1, 0])), 1e-6))
    if shrink >= 2:
        image, matrix = _shrink_region(image, matrix, size, shrink)
    return cv2.warpAffine(image, matrix, size[::-1], dst=out, flags=cv2.INTER_LINEAR)  # type: ignore[return-value]


def _shrink_region(
    image: Image, matrix: Floats, size: tuple[int, int], shrink: int
) -> tuple[Image, Floats]:
    inverse = cv2.invertAffineTransform(matrix)
    height, width = size
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]]) @ inverse.T
    limits = np.array([image.shape[1], image.shape[0]])
    low = np.clip(np.floor(corners.min(0)) - shrink, 0, limits).astype(int)
    high = np.clip(np.ceil(corners.max(0)) + shrink, 0, limits).astype(int)
    shape = (high - low) // shrink
    if shape.min() < 1:
        return image, matrix
    high = low + shape * shrink
    region = image[low[1] : high[1], low[0] : high[0]]
    small = cv2.resize(region, tuple(int(side) for side in shape), interpolation=cv2.INTER_AREA)
    # Pixel centre c of the small image is the centre of its block of the original.
    centre = low + (shrink - 1) / 2
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ centre.astype(np.float32)
    moved[:, :2] *= shrink
    return small, moved  # type: ignore[return-value]


def crop_box(image: Image, face: Face, size: int, margin: float) -> Image:
    """The square around a face's box with a margin, resized, turned as the face was; black outside
    the image.

    Args:
        size: side of the chip in pixels.
        margin: added around the box on every side, as a share of its longer side.

    Returns:
        `(size, size, 3) uint8` RGB.
    """
    side = max(face.size * (1 + 2 * margin), 1.0)
    centre = (face.box[:2] + face.box[2:]) / 2
    scale = size / side
    turn = 1j ** (face.turn // 90) * scale
    rotation = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    shift = size / 2 - rotation @ centre
    matrix = np.concatenate([rotation, shift[:, None]], 1).astype(np.float32)
    return warp(image, matrix, (size, size))


def crop_in_pixels(image: Image, face: Face, size: tuple[int, int], margin: float) -> Image:
    """The face's box with a margin in pixels, cut off at the image's edges and stretched to `size`.

    As facenet (Sandberg 2016) and egcode/facerec cut the faces they train on: half of the margin
    on each side, whole pixels, Pillow's bilinear resizing.

    Args:
        size: height and width of the chip.
        margin: of width and of height, in pixels of the image.

    Returns:
        `(H, W, 3) uint8` RGB.
    """
    height, width = image.shape[:2]
    limits = np.array([width, height])
    low = np.clip(face.box[:2] - margin / 2, 0, limits - 1).astype(int)
    high = np.clip(face.box[2:] + margin / 2, low + 1, limits).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    resized = Pillow.fromarray(part).resize(size[::-1], Pillow.Resampling.BILINEAR)
    return np.asarray(resized, np.uint8)


def adapt_chip(
    chip: Image, template: Template, size: tuple[int, int], given: ChipTemplate = "auto"
) -> Image:
    """Bring an aligned chip to a model's template without detection.

    Args:
        chip: of the model's size, or a square of any.
        template, size: the model's.
        given: the template that the chip lies on, scaled to its size: `arcface`, `model`, or
            `none` for a crop of a box. `auto`: the model's at the model's size, ArcFace's at 112
            pixels, none at others.

    Raises:
        UsageError: the chip is neither square nor of the model's size, or has no pixels; or there
            is no such `given`.
    """
    require_choice("template of aligned images", given, get_args(ChipTemplate))
    side = chip.shape[0]
    if chip.shape[:2] != size and chip.shape[1] != side:
        raise UsageError(
            f"an aligned image of {chip.shape[1]}x{side}, but the model takes "
            f"{size[1]}x{size[0]} or a square; leave out `aligned` to align it"
        )
    if not chip.size:
        raise UsageError("an aligned image has no pixels")
    if given == "auto" and chip.shape[:2] != size and side == ARCFACE_SIZE:
        given = "arcface"
    if given == "arcface":
        points = np.asarray(ARCFACE.points, np.float32) * (side / ARCFACE_SIZE)
        return warp(chip, similarity_to_template(points, template), size)
    if chip.shape[:2] == size:
        return chip
    interpolation = cv2.INTER_AREA if side > size[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(chip, size[::-1], interpolation=interpolation), np.uint8)


def central_face(image: Image, faces: Sequence[Face]) -> Face:
    """The face with the largest box area minus twice the squared distance of its centre from the
    image's (FaceNet's `align_dataset_mtcnn.py`, Sandberg 2016)."""
    centre = np.array([image.shape[1], image.shape[0]]) / 2

    def centrality(face: Face) -> float:
        sides = face.box[2:] - face.box[:2]
        offset = (face.box[:2] + face.box[2:]) / 2 - centre
        return float(sides[0] * sides[1] - 2 * offset @ offset)

    return max(faces, key=centrality)


def only_central_face(image: Image, faces: Sequence[Face]) -> list[Face]:
    """`central_face` as a `select` of the engine."""
    return [central_face(image, faces)]
