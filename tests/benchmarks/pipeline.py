"""From LFW's JPEG files to vectors: `python -m tests.benchmarks.pipeline [--images N] [--peer M]`.

facerec with a profile (`--profile`, `--set`), from the tar, over N images (all 7,701 by default),
beside facenet-pytorch's MTCNN with the same embedding network in PyTorch fp32, over M of them (`pip
install --no-deps facenet-pytorch`). Prints images a second, and what facerec's stages take by
themselves.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from facerec.alignment.warp import only_central_face
from facerec.engine.engine import Engine
from facerec.faces import Face, Frame
from facerec.imaging.archives import Source, open_source
from facerec.imaging.decode import decode_image
from facerec.imaging.reader import decode_frame
from facerec.parallel.ahead import map_ahead
from facerec.profile.loading import Profile
from facerec.profile.schema import RuntimeSection

DATA = Path(
    os.environ.get("FACEREC_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data")
)


def read(source: Source, names: Sequence[str], runtime: RuntimeSection) -> Iterator[Frame]:
    """Decoded images, as facerec's commands read them."""
    return map_ahead(
        names,
        lambda name: decode_frame(name, source.read(name), runtime.max_pixels),
        workers=runtime.workers,
    )


def facerec(profile: Profile, source: Source, names: Sequence[str]) -> None:
    """Print the speed of the whole and of its stages."""
    engine, runtime = Engine.from_profile(profile), profile.runtime
    for _ in engine.faces(read(source, names[:64], runtime), select=only_central_face):
        pass
    started, vectors = time.perf_counter(), 0
    stream = engine.faces(
        read(source, names, runtime), select=only_central_face, expected=len(names)
    )
    for _, faces in stream:
        vectors += len(faces)
    whole = (time.perf_counter() - started) / len(names)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"facerec ({profile.detector.name}, {engine.card.name}, {engine.arithmetic}, "
        f"{engine.passes} passes): {1 / whole:.1f} img/s; {vectors} vectors; peak {peak:.2f} GB"
    )
    some = names[:512]
    started = time.perf_counter()
    images = [frame.image for frame in read(source, some, runtime) if frame.image is not None]
    stages = {"decode": time.perf_counter() - started}
    started = time.perf_counter()
    faces_of = [
        faces
        for at in range(0, len(images), runtime.batch)
        for faces in engine.detect(images[at : at + runtime.batch])
    ]
    stages["detect"] = time.perf_counter() - started
    found = [
        (image, face)
        for image, faces in zip(images, faces_of, strict=True)
        for face in (only_central_face(image, faces) if faces else [])
    ]
    started = time.perf_counter()
    engine.embed_found(found)
    stages["warp and embed"] = time.perf_counter() - started
    for stage, seconds in stages.items():
        print(f"  {stage:16} {1000 * seconds / len(some):7.2f} ms an image, by itself")
    print(f"  {'in one stream':16} {1000 * whole:7.2f} ms an image")


def facenet_pytorch(source: Source, names: Sequence[str]) -> None:
    """Print the speed of facenet-pytorch's MTCNN with facerec's warp and network, in fp32."""
    from facenet_pytorch import MTCNN

    detector = MTCNN(
        min_face_size=20, thresholds=[0.6, 0.7, 0.8], keep_all=True, post_process=False,
        device="cpu",
    )  # fmt: skip
    engine = Engine.from_profile(
        Profile.load(settings=["runtime.precision=fp32", "runtime.engine=torch"])
    )
    started = time.perf_counter()
    for name in names:
        image = decode_image(source.read(name), name, 10**8)
        boxes, scores, landmarks = detector.detect(image, landmarks=True)
        if boxes is None:
            continue
        faces = [
            Face(box.astype(np.float32), float(score), points.astype(np.float32))
            for box, score, points in zip(boxes, scores, landmarks, strict=True)
        ]
        engine.embed_found([(image, face) for face in only_central_face(image, faces)])
    speed = len(names) / (time.perf_counter() - started)
    print(f"facenet-pytorch's MTCNN + the same network in fp32: {speed:.1f} img/s")


def main() -> None:
    """Measure facerec, then its peer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA / "lfw" / "lfw-deepfunneled-pairs.tar")
    parser.add_argument("--images", type=int, default=None)
    parser.add_argument("--peer", type=int, default=300)
    parser.add_argument("--profile", default="default")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    source = open_source(options.data)
    names = sorted(name for name in source.names() if name.endswith(".jpg"))[: options.images]
    print(f"{len(names)} images, {torch.get_num_threads()} threads")
    facerec(Profile.load(options.profile, settings=options.set), source, names)
    if options.peer:
        facenet_pytorch(source, names[: options.peer])


if __name__ == "__main__":
    main()
