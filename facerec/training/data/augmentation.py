"""Varying a chip at random, so that a network learns what does not matter."""

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
    """Probabilities in [0, 1] of each variation; the last three are AdaFace's (Kim et al. 2022,
    section 4.1, where each has 0.2).

    Attributes:
        flip: mirrored left to right.
        zoom: a random part of at least this share of the area, enlarged to the whole chip, always;
            1 leaves the chip whole.
        crop: a random part of 20 to 100 % of the area stays in its place, the rest turns black.
        low_resolution: shrunk to 20 to 100 % of its side and enlarged again.
        photometric: brightness, contrast and saturation by up to half.
    """

    flip: float = 0.5
    zoom: float = 1.0
    crop: float = 0.0
    low_resolution: float = 0.0
    photometric: float = 0.0

    def apply(self, chip: Image, generator: np.random.Generator) -> Image:
        """A varied copy of a chip `(H, W, 3) uint8`, of the same size."""
        if self.zoom < 1:
            top, left, height, width = _part(chip, self.zoom, generator)
            part = np.ascontiguousarray(chip[top : top + height, left : left + width])
            chip = _resized(part, chip.shape[1], chip.shape[0], cv2.INTER_LINEAR)
        if generator.random() < self.crop:
            top, left, height, width = _part(chip, 0.2, generator)
            black = np.zeros_like(chip)
            black[top : top + height, left : left + width] = chip[
                top : top + height, left : left + width
            ]
            chip = black
        if generator.random() < self.low_resolution:
            chip = _coarser(chip, generator)
        if generator.random() < self.photometric:
            chip = _relit(chip, generator)
        if generator.random() < self.flip:
            chip = np.ascontiguousarray(chip[:, ::-1])
        return chip


def _part(chip: Image, least: float, generator: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random part of at least that share of the area, with an
    aspect ratio up to 4:3 either way."""
    rows, columns = chip.shape[:2]
    area = rows * columns * generator.uniform(least, 1)
    aspect = np.exp(generator.uniform(np.log(3 / 4), np.log(4 / 3)))
    width = min(max(round(float(np.sqrt(area * aspect))), 1), columns)
    height = min(max(round(float(np.sqrt(area / aspect))), 1), rows)
    top = int(generator.integers(rows - height + 1))
    left = int(generator.integers(columns - width + 1))
    return top, left, height, width


def _coarser(chip: Image, generator: np.random.Generator) -> Image:
    rows, columns = chip.shape[:2]
    side = generator.uniform(0.2, 1)
    down, up = generator.integers(len(_INTERPOLATIONS), size=2)
    height, width = max(round(rows * side), 1), max(round(columns * side), 1)
    small = _resized(chip, width, height, _INTERPOLATIONS[down])
    return _resized(small, columns, rows, _INTERPOLATIONS[up])


def _relit(chip: Image, generator: np.random.Generator) -> Image:
    """Brightness, contrast and saturation, each times 0.5 to 1.5, in random order."""
    values: Floats = chip.astype(np.float32)
    for kind in generator.permutation(3):
        factor = np.float32(generator.uniform(0.5, 1.5))
        # Towards black, towards the mean grey, and towards each pixel's own grey.
        centre: Floats = np.zeros((1, 1, 1), np.float32)
        if kind > 0:
            centre = np.matmul(values, _GREY)[..., None]
        if kind == 1:
            centre = centre.mean(keepdims=True)
        values = np.clip((values - centre) * factor + centre, np.float32(0), np.float32(255))
    return values.astype(np.uint8)


def _resized(chip: Image, width: int, height: int, interpolation: int) -> Image:
    return np.asarray(cv2.resize(chip, (width, height), interpolation=interpolation), np.uint8)
