"""Two public-domain portraits that pip packages carry, and the demo image composed of them.

Both are NASA's and the US Navy's own photographs and so in the public domain: Eileen Collins
(scikit-image's `astronaut.png`) and Grace Hopper (matplotlib's `grace_hopper.jpg`).
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from facerec.faces import Image
from facerec.imaging.decode import read_image
from facerec.weights.packages import package_file

_PORTRAITS = {
    "eileen_collins": ("skimage", "data/astronaut.png"),
    "grace_hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
}
_NO_FACE = ("skimage", "data/coffee.png")
_HEIGHT, _WIDTH = 560, 420
_MOST_PIXELS = 10_000_000


def portrait_files() -> dict[str, Path]:
    """The two people and their photos.

    Raises:
        MissingError: a package that carries one is not installed.
    """
    return {name: package_file(*place) for name, place in _PORTRAITS.items()}


def compose_picture() -> Image:
    """Both people, augmented, beside an image without a face: `(560, 1260, 3) uint8` RGB.

    One is mirrored, rotated by 9 degrees, shrunk and darkened; the other rotated by -7 degrees,
    enlarged and brightened.
    """
    photos = {name: read_image(file, _MOST_PIXELS) for name, file in portrait_files().items()}
    first = _change(photos["eileen_collins"][:, ::-1], turn=9, scale=0.8, gain=0.75)
    second = _change(photos["grace_hopper"], turn=-7, scale=1.1, gain=1.25)
    still = _cover(read_image(package_file(*_NO_FACE), _MOST_PIXELS))
    return np.hstack([first, still, second])


def _change(photo: Image, *, turn: float, scale: float, gain: float) -> Image:
    photo = _cover(photo)
    matrix = cv2.getRotationMatrix2D((_WIDTH / 2, _HEIGHT / 2), turn, scale)
    turned = cv2.warpAffine(photo, matrix, (_WIDTH, _HEIGHT), borderMode=cv2.BORDER_REPLICATE)
    return cv2.convertScaleAbs(turned, alpha=gain).astype(np.uint8)


def _cover(photo: Image) -> Image:
    """Resize and centre-crop to the size of one panel."""
    scale = max(_HEIGHT / photo.shape[0], _WIDTH / photo.shape[1])
    size = (round(photo.shape[1] * scale), round(photo.shape[0] * scale))
    resized = cv2.resize(np.ascontiguousarray(photo), size, interpolation=cv2.INTER_AREA)
    top, left = (size[1] - _HEIGHT) // 2, (size[0] - _WIDTH) // 2
    return resized[top : top + _HEIGHT, left : left + _WIDTH].astype(np.uint8)
