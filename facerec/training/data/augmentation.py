"""Augmentation: flip, zoom, AdaFace's crop, low resolution and photometric, grey and blur."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from facerec.alignment.templates import ARCFACE_SIZE
from facerec.faces import Floats, Image

_INTERPOLATIONS = (
    cv2.INTER_NEAREST,
    cv2.INTER_LINEAR,
    cv2.INTER_AREA,
    cv2.INTER_CUBIC,
    cv2.INTER_LANCZOS4,
)
_SIGMA = (0.1, 2.0)

# Rec. 601 luma.
_GREY: Floats = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Probabilities in [0, 1].

    `crop`, `low_resolution` and `photometric` are AdaFace's (Kim et al. 2022, section 4.1: 0.2),
    `grey` and `blur` torchvision's `RandomGrayscale` and `GaussianBlur`.

    Attributes:
        flip: horizontally.
        zoom: not a probability: a random crop of at least this share of the area is always resized
            to the whole chip; 1 switches it off.
        crop: all but a random 20 to 100 % of the area is set to black.
        low_resolution: downscaled to 20 to 100 % of the side, and upscaled again.
        photometric: brightness, contrast and saturation times 0.5 to 1.5.
        grey: without colour.
        blur: by a Gaussian of 0.1 to 2 of 112 pixels.
        clean: nothing but flip and zoom.
    """

    flip: float = 0.5
    zoom: float = 1.0
    crop: float = 0.0
    low_resolution: float = 0.0
    photometric: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    clean: float = 0.0

    def apply(self, chip: Image, generator: np.random.Generator) -> Image:
        """An augmented copy of a chip `(H, W, 3) uint8`, of the same size."""
        if self.zoom < 1:
            top, left, height, width = _random_crop(chip, self.zoom, generator)
            part = np.ascontiguousarray(chip[top : top + height, left : left + width])
            chip = _resize(part, chip.shape[1], chip.shape[0], cv2.INTER_LINEAR)
        if not _happens(self.clean, generator):
            chip = self._change(chip, generator)
        if generator.random() < self.flip:
            chip = np.ascontiguousarray(chip[:, ::-1])
        return chip

    def _change(self, chip: Image, generator: np.random.Generator) -> Image:
        if generator.random() < self.crop:
            top, left, height, width = _random_crop(chip, 0.2, generator)
            black = np.zeros_like(chip)
            black[top : top + height, left : left + width] = chip[
                top : top + height, left : left + width
            ]
            chip = black
        if _happens(self.blur, generator):
            chip = _blur(chip, generator)
        if generator.random() < self.low_resolution:
            chip = _lower_resolution(chip, generator)
        if generator.random() < self.photometric:
            chip = _jitter_colour(chip, generator)
        if _happens(self.grey, generator):
            chip = _without_colour(chip)
        return chip


def _happens(chance: float, generator: np.random.Generator) -> bool:
    """True with probability `chance`. Draws nothing for 0, so that an unused change leaves the
    others their random numbers."""
    return chance > 0 and generator.random() < chance


def _random_crop(
    chip: Image, least: float, generator: np.random.Generator
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random crop of at least that share of the area, less a pixel
    row at most, to which its sides are rounded. Its aspect ratio is from 3:4 to 4:3, as far as both
    sides fit."""
    rows, columns = chip.shape[:2]
    area = rows * columns * generator.uniform(least, 1)
    bounds = np.clip((3 / 4, 4 / 3), area / rows**2, columns**2 / area)
    aspect = np.exp(generator.uniform(*np.log(bounds)))
    width = max(round(float(np.sqrt(area * aspect))), 1)
    height = max(round(float(np.sqrt(area / aspect))), 1)
    top = int(generator.integers(rows - height + 1))
    left = int(generator.integers(columns - width + 1))
    return top, left, height, width


def _lower_resolution(chip: Image, generator: np.random.Generator) -> Image:
    rows, columns = chip.shape[:2]
    side = generator.uniform(0.2, 1)
    down, up = generator.integers(len(_INTERPOLATIONS), size=2)
    height, width = max(round(rows * side), 1), max(round(columns * side), 1)
    small = _resize(chip, width, height, _INTERPOLATIONS[down])
    return _resize(small, columns, rows, _INTERPOLATIONS[up])


def _blur(chip: Image, generator: np.random.Generator) -> Image:
    sigma = generator.uniform(*_SIGMA) * chip.shape[0] / ARCFACE_SIZE
    return np.asarray(cv2.GaussianBlur(chip, (0, 0), sigma), np.uint8)


def _without_colour(chip: Image) -> Image:
    grey = cv2.cvtColor(chip, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)


def _jitter_colour(chip: Image, generator: np.random.Generator) -> Image:
    """Brightness, contrast and saturation, each times 0.5 to 1.5, in random order."""
    values: Floats = chip.astype(np.float32)
    for kind in generator.permutation(3):
        factor = np.float32(generator.uniform(0.5, 1.5))
        # Brightness blends with black, contrast with mean grey, saturation with the pixel's grey.
        centre: Floats = np.zeros((1, 1, 1), np.float32)
        if kind > 0:
            centre = np.matmul(values, _GREY)[..., None]
        if kind == 1:
            centre = centre.mean(keepdims=True)
        values = np.clip((values - centre) * factor + centre, np.float32(0), np.float32(255))
    return values.astype(np.uint8)


def _resize(chip: Image, width: int, height: int, interpolation: int) -> Image:
    return np.asarray(cv2.resize(chip, (width, height), interpolation=interpolation), np.uint8)
