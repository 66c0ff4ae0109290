"""What reading JPEG files smaller saves and costs: `python -m tests.benchmarks.reduced_jpeg`.

LFW's images of the first folds, four times as large (bicubic) and saved as JPEG, as phones' photos
of people near by are, are read whole and read smaller, with faces of 160 pixels or more sought:
images a second, how many were read again for their faces, and the accuracy of verification.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from facerec.alignment.warp import only_central_face
from facerec.engine.engine import Engine
from facerec.evaluation.folds import fold_accuracy, pair_similarities
from facerec.evaluation.protocols.pairs import open_protocol
from facerec.faces import Floats, Image, Original
from facerec.imaging import reader
from facerec.imaging.archives import locate
from facerec.imaging.decode import decode_image, full_size
from facerec.imaging.draw import write_image
from facerec.imaging.reader import read_frames
from facerec.profile.loading import Profile
from tests.benchmarks.pipeline import DATA

_TIMES = 4


def embed(engine: Engine, files: Sequence[Path], *, smaller: bool) -> Floats:
    """Vectors of the files' central faces, NaN where there is none; prints the speed."""
    read, again = reader.decode_downscaled, -len(files)

    def counted(*arguments: Any) -> tuple[Image, Original | None]:
        nonlocal again
        again += 1
        return read(*arguments)

    reader.decode_downscaled = counted
    downscale = engine.reduction if smaller else full_size
    frames = read_frames(files, workers=2, max_pixels=10**8, downscale=downscale)
    vectors = np.full((len(files), engine.card.embedding_size), np.nan, np.float32)
    started = time.perf_counter()
    for row, (_, faces) in enumerate(engine.faces(frames, select=only_central_face)):
        if faces and faces[0].embedding is not None:
            vectors[row] = faces[0].embedding
    speed = len(files) / (time.perf_counter() - started)
    reader.decode_downscaled = read
    missed = int(np.isnan(vectors[:, 0]).sum())
    how = "smaller" if smaller else "whole"
    print(f"read {how}: {speed:.1f} img/s, {again} read again, {missed} missed")
    return vectors


def main() -> None:
    """Write the enlarged files, embed them both ways, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folds", type=int, default=2, choices=range(2, 11), metavar="2-10")
    options = parser.parse_args()
    lfw = DATA / "lfw"
    protocol, source = open_protocol("lfw", lfw / "lfw-deepfunneled-pairs.tar", lfw / "pairs.txt")
    chosen = protocol.folds < options.folds
    used, rows = np.unique(protocol.pairs[chosen], return_inverse=True)
    names = locate(source, protocol.keys)
    settings = ["detector.min_face=160", "runtime.processes=1"]
    engine = Engine.from_profile(Profile.load(settings=settings))
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number in used:
            name = names[protocol.keys[number]]
            image = decode_image(source.read(name), name, 10**8)
            large = cv2.resize(image, None, fx=_TIMES, fy=_TIMES, interpolation=cv2.INTER_CUBIC)
            files.append(Path(folder) / f"{number}.jpg")
            write_image(files[-1], np.asarray(large, np.uint8))
        print(f"{len(files)} images of {large.shape[1]}x{large.shape[0]}, {chosen.sum()} pairs")
        for smaller in (False, True):
            vectors = embed(engine, files, smaller=smaller)
            scores = pair_similarities(vectors, rows.reshape(-1, 2))
            found = fold_accuracy(scores, protocol.same[chosen], protocol.folds[chosen])
            print(f"  accuracy {100 * found.mean:.2f} %")


if __name__ == "__main__":
    main()
