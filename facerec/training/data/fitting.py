"""From a stored face to the chip that the network will see, as recognition makes it."""

from __future__ import annotations

import cv2
import numpy as np

from facerec.alignment.templates import ARCFACE_SIZE
from facerec.alignment.warp import adapt_chip
from facerec.card import Template
from facerec.faces import Image


def fit(image: Image, template: Template, size: tuple[int, int]) -> Image:
    """A chip of `size` (height, width) from an aligned face.

    One of 112x112 lies on ArcFace's template and is moved to the model's, exactly as `--aligned`
    does elsewhere. The template of any other size is not known: such a face is resized as a whole,
    averaged where it shrinks.
    """
    if image.shape[:2] in (size, (ARCFACE_SIZE, ARCFACE_SIZE)):
        return adapt_chip(image, template, size)
    interpolation = cv2.INTER_AREA if image.shape[0] > size[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size[::-1], interpolation=interpolation), np.uint8)
