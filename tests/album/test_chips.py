"""Small pictures of faces."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image as Pillow

from facerec.album.chips import SIDE, cut_chips
from facerec.faces import Face, Frame, Image, Original
from facerec.imaging.reader import decode_frame


def face(*box: float) -> Face:
    return Face(np.array(box, np.float32), 1.0, np.zeros((5, 2), np.float32))


def opened(chip: bytes) -> Image:
    return np.asarray(Pillow.open(io.BytesIO(chip)))


def gradient(height: int, width: int) -> Image:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 255 / height, columns * 255 / width, 0 * rows], -1).astype(np.uint8)


def test_a_chip_is_a_square_of_the_face_and_its_surroundings() -> None:
    image = gradient(300, 400)
    for box in ((100, 100, 140, 140), (-20, -20, 60, 60), (380, 280, 460, 330), (0, 0, 400, 300)):
        (chip,) = cut_chips(Frame("", image), [face(*box)])
        pixels = opened(chip)
        side = max(box[2] - box[0], box[3] - box[1]) * 1.5
        assert pixels.shape == (min(side, SIDE, 300),) * 2 + (3,)
        middle = np.clip([(box[1] + box[3]) / 2, (box[0] + box[2]) / 2], 1, (298, 398))
        shade = middle * 255 / (300, 400)
        assert (pixels.min((0, 1))[:2].astype(int) - 8 <= shade).all()
        assert (pixels.max((0, 1))[:2].astype(int) + 8 >= shade).all()


def test_a_chip_of_a_downscaled_photo_has_the_pixels_of_the_original() -> None:
    image = gradient(800, 800)
    blocks = np.random.default_rng(0).integers(0, 256, (25, 25, 3), np.uint8)
    image[300:500, 300:500] = blocks.repeat(8, 0).repeat(8, 1)
    buffer = io.BytesIO()
    Pillow.fromarray(image).save(buffer, "JPEG", quality=95)
    whole = decode_frame("", buffer.getvalue(), 10**8)
    small = decode_frame("", buffer.getvalue(), 10**8, downscale=lambda *_: 8)
    assert small.original is not None
    for box in ((340, 340, 460, 460), (200, 200, 600, 600)):
        (wanted,), (made,) = (cut_chips(frame, [face(*box)]) for frame in (whole, small))
        assert opened(made).shape == opened(wanted).shape
        assert np.abs(opened(made).astype(float) - opened(wanted)).mean() < 6


def test_a_chip_of_a_photo_that_cannot_be_decoded_again_is_small() -> None:
    image = gradient(80, 80)
    frame = Frame("", image, original=Original(b"no JPEG", 640, 640, 8))
    (chip,) = cut_chips(frame, [face(160, 160, 320, 320)])
    assert opened(chip).shape == (30, 30, 3)


def test_no_face_decodes_nothing_again() -> None:
    assert cut_chips(Frame("", None), []) == []
