"""Tracks beside frames: `python -m tests.benchmarks.video [--soak MINUTES]`.

Needs `pip install --no-deps facenet-pytorch`. For each video the people whom `video_truth.py` knows
in it are enrolled from its own frames, every twelfth. Then, in turns within one process: facerec's
tracks, facerec frame by frame, and facenet-pytorch's MTCNN with the same embedder frame by frame. A
person's face is followed from frame to frame by its box (IoU at least 0.3); *flicker* is a change
of what is written at it, *switch* a change from one name to another. *Right* is the share of the
enrolled people's boxes that have their name, *wrong* the share of all boxes with another's name.

`--soak` instead loops the first video for so many minutes of video and prints resident memory.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from facerec import Engine, Gallery
from facerec.faces import Face, Image
from facerec.gallery.match import Matcher
from facerec.profile.loading import Profile
from facerec.video.film import FileSource
from facerec.video.frames import TimedFrame
from facerec.video.recognizer import VideoRecognizer, with_weak_faces
from tests.benchmarks.detection import DATA, overlap
from tests.benchmarks.video_truth import true_name

VIDEOS = ("videos/hamilton.mp4", "videos/faces.mp4")
EVERY = 12
Labels = list[tuple[Face, str | None]]
Told = tuple[Face, str | None, str | None]


def enrolled(engine: Engine, path: Path) -> Gallery:
    """The people of a video."""
    gallery = Gallery(engine.card)
    for frame in FileSource(path).frames():
        if frame.index % EVERY:
            continue
        for face in engine.embed([frame.image])[0]:
            if name := true_name(path.name, frame.index, face):
                gallery.add(name, [face], "video")
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


@dataclasses.dataclass
class Score:
    """What came of a video; flickers and switches a minute, shares of boxes."""

    fps: float
    flicker: float
    switch: float
    right: float
    wrong: float


def changes(before: list[Told], now: list[Told]) -> Iterator[tuple[str | None, str | None]]:
    """What was and is written at each face that is the same person's in both frames."""
    for face, name, true in now:
        for other, earlier, who in before:
            if who == true and overlap(face, other) >= 0.3:
                yield earlier, name
                break


def measure(path: Path, look: Callable[[TimedFrame], Labels]) -> Score:
    """Look at a whole video; its decoding is timed with it."""
    source = FileSource(path)
    looks = []
    started = time.perf_counter()
    for frame in source.frames():
        looks.append(look(frame))
    seconds = time.perf_counter() - started
    told = [
        [(face, name, true_name(path.name, index, face)) for face, name in faces]
        for index, faces in enumerate(looks)
    ]
    pairs = [pair for two in itertools.pairwise(told) for pair in changes(*two)]
    boxes = [(name, true) for faces in told for _, name, true in faces]
    enrolled = [name == true for name, true in boxes if true is not None]
    minutes = len(told) / source.rate / 60
    return Score(
        len(told) / seconds,
        sum(earlier != name for earlier, name in pairs) / minutes,
        sum(earlier != name and None not in (earlier, name) for earlier, name in pairs) / minutes,
        sum(enrolled) / max(len(enrolled), 1),
        sum(name not in (None, true) for name, true in boxes) / max(len(boxes), 1),
    )


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
    """Print a table a video, or the soak's memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--soak", type=float, default=0.0)
    arguments = parser.parse_args()
    profile = Profile.load("default")
    engine = Engine.from_profile(profile)
    for path in (DATA / name for name in VIDEOS):
        gallery = enrolled(engine, path)
        matcher = Matcher(gallery, profile.recognize, engine.card, str(path))
        rate = FileSource(path).rate
        if arguments.soak:
            soak(profile, matcher, path, arguments.soak)
            return
        print(f"\n{path.name}: {len(gallery.people)} people enrolled, {rate:.2f} frames a second")
        print(f"{'':28} fps  flicker/min  switch/min    right    wrong")
        ways = {
            "tracks": tracks(profile, matcher, rate),
            "frame by frame": frame_by_frame(engine, matcher, lambda x: engine.detect([x])[0]),
            "facenet-pytorch, by frame": frame_by_frame(engine, matcher, facenet_pytorch(profile)),
        }
        for name, look in ways.items():
            score = measure(path, look)
            print(f"{name:26} {score.fps:5.1f} {score.flicker:12.1f} {score.switch:11.1f} "
                  f"{100 * score.right:6.1f} % {100 * score.wrong:6.1f} %", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
