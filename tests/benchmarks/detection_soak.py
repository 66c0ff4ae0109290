"""Memory over 5,000 images of random sizes.

    python tests/benchmarks/detection_soak.py [--images 5000]

Detects on crops, of 1 to 800 pixels a side, of the astronaut among noise, in batches of 1 to 8.
Prints resident memory, and fails when it grows by more than 5 % after the first tenth.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import skimage.data

from facerec.detection.mtcnn.detector import MTCNN
from facerec.detection.mtcnn.weights import load_mtcnn_weights
from facerec.faces import Image

ALLOWED = 1.05


def resident_megabytes() -> float:
    """This process's resident memory (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise OSError("no VmRSS in /proc/self/status")


def random_image(random: np.random.Generator, source: Image) -> Image:
    """A part of `source`, of random size and place."""
    height, width = random.integers(1, 801, 2)
    top, left = (
        int(random.integers(0, source.shape[axis] - side + 1))
        for axis, side in enumerate((height, width))
    )
    return source[top : top + height, left : left + width]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    images = parser.parse_args().images

    random = np.random.default_rng(0)
    source = random.integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    source[200:712, 300:812] = skimage.data.astronaut()
    detector = MTCNN(load_mtcnn_weights())
    first = images // 10
    done = faces = 0
    base = highest = 0.0
    while done < images:
        batch = [random_image(random, source) for _ in range(random.integers(1, 9))]
        faces += sum(map(len, detector.detect(batch)))
        before, done = done, done + len(batch)
        if done >= first:
            highest = max(highest, resident_megabytes())
            base = base or highest
        if done // first > before // first:
            print(f"{done:6} images, {faces:5} faces, {resident_megabytes():7.1f} MB", flush=True)
    print(f"growth after the first {first}: {100 * (highest / base - 1):.1f} % at most")
    return 0 if highest <= base * ALLOWED else 1


if __name__ == "__main__":
    sys.exit(main())
