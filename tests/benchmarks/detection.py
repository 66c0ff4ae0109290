"""Speed of facerec's MTCNN beside facenet-pytorch and mtcnn (TensorFlow).

    python -m tests.benchmarks.detection [PHOTO …] [--rounds 12]

needs `pip install --no-deps facenet-pytorch` and `pip install 'facerec[tensorflow]'`. All three see
the same photos with the same minimum face (20 px), thresholds and scale factor, in turns within one
process, so that whatever else the machine does slows them alike, and in each possible order, for
TensorFlow's threads are busy for some time after it has answered. Prints each photo's medians and
the ratios' geometric means, and fails when facerec's faces are not mtcnn's (IoU ≥ 0.95). Then
pictures of LFW's size, cut out of the first photo, one by one and in one batch.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import torch
from PIL import Image as Pillow

from facerec.detection.mtcnn.detector import MTCNN
from facerec.detection.mtcnn.weights import load_mtcnn_weights
from facerec.detection.tensorflow import TensorFlowMTCNN
from facerec.faces import Face, Image

DATA = Path(
    os.environ.get("FACEREC_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data")
)
PHOTOS = ("multiface.jpg", "scientists.png", "alex_lacamoire1.jpg", "obama_and_biden.jpg")
THRESHOLDS = (0.6, 0.7, 0.8)


def facenet_pytorch() -> Callable[[Image], int]:
    """A function from a photo to the number of faces that facenet-pytorch finds."""
    from facenet_pytorch import MTCNN as Peer

    peer = Peer(
        min_face_size=20,
        thresholds=list(THRESHOLDS),
        factor=0.709,
        keep_all=True,
        post_process=False,
        device="cpu",
    )

    def detect(image: Image) -> int:
        boxes, _ = peer.detect(image)
        return 0 if boxes is None else len(boxes)

    return detect


def overlap(one: Face, other: Face) -> float:
    """Intersection over union of two faces' boxes."""
    sides = np.minimum(one.box[2:], other.box[2:]) - np.maximum(one.box[:2], other.box[:2])
    shared = float(np.prod(sides.clip(0)))
    areas = [float(np.prod(face.box[2:] - face.box[:2])) for face in (one, other)]
    return shared / (sum(areas) - shared)


def median_seconds(functions: list[Callable[[], object]], rounds: int) -> list[float]:
    """Median seconds of each function, called in turns, whose order changes; the first turn is not
    counted."""
    seconds: list[list[float]] = [[] for _ in functions]
    orders = list(permutations(range(len(functions))))
    for turn in range(rounds + 1):
        for number in orders[turn % len(orders)]:
            start = time.perf_counter()
            functions[number]()
            if turn:
                seconds[number].append(time.perf_counter() - start)
    return [statistics.median(mine) for mine in seconds]


def cut_out(image: Image, side: int, count: int) -> list[Image]:
    """Squares at random places of a picture."""
    random = np.random.default_rng(0)
    corners = random.integers(0, np.array(image.shape[:2]) - side + 1, (count, 2))
    return [image[top : top + side, left : left + side] for top, left in corners.tolist()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    photos = options.photos or [DATA / "photos" / name for name in PHOTOS]

    peer = facenet_pytorch()  # first: torchvision crashes when it is imported after TensorFlow
    ours = MTCNN(load_mtcnn_weights(), thresholds=THRESHOLDS)
    original = TensorFlowMTCNN(thresholds=THRESHOLDS)
    print(f"{torch.get_num_threads()} threads, medians of {options.rounds} rounds, milliseconds")
    print(f"{'photo':38} {'faces':>5} {'facerec':>8} {'facenet-pytorch':>19} {'mtcnn':>14}")
    ratios: list[tuple[float, float]] = []
    same = True
    for path in photos:
        image = np.array(Pillow.open(path).convert("RGB"))
        mine, theirs = ours.detect([image])[0], original.detect([image])[0]
        same &= len(mine) == len(theirs) and all(
            max(overlap(face, found) for found in mine) >= 0.95 for face in theirs
        )
        a, b, c = median_seconds(
            [
                lambda image=image: ours.detect([image]),  # type: ignore[misc]
                lambda image=image: peer(image),  # type: ignore[misc]
                lambda image=image: original.detect([image]),  # type: ignore[misc]
            ],
            options.rounds,
        )
        ratios.append((b / a, c / a))
        label = f"{path.name} {image.shape[1]}x{image.shape[0]}"
        print(
            f"{label:38} {len(mine):5} {a * 1e3:8.1f} {b * 1e3:9.1f} ({peer(image)} faces) "
            f"{c * 1e3:9.1f} ({len(theirs)})  {b / a:.2f}x {c / a:.2f}x",
            flush=True,
        )
    facenet, tensorflow = (
        statistics.geometric_mean(column) for column in zip(*ratios, strict=True)
    )
    print(f"geometric mean: {facenet:.2f}x facenet-pytorch, {tensorflow:.2f}x mtcnn")
    pictures = cut_out(np.array(Pillow.open(photos[0]).convert("RGB")), 250, 64)
    alone, together = median_seconds(
        [
            lambda: [ours.detect([picture]) for picture in pictures],
            lambda: ours.detect(pictures),
        ],
        options.rounds,
    )
    print(
        f"{len(pictures)} pictures of 250x250: {len(pictures) / alone:.0f} a second one by one, "
        f"{len(pictures) / together:.0f} in a batch, {alone / together:.2f}x"
    )
    if not same:
        print("facerec's faces differ from mtcnn's", file=sys.stderr)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
