"""From a stored face to the chip the network sees, and whether stored faces are aligned at all."""

from __future__ import annotations

import cv2
import numpy as np

from facerec.alignment.templates import ARCFACE_SIZE
from facerec.alignment.warp import adapt_chip
from facerec.card import Template
from facerec.errors import InputError, UsageError
from facerec.faces import Image
from facerec.training.data import Examples
from facerec.training.data.selection import Selection

_SAMPLE = 32
_MANY_SIZES = 4


def fit(image: Image, template: Template, size: tuple[int, int]) -> Image:
    """A chip of `size` (height, width) from an aligned face, square or not.

    A 112x112 face lies on ArcFace's template and is warped to the model's, as `--aligned` does
    elsewhere. The template of other sizes is unknown: they are resized, by area when they shrink.
    """
    if image.shape[0] == image.shape[1] or image.shape[:2] == size:
        return adapt_chip(image, template, size)
    interpolation = cv2.INTER_AREA if image.shape[0] > size[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size[::-1], interpolation=interpolation), np.uint8)


def cut(image: Image, size: tuple[int, int], generator: np.random.Generator | None) -> Image:
    """A part of `size` (height, width) of a larger image: at a random place, or the central one.

    A smaller image stays as it is.
    """
    room = image.shape[0] - size[0], image.shape[1] - size[1]
    if min(room) < 0:
        return image
    if generator is None:
        top, left = room[0] // 2, room[1] // 2
    else:
        top, left = (int(generator.integers(each + 1)) for each in room)
    return image[top : top + size[0], left : left + size[1]]


def check_aligned(examples: Examples, selection: Selection, side: int, where: str) -> str | None:
    """Judge by the sizes of a sample of images whether they are aligned faces.

    Aligned faces are square and of one size, and seldom twice as large as a network's input.

    Args:
        side: of the network's input, pixels.
        where: path of the data, for messages.

    Returns:
        A warning if they may not be aligned.

    Raises:
        UsageError: most are non-square, of at least four sizes; no aligner leaves that.
    """
    sizes = _sample_sizes(examples, selection)
    oblong = [size for size in sizes if size[0] != size[1]]
    different = len(set(sizes))
    if len(set(oblong)) >= _MANY_SIZES and 2 * len(oblong) > len(sizes):
        raise UsageError(
            f"{where}: photos of {different} sizes, such as {_prose(oblong[0])}, are not aligned "
            "faces; run facerec align first, or train on them as they are with "
            "--set data.check_aligned=false"
        )
    if oblong or different >= _MANY_SIZES:
        images = f"images of {different} sizes" if different > 1 else "images"
        example = (oblong or sizes)[0]
    elif sizes and max(sizes)[0] >= 2 * max(side, ARCFACE_SIZE):
        images, example = "images", max(sizes)
    else:
        return None
    return (
        f"{where}: {images}, such as {_prose(example)}, may not be aligned faces; if they are "
        "photos, run facerec align first"
    )


def _sample_sizes(examples: Examples, selection: Selection) -> list[tuple[int, int]]:
    """Height and width of up to 32 readable images, evenly spread over the people."""
    count = len(selection.indices)
    sizes = []
    for row in np.unique(np.linspace(0, count - 1, min(count, _SAMPLE)).astype(int)):
        try:
            height, width, _ = examples.image(int(selection.indices[row])).shape
        except InputError:
            continue
        sizes.append((height, width))
    return sizes


def _prose(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
