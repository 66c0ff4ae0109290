"""The videos of `../shared/field`: who is seen when, and what is told."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from facerec.faces import Match
from facerec.video.frames import TimedFrame
from facerec.video.recognizer import VideoRecognizer
from facerec.video.sources import open_video
from tests.video.test_video import Staged, face


@pytest.fixture(scope="module")
def field(data: Path) -> Path:
    folder = data.parent / "field"
    if not folder.is_dir():
        pytest.skip(f"no field inputs at {folder}")
    return folder


@pytest.fixture(scope="module")
def known(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of the five people."""
    from facerec import Engine, Gallery
    from facerec.imaging.decode import read_image

    engine = Engine.from_profile("default")
    gallery = Gallery(engine.card)
    for photo in sorted((data / "people").glob("*/*")):
        gallery.add(photo.parent.name, engine.embed([read_image(photo)])[0][:1], photo.name)
    path = tmp_path_factory.mktemp("known") / "g.h5"
    gallery.save(path)
    return path


def events(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "first", "code"),
    [
        ("video/variable-rate.mp4", 10.0, 0),
        ("video/irregular.webm", 2.2, 0),
        ("video/interlaced.mp4", 0.0, 0),
        ("video/damaged-middle.mp4", 0.844, 3),
        ("mjpeg-damaged/stream.mjpeg", 0.0, 3),
        ("frames-of-two-sizes", 0.0, 0),
    ],
)
def test_a_face_is_told_at_the_films_own_time(name, first, code, field, known, run):
    found, out, err = run("recognize", "video", field / name, "-g", known)
    assert found == code, err
    assert events(out)[0]["time"] == pytest.approx(first, abs=0.05)


@pytest.mark.slow
def test_of_a_damaged_film_every_frame_that_can_be_decoded_is_seen(field):
    told: list[str] = []
    path = str(field / "video" / "damaged-middle.mp4")
    source = open_video(path, stdin=None, max_pixels=10**7, warn=told.append)
    assert len(list(source.frames())) == 260
    assert source.lost == 15
    assert told == [f"{path}: 15 of 275 frames could not be decoded, the first at 5.3 s"]


@pytest.mark.slow
def test_saved_video_and_sound_stay_together(field, known, run, tmp_path):
    saved = tmp_path / "out.mp4"
    film = field / "video" / "variable-rate.mp4"
    assert run("recognize", "video", film, "-g", known, "--save", saved)[0] == 0
    times = []
    for path in (film, saved):
        with av.open(str(path)) as container:
            times.append([frame.time for frame in container.decode(video=0)])
    assert times[1] == pytest.approx(times[0], abs=0.001)
    with av.open(str(saved)) as container:
        audio = container.streams.audio[0]
        assert float(audio.duration * audio.time_base) == pytest.approx(12.0, abs=0.1)


@pytest.mark.slow
def test_frames_of_two_sizes_are_all_saved(field, known, run, tmp_path):
    saved = tmp_path / "out.mp4"
    frames = field / "frames-of-two-sizes"
    assert run("recognize", "video", frames, "-g", known, "--save", saved)[0] == 0
    with av.open(str(saved)) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(list(frames.iterdir()))


def test_camera_pictures_with_thumbnails_are_whole(field):
    stream = b"".join(path.read_bytes() for path in sorted((field / "mjpeg-thumbnails").iterdir()))
    frames = list(open_video("-", stdin=io.BytesIO(stream), max_pixels=10**7).frames())
    assert [frame.image.shape for frame in frames] == [(360, 640, 3)] * 3


def test_where_frames_are_rare_each_is_detected_in(monkeypatch):
    """Detection so slow that it would come every twelfth frame, and a face in one of six."""
    clock = iter(np.arange(0, 1000, 0.3).tolist())
    monkeypatch.setattr("facerec.video.recognizer.time.perf_counter", lambda: next(clock))
    engine = Staged({4: [face(20, 20)]})
    nobody = SimpleNamespace(threshold=0.5, metric="cosine",
                             match=lambda vectors, *_: [Match(None)] * len(vectors))  # fmt: skip
    recognizer = VideoRecognizer(engine, nobody, rate=25)
    told = []
    for engine.index in range(6):
        image = np.full((120, 200, 3), 90, np.uint8)
        told += recognizer.feed(TimedFrame(engine.index, engine.index * 0.5, image))
    assert [(event.kind, event.seconds) for event in told if event.kind == "appeared"] == [
        ("appeared", 2.0)
    ]
