"""Whole photos for the page: small enough for a screen, read only where the album says they lie."""

from __future__ import annotations

import hashlib
import threading

import cv2
import numpy as np

from facerec.album.photos import find_photo
from facerec.album.records import StoredPhoto
from facerec.album.store import Album
from facerec.errors import FacerecError, InputError
from facerec.faces import Image
from facerec.imaging.decode import decode_downscaled
from facerec.imaging.photos import MAX_PIXELS
from facerec.imaging.sources import find_photos

_LONGEST = 1600
"""Pixels of the longer side, at most."""
_JPEG_QUALITY = 85

# A photo of 150 megapixels takes half a gigabyte while it is decoded.
_decoding = threading.BoundedSemaphore(2)


def make_picture(album: Album, photo: StoredPhoto) -> bytes:
    """A JPEG of a photo, upright, of at most 1600 pixels a side, without metadata.

    Raises:
        InputError: it lies in none of its places any more, or cannot be decoded.
    """
    with _decoding:
        return _encode(_decode(album, photo))


def _decode(album: Album, photo: StoredPhoto) -> Image:
    for path in photo.paths:
        try:
            data = next(iter(find_photos([path]))).read(MAX_PIXELS)
        except FacerecError:
            continue
        # Another photo may have taken its place; the boxes are not that one's.
        if find_photo(album, hashlib.sha256(data).hexdigest()) == photo.id:
            return decode_downscaled(data, path, MAX_PIXELS, _factor)[0]
    raise InputError("the photo is no longer where the last scan found it")


def _factor(height: int, width: int) -> int:
    """The `DownscaleFactor` that leaves enough to see."""
    return next((one for one in (8, 4, 2) if max(height, width) >= one * _LONGEST), 1)


def _encode(image: Image) -> bytes:
    scale = _LONGEST / max(image.shape[:2])
    if scale < 1:
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        image = small.astype(np.uint8, copy=False)
    flags = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    return cv2.imencode(".jpg", image[:, :, ::-1], flags)[1].tobytes()
