"""How much of the pixels a file's encoding has kept, read from its first bytes."""

from __future__ import annotations

import os
from math import inf
from pathlib import Path
from typing import BinaryIO

import numpy as np

from facerec.imaging.contents import RAW, START, TIFF, image_kind

_LOSSLESS = {"PNG", "BMP", "PPM", TIFF, RAW}
_TABLES, _SCAN = 0xDB, 0xDA
"""JPEG markers: quantisation tables; the first scan, before which they are."""


def loss(path: Path) -> tuple[int, float, int]:
    """A sort key, the least loss first: lossless before lossy, the smaller quantisation steps, more
    bytes.

    Of lossy files HEIC comes first, as cameras write it and send it on as JPEG; those other than
    JPEG come last, as websites make them of JPEG. A file that cannot be read comes after all.
    """
    try:
        with path.open("rb") as file:
            kind = image_kind(file.read(START))
            size = os.fstat(file.fileno()).st_size
            if kind in _LOSSLESS:
                return 0, 0.0, -size
            if kind == "HEIF":
                return 1, 0.0, -size
            return 1, quantisation_step(file) if kind == "JPEG" else inf, -size
    except OSError:
        return 2, inf, 0


def quantisation_step(file: BinaryIO) -> float:
    """Mean step of a JPEG's luminance table (ITU-T T.81, B.2.4.1); infinite without one."""
    file.seek(2)
    while len(head := file.read(4)) == 4 and head[0] == 0xFF and head[1] != _SCAN:
        length = max(0, int.from_bytes(head[2:], "big") - 2)
        if head[1] != _TABLES:
            file.seek(length, os.SEEK_CUR)
            continue
        tables = file.read(length)
        while tables:
            kind = np.dtype(">u2" if tables[0] >> 4 else "u1")
            end = 1 + 64 * kind.itemsize
            if len(tables) < end:
                break
            if tables[0] & 15 == 0:
                return float(np.frombuffer(tables[1:end], kind).mean())
            tables = tables[end:]
    return inf
