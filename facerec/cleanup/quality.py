"""What pixels and landmarks say about an image: sharpness, pose, a hash of its looks."""

from __future__ import annotations

import cv2
import numpy as np

from facerec.faces import Floats, Image

_CHIP_SIDE = 112
_HASH_SIDE = 8
_SPECTRUM_SIDE = 4 * _HASH_SIDE


def sharpness(chip: Image) -> float:
    """Variance of the Laplacian of a face's grey values (Pech-Pacheco et al. 2000).

    Chips of all models are brought to 112 pixels first, so that the values compare.

    Args:
        chip: `(H, W, 3) uint8` RGB, aligned.
    """
    side = (_CHIP_SIDE, _CHIP_SIDE)
    grey = cv2.cvtColor(cv2.resize(chip, side, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def yaw(landmarks: Floats) -> float:
    """How far the head is turned: the nose's distance from the middle between the eyes, along
    the line through them, as a share of their distance. 0 is frontal, at 0.5 the nose is
    before an eye; infinite where both eyes are in one place.

    Args:
        landmarks: `(5, 2) float32` pixels.
    """
    left, right, nose = (landmarks[point].astype(np.float64) for point in range(3))
    line = right - left
    length = float(line @ line)
    return abs(float((nose - (left + right) / 2) @ line)) / length if length > 0 else np.inf


def perceptual_hash(image: Image) -> int:
    """64 bits that survive compression and resizing: which of the lowest 8x8 frequencies of the
    grey values are above their median (pHash; Zauner 2010, section 3.2.1).

    Args:
        image: `(H, W, 3) uint8` RGB.
    """
    side = (_SPECTRUM_SIDE, _SPECTRUM_SIDE)
    small = cv2.resize(image, side, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    low = cv2.dct(grey)[:_HASH_SIDE, :_HASH_SIDE].ravel()
    # The first coefficient is the mean brightness, which says nothing of the picture.
    bits = low > np.median(low[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def hamming(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Differing bits of `uint64` hashes."""
    different = np.atleast_1d(one ^ two)
    bits = np.unpackbits(different.view(np.uint8).reshape(len(different), 8), axis=1)
    counts: np.ndarray = bits.sum(1)
    return counts
