"""Photos with metadata for these tests, written as other programs write them."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

needs_exiftool = pytest.mark.skipif(
    shutil.which("exiftool") is None,
    reason="exiftool is not installed (Debian: libimage-exiftool-perl)",
)


def picture(width: int = 60, height: int = 40) -> Pillow.Image:
    """Seeded noise, smooth enough for JPEG."""
    noise = np.random.default_rng(7).integers(0, 255, (height // 4, width // 4, 3), np.uint8)
    return Pillow.fromarray(noise).resize((width, height))


def encoded(image: Pillow.Image) -> bytes:
    """A JPEG's bytes."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def save(path: Path, *, orientation: int = 1, **options: Any) -> Path:
    """A photo in the format of its suffix, with EXIF."""
    exif = Pillow.Exif()
    exif[0x010E] = "a description"
    exif[0x0112] = orientation
    picture().save(path, exif=exif.tobytes(), **options)
    return path


def exiftool(*arguments: str | Path) -> str:
    """What ExifTool prints."""
    done = subprocess.run(
        ["exiftool", "-q", "-q", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def tags(path: Path) -> dict[str, Any]:
    """All of ExifTool's tags of a file, structures as such."""
    found: list[dict[str, Any]] = json.loads(
        exiftool("-j", "-struct", "-a", "-G1", "-charset", "filename=utf8", path)
    )
    return found[0]


def areas(path: Path) -> dict[str, list[float]]:
    """MWG's regions by name: x, y, w, h as ExifTool reads them."""
    regions = tags(path)["XMP-mwg-rs:RegionInfo"]["RegionList"]
    return {
        region["Name"]: [round(float(region["Area"][key]), 4) for key in "XYWH"]
        for region in regions
    }


def scan_data(data: bytes) -> str:
    """A hash of a JPEG from its first quantisation table to its end: pixels, and what follows."""
    return hashlib.sha256(data[data.index(b"\xff\xdb") :]).hexdigest()


def pixels(data: bytes) -> bytes:
    """The decoded pixels of an image file."""
    return Pillow.open(io.BytesIO(data)).tobytes()
