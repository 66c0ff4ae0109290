"""Aligned faces made grey, blurred and 32 pixels wide, as a domain to fine-tune towards:
`python -m tests.benchmarks.finetuning CHIPS OUT`.

CHIPS is what `facerec align` wrote; OUT gets a PNG of the same name for each.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from facerec.faces import Image
from facerec.imaging.archives import open_source, photo_names
from facerec.imaging.decode import decode_image
from facerec.imaging.draw import write_image
from tests.benchmarks import require_arguments

_SIGMA, _SIDE = 1.5, 32
_MAX_PIXELS = 10**7


def main(chips: Path, out: Path) -> None:
    """Write every chip's degraded copy."""
    source = open_source(chips)
    for name in photo_names(source):
        image = decode_image(source.read(name), name, _MAX_PIXELS)
        write_image((out / name).with_suffix(".png"), degrade(image))


def degrade(chip: Image) -> Image:
    """A chip `(H, W, 3) uint8` RGB without colour, blurred, and downscaled to 32 pixels and
    upscaled again."""
    grey = cv2.cvtColor(cv2.cvtColor(chip, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    blurred = cv2.GaussianBlur(grey, (0, 0), _SIGMA)
    small = cv2.resize(blurred, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    rows, columns = chip.shape[:2]
    whole = cv2.resize(small, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return np.asarray(whole, np.uint8)


if __name__ == "__main__":
    require_arguments(__doc__, 2)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
