"""Photos for benchmarks, made of two portraits that pip packages carry."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from facerec.faces import Image
from facerec.imaging.decode import read_image
from facerec.imaging.portraits import portrait_files

SIDE = 250
"""Of a photo, pixels; as in LFW."""
_JPEG_QUALITY = 90


def small_photos(count: int) -> list[Image]:
    """`(250, 250, 3) uint8` RGB each: the portraits, randomly rotated by up to 8° and scaled."""
    photos = [read_image(file, 10_000_000) for file in portrait_files().values()]
    generator = np.random.default_rng(0)
    made = []
    for number in range(count):
        photo = photos[number % len(photos)]
        height, width = photo.shape[:2]
        scale = SIDE / min(height, width) * generator.uniform(1.0, 1.3)
        matrix = cv2.getRotationMatrix2D((width / 2, height * 0.3), generator.uniform(-8, 8), scale)
        matrix[:, 2] += np.array([SIDE / 2 - width / 2, SIDE * 0.45 - height * 0.3])
        made.append(np.asarray(cv2.warpAffine(photo, matrix, (SIDE, SIDE)), np.uint8))
    return made


def write_photos(folder: Path, count: int) -> list[Path]:
    """`small_photos` as JPEG files."""
    paths = []
    for number, photo in enumerate(small_photos(count)):
        path = folder / f"{number}.jpg"
        data = cv2.imencode(".jpg", photo[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
        path.write_bytes(data.tobytes())
        paths.append(path)
    return paths
