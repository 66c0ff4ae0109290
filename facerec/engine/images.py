"""What the engine takes for an image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from facerec.errors import UsageError
from facerec.faces import Image


def require_images(images: Iterable[Image]) -> list[Image]:
    """The images as a list, each checked.

    Raises:
        UsageError: it is a single image, or holds what is no image.
    """
    single = isinstance(images, np.ndarray) and images.ndim == 3
    if single or isinstance(images, str) or not isinstance(images, Iterable):
        raise UsageError(f"a list of images is wanted, not {_described(images)}; give [image]")
    return [require_image(image) for image in images]


def require_image(image: Image) -> Image:
    """The image, if it is `(H, W, 3) uint8`.

    Raises:
        UsageError: it is not.
    """
    fits = isinstance(image, np.ndarray) and image.dtype == np.uint8
    if not (fits and image.ndim == 3 and image.shape[2] == 3):
        raise UsageError(
            "an image is an array of shape (H, W, 3) and type uint8, in RGB, as facerec.read_image "
            f"reads it; not {_described(image)}"
        )
    return image


def _described(given: Any) -> str:
    if isinstance(given, np.ndarray):
        return f"an array of shape {given.shape} and type {given.dtype}"
    return f"{given!r}" if isinstance(given, str) else f"a {type(given).__name__}"
