"""Augmentation: flip, zoom, and AdaFace's crop, low resolution and photometric."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from facerec.faces import Floats, Image

_INTERPOLATIONS = (
    cv2.INTER_NEAREST,
    cv2.INTER_LINEAR,
    cv2.INTER_AREA,
    cv2.INTER_CUBIC,
    cv2.INTER_LANCZOS4,
)

# Rec. 601 luma.
_GREY: Floats = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Probabilities in [0, 1]; the last three are AdaFace's (Kim et al. 2022, section 4.1: 0.2).

    Attributes:
        flip: horizontally.
        zoom: not a probability: a random crop of at least this share of the area is always resized
            to the whole chip; 1 switches it off.
        crop: all but a random 20 to 100 % of the area is set to black.
        low_resolution: downscaled to 20 to 100 % of the side, and upscaled again.
        photometric: brightness, contrast and saturation times 0.5 to 1.5.
    """

    flip: float = 0.5
    zoom: float = 1.0
    crop: float = 0.0
    low_resolution: float = 0.0
    photometric: float = 0.0

    @property
    def changes_nothing(self) -> bool:
        """Whether every chip stays as it is."""
        chances = self.flip + self.crop + self.low_resolution + self.photometric
        return not chances and self.zoom == 1

    def apply(self, chip: Image, generator: np.random.Generator) -> Image:
        """An augmented copy of a chip `(H, W, 3) uint8`, of the same size."""
        if self.zoom < 1:
            top, left, height, width = _random_crop(chip, self.zoom, generator)
            part = np.ascontiguousarray(chip[top : top + height, left : left + width])
            chip = _resize(part, chip.shape[1], chip.shape[0], cv2.INTER_LINEAR)
        if generator.random() < self.crop:
            top, left, height, width = _random_crop(chip, 0.2, generator)
            black = np.zeros_like(chip)
            black[top : top + height, left : left + width] = chip[
                top : top + height, left : left + width
            ]
            chip = black
        if generator.random() < self.low_resolution:
            chip = _lower_resolution(chip, generator)
        if generator.random() < self.photometric:
            chip = _jitter_colour(chip, generator)
        if generator.random() < self.flip:
            chip = np.ascontiguousarray(chip[:, ::-1])
        return chip


def _random_crop(
    chip: Image, least: float, generator: np.random.Generator
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random crop of at least that share of the area, with an
    aspect ratio of 3:4 to 4:3."""
    rows, columns = chip.shape[:2]
    area = rows * columns * generator.uniform(least, 1)
    aspect = np.exp(generator.uniform(np.log(3 / 4), np.log(4 / 3)))
    width = min(max(round(float(np.sqrt(area * aspect))), 1), columns)
    height = min(max(round(float(np.sqrt(area / aspect))), 1), rows)
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
