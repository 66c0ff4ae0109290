"""Tracks beside frames: `python -m tests.benchmarks.video [VIDEO…] [--soak MINUTES]`.

Needs `pip install --no-deps facenet-pytorch`. For each video the people in it are enrolled from its
own frames (every twelfth; a person is a cluster of at least five faces). Then, in turns within one
process: facerec's tracks, facerec frame by frame, and facenet-pytorch's MTCNN with the same
embedder frame by frame. A face is followed from frame to frame by its box (IoU at least 0.3);
*flicker* is a change of what is written at it, *switch* a change from one name to another.

`--soak` then loops the first video for so many minutes of video and prints resident memory.
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from sklearn.cluster import AgglomerativeClustering

from facerec import Engine, Gallery
from facerec.faces import Face, Image
from facerec.gallery.match import Matcher
from facerec.profile import Profile
from facerec.video.recognizer import VideoRecognizer, with_weak_faces
from facerec.video.sources import FileSource, TimedFrame
from tests.benchmarks.detection import DATA, overlap

VIDEOS = ("videos/hamilton.mp4", "videos/faces.mp4")
EVERY, FEWEST = 12, 5
Labels = list[tuple[Face, str | None]]


def enrolled(engine: Engine, path: Path) -> Gallery:
    """The people of a video."""
    frames = [frame.image for frame in FileSource(path).frames() if frame.index % EVERY == 0]
    faces = [face for found in engine.embed(frames) for face in found]
    vectors = np.stack([face.embedding for face in faces])
    limit = engine.card.calibration.thresholds["1e-3"] if engine.card.calibration else 0.1
    clusters = AgglomerativeClustering(
        n_clusters=None, metric="cosine", linkage="average", distance_threshold=limit
    ).fit_predict(vectors)
    gallery = Gallery(engine.card)
    for cluster in np.unique(clusters):
        mine = [face for face, other in zip(faces, clusters, strict=True) if other == cluster]
        if len(mine) >= FEWEST:
            gallery.add(f"person {len(gallery.people) + 1}", mine[:: len(mine) // FEWEST], "video")
    return gallery


def recognizer_of(profile: Profile, matcher: Matcher, rate: float) -> VideoRecognizer:
    """As `facerec recognize video` makes it."""
    lenient, strong = with_weak_faces(profile)
    return VideoRecognizer(Engine.from_profile(lenient), matcher, rate=rate, strong=strong)


def tracks(profile: Profile, matcher: Matcher, rate: float) -> Callable[[TimedFrame], Labels]:
    """facerec's way."""
    recognizer = recognizer_of(profile, matcher, rate)

    def look(frame: TimedFrame) -> Labels:
        recognizer.feed(frame)
        return [(track.face, track.name) for track in recognizer.tracks]

    return look


def frame_by_frame(
    engine: Engine, matcher: Matcher, detect: Callable[[Image], list[Face]]
) -> Callable[[TimedFrame], Labels]:
    """Each frame as if it were a photo."""

    def look(frame: TimedFrame) -> Labels:
        faces = detect(frame.image)
        vectors = engine.embed_chips(engine.align(frame.image, faces))
        names = [match.name for match in matcher.match(vectors)] if faces else []
        return list(zip(faces, names, strict=True))

    return look


def facenet_pytorch(profile: Profile) -> Callable[[Image], list[Face]]:
    """facenet-pytorch's MTCNN with the profile's thresholds and smallest face."""
    from facenet_pytorch import MTCNN

    section = profile.detector
    peer = MTCNN(
        min_face_size=int(section.min_face), thresholds=list(section.thresholds),
        factor=section.scale_factor, keep_all=True, post_process=False, device="cpu",
    )  # fmt: skip

    def detect(image: Image) -> list[Face]:
        boxes, scores, points = peer.detect(image, landmarks=True)
        if boxes is None:
            return []
        found = zip(boxes, scores, points, strict=True)
        return [Face(np.float32(box), float(s), np.float32(p)) for box, s, p in found]

    return detect


def changes(before: Labels, now: Labels) -> Iterator[tuple[str | None, str | None]]:
    """What was and is written at each face that is in both frames."""
    for face, name in now:
        for other, earlier in before:
            if overlap(face, other) >= 0.3:
                yield earlier, name
                break


def measure(path: Path, look: Callable[[TimedFrame], Labels]) -> tuple[float, float, float, float]:
    """Frames a second, decoding included; flickers and switches a minute; named share of faces."""
    source = FileSource(path)
    before: Labels = []
    flickers = switches = frames = faces = named = 0
    started = time.perf_counter()
    for frame in source.frames():
        now = look(frame)
        pairs = [pair for pair in changes(before, now) if pair[0] != pair[1]]
        flickers += len(pairs)
        switches += sum(None not in pair for pair in pairs)
        faces += len(now)
        named += sum(name is not None for _, name in now)
        before, frames = now, frames + 1
    seconds = time.perf_counter() - started
    minutes = frames / source.rate / 60
    return frames / seconds, flickers / minutes, switches / minutes, named / max(faces, 1)


def soak(profile: Profile, matcher: Matcher, path: Path, minutes: float) -> None:
    """Print resident memory of one recognizer on a looped video."""
    rate = FileSource(path).rate
    recognizer = recognizer_of(profile, matcher, rate)
    count, step = 0, round(rate * 60)
    while count < minutes * step:
        for frame in FileSource(path).frames():
            recognizer.feed(dataclasses.replace(frame, index=count, seconds=count / rate))
            count += 1
            if count % (5 * step) == 0 or count == step:
                now = int(Path("/proc/self/statm").read_text().split()[1])
                size = now * resource.getpagesize() / 1e6
                print(f"{count / step:5.0f} min of video: {size:.0f} MB", flush=True)


def main() -> None:
    """Print a table a video."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", nargs="*", type=Path, default=[DATA / name for name in VIDEOS])
    parser.add_argument("--soak", type=float, default=0.0)
    arguments = parser.parse_args()
    profile = Profile.load("default")
    engine = Engine.from_profile(profile)
    matchers = {}
    for path in arguments.videos:
        gallery = enrolled(engine, path)
        matcher = Matcher(gallery, profile.recognize, engine.card, str(path))
        matchers[path] = matcher
        rate = FileSource(path).rate
        print(f"\n{path.name}: {len(gallery.people)} people enrolled, {rate:.2f} frames a second")
        print(f"{'':28} fps  flicker/min  switch/min  named")
        ways = {
            "tracks": tracks(profile, matcher, rate),
            "frame by frame": frame_by_frame(engine, matcher, lambda x: engine.detect([x])[0]),
            "facenet-pytorch, by frame": frame_by_frame(engine, matcher, facenet_pytorch(profile)),
        }
        for name, look in ways.items():
            fps, flicker, switch, named = measure(path, look)
            print(f"{name:26} {fps:5.1f} {flicker:12.1f} {switch:11.1f} {100 * named:5.1f} %",
                  flush=True)  # fmt: skip
    if arguments.soak:
        soak(profile, next(iter(matchers.values())), arguments.videos[0], arguments.soak)


if __name__ == "__main__":
    main()
