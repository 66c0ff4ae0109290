"""Chips of an album: a small JPEG of each face, for pages and lists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facerec.detection.reduction import power_of_two
from facerec.errors import InputError
from facerec.faces import Face, Floats, Frame, Image
from facerec.imaging.reader import read_again

SIDE = 128
"""Pixels, at most; 100,000 such faces take 0.5 GB."""
_ROOM = 1.5
"""Side of what is cut out, in sides of the box."""
_QUALITY = 80


def cut_chips(frame: Frame, faces: Sequence[Face]) -> list[bytes]:
    """A square JPEG of each face with some of its surroundings.

    Args:
        frame: with its image.
        faces: in pixels of the original.
    """
    if not faces:
        return []
    factor = 1 if frame.original is None else frame.original.factor
    if factor > 1:
        # As small as the smallest face allows.
        factor = min(factor, power_of_two(min(face.size for face in faces) * _ROOM / SIDE))
    try:
        image = read_again(frame, factor)
    except InputError:
        assert frame.image is not None and frame.original is not None, "it was decoded, smaller"
        image, factor = frame.image, frame.original.factor
    return [_encode(_cut(image, face.box / np.float32(factor))) for face in faces]


def _cut(image: Image, box: Floats) -> Image:
    """`(S, S, 3) uint8`, S at most `SIDE`: the box and its surroundings, moved into the image."""
    import cv2

    height, width = image.shape[:2]
    side = round(float(max(box[2] - box[0], box[3] - box[1])) * _ROOM)
    side = max(1, min(side, height, width))
    left = round(float(box[0] + box[2]) / 2 - side / 2)
    top = round(float(box[1] + box[3]) / 2 - side / 2)
    left, top = max(0, min(left, width - side)), max(0, min(top, height - side))
    cut = image[top : top + side, left : left + side]
    if side <= SIDE:
        return cut
    return cv2.resize(cut, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _encode(chip: Image) -> bytes:
    import cv2

    flags = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    return cv2.imencode(".jpg", chip[:, :, ::-1], flags)[1].tobytes()
