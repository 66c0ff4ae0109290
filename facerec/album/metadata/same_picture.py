"""Whether a photo whose bytes have changed still shows the album's faces.

Programs write names into photos, and those bytes are new to the album; its chips were cut from the
same pixels if cutting them again gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facerec.album.chips import cut_chips
from facerec.album.faces import read_chip
from facerec.album.records import StoredFace
from facerec.album.store import Album
from facerec.faces import Face
from facerec.imaging.reader import decode_frame

_FACTORS = (1, 2, 4, 8)
"""At which a scan may have decoded it."""


def shows_faces(
    album: Album, faces: Sequence[StoredFace], data: bytes, name: str, max_pixels: int
) -> bool:
    """Whether an image file shows these faces, pixel for pixel; any file shows none.

    Args:
        faces: of one photo of the same size.
        data: the whole file.
        max_pixels: of the photo.
    """
    cut = [read_chip(album, face.id) for face in faces]
    found = [
        Face(np.array(face.box, np.float32), face.score, np.zeros((5, 2), np.float32))
        for face in faces
    ]
    for factor in _FACTORS if faces else ():
        frame = decode_frame(name, data, max_pixels, downscale=lambda *_, by=factor: by)
        if frame.image is None:
            return False
        if cut_chips(frame, found) == cut:
            return True
        if factor > 1 and frame.original is None:
            return False  # its format is decoded at full size alone
    return not faces
