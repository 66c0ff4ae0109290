"""`facerec recognize cam` and `video`: tracks, steady names, sources that misbehave."""

from __future__ import annotations

import io
import itertools
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest

from facerec.errors import MissingError
from facerec.faces import Face, Match
from facerec.imaging.decode import read_image
from facerec.imaging.draw import blur_boxes, write_image
from facerec.video.sources import MjpegSource, open_video
from facerec.video.tracks import Flow, Track, assign, reidentify
from tests.conftest import noise

FRAMES, RATE = 60, 25


def portrait(path: Path) -> np.ndarray:
    return cv2.resize(read_image(path, 10**8), (200, 240), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="session")
def clip(portraits: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both portraits drift over a background; the second leaves after frame 30."""
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), RATE, (640, 360))
    first, second = (portrait(file) for file in portraits.values())
    for number in range(FRAMES):
        frame = np.full((360, 640, 3), 90, np.uint8)
        frame[40:280, 20 + 2 * number : 220 + 2 * number] = first
        if number < 30:
            frame[60:300, 420 - number : 620 - number] = second
        writer.write(frame[:, :, ::-1])
    writer.release()
    return path


@pytest.fixture
def gallery(run, people: Path, tmp_path: Path) -> Path:
    assert run("embed", people, "-o", tmp_path / "g.h5")[0] == 0
    return tmp_path / "g.h5"


def events(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize("extra", [(), ("--every-frame",)], ids=["tracked", "every-frame"])
def test_each_person_appears_is_named_and_leaves_once(extra, run, clip, gallery, portraits):
    code, out, err = run("recognize", "video", clip, "-g", gallery, *extra)
    assert code == 0, err
    told = events(out)
    assert {event["track"] for event in told} == {1, 2}
    for track in (1, 2):
        mine = [event for event in told if event["track"] == track]
        assert [event["event"] for event in mine] == ["appeared", "identified", "left"]
    assert {event["name"] for event in told if event["event"] == "identified"} == {*portraits}
    left = sorted(event["time"] for event in told if event["event"] == "left")
    # The one who goes at 1.2 s is missed after 0.7 s more.
    assert 1.1 < left[0] < 2.2
    assert left[1] == pytest.approx((FRAMES - 1) / RATE, abs=0.01)


def test_strangers_are_tracked_without_a_name(run, clip, gallery, portraits):
    somebody = next(iter(portraits))
    assert run("gallery", "remove", somebody, "-g", gallery, "--force")[0] == 0
    code, out, err = run("recognize", "cam", clip, "-g", gallery, "--no-window", "--stats")
    assert code == 0
    names = [event["name"] for event in events(out) if event["event"] == "left"]
    assert sorted(names, key=str) == sorted([None, *(set(portraits) - {somebody})], key=str)
    assert "60 frames in" in err
    assert " 0 dropped" in err


def test_the_video_is_saved_with_its_rate_and_the_best_face_of_each_track(
    run, clip, gallery, tmp_path
):
    saved, faces = tmp_path / "out.mp4", tmp_path / "faces"
    arguments = ("--save", saved, "--snapshots", faces, "--blur", "all")
    assert run("recognize", "video", clip, "-g", gallery, *arguments)[0] == 0
    capture = cv2.VideoCapture(str(saved))
    assert capture.get(cv2.CAP_PROP_FPS) == RATE
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES
    assert sorted(path.name for path in faces.iterdir()) == ["track-0001.jpg", "track-0002.jpg"]
    code, _, err = run("recognize", "video", clip, "-g", gallery, "--save", saved)
    assert code == 2
    assert "--force replaces it" in err


def test_a_saved_live_video_takes_as_long_as_it_took_whatever_was_dropped(tmp_path):
    from facerec.cli.video.outputs import Outputs
    from facerec.video.frames import TimedFrame

    saved = tmp_path / "live.mp4"
    camera = SimpleNamespace(name="0", rate=RATE)
    outputs = Outputs(camera, saved, None, None, unknown="unknown", window=None, page=None)
    for index in (0, 1, 5, 9):
        frame = TimedFrame(index, index / RATE, noise(48, 64, index))
        outputs.take(frame, SimpleNamespace(tracks=[], possible=[]), None, "")
    outputs.close()
    with av.open(str(saved)) as container:
        assert container.duration / av.time_base == pytest.approx(10 / RATE, abs=0.01)


def test_a_changed_gallery_is_read_again_while_it_runs(run, clip, gallery, portraits, monkeypatch):
    monkeypatch.setattr("facerec.video.people.CHECK_SECONDS", 0.0)
    somebody = next(iter(portraits))
    from facerec import Gallery
    from facerec.video.recognizer import VideoRecognizer

    feed = VideoRecognizer.feed

    def rename(self, frame):
        if frame.index == 20:
            changed = Gallery.open(gallery)
            changed.rename(somebody, "Somebody Else")
            changed.save(gallery)
        return feed(self, frame)

    monkeypatch.setattr(VideoRecognizer, "feed", rename)
    _, out, err = run("recognize", "video", clip, "-g", gallery, "--every-frame")
    assert "reloaded" in err
    changed = [event for event in events(out) if event["event"] == "changed"]
    assert [event["name"] for event in changed] == ["Somebody Else"]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("nowhere.mp4", "no such video, and no camera has that name (looked in /sys/class/video4"),
        ("99", "no such camera, or it does not answer (tried OpenCV's "),
        (
            "http://127.0.0.1:1/x",
            "no such stream, or it does not answer (tried FFmpeg: Connec",
        ),
        ("nothing-*.png", "no pictures there"),
    ],
)
def test_a_source_that_cannot_be_opened_says_what_was_tried(source, told, run, gallery):
    code, out, err = run("recognize", "cam", source, "-g", gallery, "--no-window")
    assert (code, out) == (4, "")
    assert told in err.splitlines()[-1]


def test_what_is_no_video_is_refused(run, gallery, tmp_path):
    (tmp_path / "text.mp4").write_text("hello")
    code, _, err = run("recognize", "video", tmp_path / "text.mp4", "-g", gallery)
    assert code == 4
    assert "cannot read it as a video" in err.splitlines()[-1]


def test_jpegs_on_stdin_are_frames_whatever_the_pieces_they_come_in():
    pictures = [cv2.imencode(".jpg", noise(64, 48, seed))[1].tobytes() for seed in range(3)]

    class Slow(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 700))

    frames = list(MjpegSource(Slow(b"".join(pictures)), 10**6).frames())
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert frames[0].image.shape == (64, 48, 3)
    with pytest.raises(MissingError, match="no JPEG pictures"):
        list(MjpegSource(io.BytesIO(b"hello"), 10**6).frames())


def test_pictures_of_a_folder_are_frames_in_order(tmp_path):
    for number in range(3):
        write_image(tmp_path / f"{number}.png", np.full((20, 30, 3), 40 * number, np.uint8))
    frames = list(open_video(str(tmp_path), stdin=None, max_pixels=10**6).frames())
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 40, 80]


def test_a_stream_that_is_cut_is_opened_again_and_old_frames_are_dropped():
    connections = []

    class Camera(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            connections.append(time.monotonic())
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            try:
                for number in range(12 if len(connections) < 3 else 400):
                    body = cv2.imencode(".jpg", np.full((48, 64, 3), 5 * number % 250, np.uint8))[1]
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}"
                    self.wfile.write(head.encode() + b"\r\n\r\n" + body.tobytes() + b"\r\n")
                    time.sleep(0.01)
            except OSError:
                pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/cam.mjpg"
    source = open_video(address, stdin=None, max_pixels=10**6)
    deadline = time.monotonic() + 30
    for seen, _ in enumerate(source.frames()):
        time.sleep(0.05)
        if (source.reconnects >= 1 and seen > 5) or time.monotonic() > deadline:
            break
    server.shutdown()
    assert source.reconnects >= 1
    assert source.dropped > 0


def face(x: float, y: float, side: float = 40.0) -> Face:
    points = np.array([[0.3, 0.35], [0.7, 0.35], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)
    box = np.array([x, y, x + side, y + side], np.float32)
    return Face(box, 0.99, (points * side + (x, y)).astype(np.float32))


def test_detections_join_the_tracks_they_overlap():
    tracks = [Track(1, face(0, 0), 0), Track(2, face(100, 0), 0)]
    assert assign(tracks, [face(104, 3), face(3, 2), face(300, 300)]) == [1, 0, None]


def test_somebody_who_left_is_found_again_by_their_face():
    gone = Track(7, face(0, 0), 0, evidence=np.array([3.0, 0.0], np.float32), weight=3.0)
    assert reidentify([gone], np.array([1.0, 0.0], np.float32), 0.9) is gone
    assert reidentify([gone], np.array([0.0, 1.0], np.float32), 0.9) is None


def test_a_weak_detection_keeps_a_track_alive_and_starts_none():
    from facerec.video.frames import TimedFrame
    from facerec.video.recognizer import VideoRecognizer

    def seen(score: float, left: float) -> Face:
        box = np.array([left, 10, left + 40, 60], np.float32)
        return Face(box, score, np.tile(box[:2] + 20, (5, 1)).astype(np.float32))

    class Scripted:
        """Strong once, then weak for longer than a track lives; a weak face elsewhere."""

        def __init__(self) -> None:
            self.embedded = 0

        def detect(self, images):
            index = int(images[0][0, 0, 0])
            own = [seen(0.99 if index == 0 else 0.7, 10.0), seen(0.7, 100.0)]
            # At last there is another face, and a weak box at it that overlaps track 1's place.
            return [own if index < 10 else [seen(0.95, 45.0), seen(0.75, 25.0)]]

        def align(self, image, faces):
            return np.stack([np.full((4, 4, 3), item.box[0], np.uint8) for item in faces])

        def embed_chips(self, chips):
            self.embedded += len(chips)
            return np.stack([[1, 0] if chip[0, 0, 0] == 10 else [0, 1] for chip in chips]).astype(
                "f4"
            )

    engine = Scripted()
    matcher = SimpleNamespace(threshold=0.5, metric="cosine",
                              match=lambda vectors, *_: [Match(None)] * len(vectors))  # fmt: skip
    recognizer = VideoRecognizer(engine, matcher, rate=10, every_frame=True, strong=0.8)
    told = []
    for index in range(20):
        image = np.full((80, 200, 3), index, np.uint8)
        told += recognizer.feed(TimedFrame(index, index / 10, image))
    assert [(event.kind, event.track) for event in told] == [
        ("appeared", 1), ("appeared", 2), ("left", 1),
    ]  # fmt: skip
    assert told[2].box[0] == 10.0
    assert told[2].seconds > 1.5
    assert engine.embedded == 11


def test_on_a_terminal_events_are_sentences(run, clip, gallery, portraits):
    code, out, _ = run("recognize", "video", clip, "-g", gallery, "--table")
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("00:00.000  ")
    assert any(" identified (track " in line for line in lines)


def test_flow_follows_a_face_that_moves_and_gives_up_on_one_that_vanishes():
    picture = cv2.resize(noise(30, 40), (320, 240), interpolation=cv2.INTER_CUBIC)
    flow = Flow()
    flow.look(picture)
    moved = np.roll(picture, (4, 6), axis=(0, 1))
    flow.look(moved)
    (found,) = flow.follow([face(100, 80, 80)])
    assert found is not None
    assert found.box == pytest.approx(face(106, 84, 80).box, abs=0.5)
    flow.look(noise(240, 320, 9))
    (found,) = flow.follow([found])
    assert found is None


def test_a_cut_is_seen_and_a_movement_is_none():
    flow = Flow()
    scene = cv2.resize(noise(9, 16), (320, 180), interpolation=cv2.INTER_CUBIC)
    assert not flow.look(scene)
    assert not flow.look(np.roll(scene, 5, axis=1))
    assert flow.look(cv2.resize(noise(9, 16, 7), (320, 180), interpolation=cv2.INTER_CUBIC))


class Staged:
    """Finds each frame's own faces; a face's vector hangs on its box's size."""

    def __init__(self, scenes: dict[int, list[Face]]) -> None:
        self.scenes = scenes
        self.index = 0

    def detect(self, images):
        return [self.scenes.get(self.index, [])]

    def align(self, image, faces):
        return np.stack([np.full((4, 4, 3), item.size, np.uint8) for item in faces])

    def embed_chips(self, chips):
        return np.stack([[1, 0] if chip[0, 0, 0] == 40 else [0, 1] for chip in chips]).astype("f4")


def played(engine: Staged, frames: list[np.ndarray]):
    """The recognizer and its events after each frame."""
    from facerec.video.frames import TimedFrame
    from facerec.video.recognizer import VideoRecognizer

    nobody = SimpleNamespace(threshold=0.5, metric="cosine",
                             match=lambda vectors, *_: [Match(None)] * len(vectors))  # fmt: skip
    recognizer = VideoRecognizer(engine, nobody, rate=10, every_frame=True)
    for engine.index, image in enumerate(frames):
        told = recognizer.feed(TimedFrame(engine.index, engine.index / 10, image))
        yield recognizer, [(event.kind, event.track) for event in told]


def test_after_a_cut_faces_are_joined_by_what_they_look_like_and_not_by_place():
    dark, bright = np.zeros((120, 200, 3), np.uint8), np.full((120, 200, 3), 200, np.uint8)
    here, there, other = face(20, 20), face(120, 20), face(20, 20, 46)
    engine = Staged({0: [here], 1: [other, there], 2: [other, there]})
    steps = played(engine, [dark, bright, bright])
    recognizer, told = next(steps)
    assert told == [("appeared", 1)]
    recognizer, told = next(steps)
    assert told == [("appeared", 2)]
    assert {track.number: float(track.face.box[0]) for track in recognizer.tracks} == {
        2: 20,
        1: 120,
    }
    assert next(steps)[1] == []


def test_a_face_that_a_detection_missed_is_not_shown_but_its_place_is_still_known():
    scene = cv2.resize(noise(30, 40), (320, 240), interpolation=cv2.INTER_CUBIC)
    frames = [scene, scene, np.roll(scene, (3, 4), axis=(0, 1))]
    *_, (recognizer, _) = played(Staged({0: [face(100, 80, 80)]}), frames)
    assert recognizer.tracks == []
    (missed,) = recognizer.recent
    assert missed.face.box == pytest.approx(face(104, 83, 80).box, abs=0.5)


def test_blurred_boxes_are_beyond_recognition_and_the_rest_is_untouched():
    picture = noise(100, 100)
    hidden = blur_boxes(picture, [np.array([20, 20, 60, 60], np.float32)])
    assert np.array_equal(hidden[:20], picture[:20])
    assert hidden[25:55, 25:55].std() < picture[25:55, 25:55].std() / 4
    assert np.array_equal(blur_boxes(picture, []), picture)


@pytest.fixture
def clip_with_sound(clip: Path, tmp_path: Path) -> Path:
    """The clip with three seconds of a tone, longer than its pictures."""
    path = tmp_path / "sound.mp4"
    with av.open(str(clip)) as seen, av.open(str(path), "w") as out:
        pictures = out.add_stream_from_template(seen.streams.video[0])
        sound = out.add_stream("aac", rate=16_000, layout="mono")
        for packet in seen.demux(video=0):
            if packet.dts is not None:
                packet.stream = pictures
                out.mux(packet)
        tone = np.sin(np.arange(48_000) / 16_000 * 2 * np.pi * 440).astype(np.float32)
        for start in range(0, len(tone), 1024):
            frame = av.AudioFrame.from_ndarray(
                tone[None, start : start + 1024], format="fltp", layout="mono"
            )
            frame.sample_rate, frame.pts = 16_000, start
            out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    return path


def test_a_saved_video_keeps_the_sound_as_far_as_the_pictures_go(
    run, clip_with_sound, gallery, tmp_path
):
    saved = tmp_path / "out.mp4"
    code, _, err = run("recognize", "video", clip_with_sound, "-g", gallery, "--save", saved)
    assert (code, "without sound" in err) == (0, False)
    with av.open(str(saved)) as container:
        assert sum(1 for _ in container.decode(video=0)) == FRAMES
    with av.open(str(saved)) as container:
        heard = sum(frame.samples for frame in container.decode(audio=0))
    assert heard / 16_000 == pytest.approx(FRAMES / RATE, abs=0.1)


def test_the_face_that_was_clicked_is_enrolled_under_the_typed_name(
    run, clip, gallery, portraits, monkeypatch
):
    stranger = list(portraits)[1]
    assert run("gallery", "remove", stranger, "-g", gallery, "--force")[0] == 0
    monkeypatch.setattr("facerec.cli.video.command.has_display", lambda: True)
    terminal, stdin = os.openpty()
    monkeypatch.setattr("sys.stdin", os.fdopen(stdin, encoding="utf-8"))
    keys = iter([255] * 5 + [ord("e")] + [255] * 36 + [ord("q")])
    shown, told_of_mouse = [], []

    def wait(_: int) -> int:
        if len(shown) == 3:
            # On the second portrait's face, which has moved on when e is pressed.
            told_of_mouse[0](cv2.EVENT_LBUTTONDOWN, 515, 140, 0, None)
        if len(shown) == 10:
            os.write(terminal, "Zoë 王\n".encode())
        return next(keys)

    monkeypatch.setattr(cv2, "namedWindow", lambda _: None)
    monkeypatch.setattr(cv2, "setMouseCallback", lambda _, told: told_of_mouse.append(told))
    monkeypatch.setattr(cv2, "imshow", lambda _, picture: shown.append(picture))
    monkeypatch.setattr(cv2, "waitKey", wait)
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: None)
    code, out, err = run("recognize", "cam", clip, "-g", gallery)
    os.close(terminal)
    assert code == 0, err
    assert "Zoë 王 enrolled" in err
    told = events(out)
    first = next(event["track"] for event in told if event["name"] == "Zoë 王")
    assert all(event["name"] != "Zoë 王" for event in told if event["track"] != first)
    from facerec import Gallery

    assert Gallery.open(gallery).counts()["Zoë 王"] == 1
    # Until q, well before the end.
    assert len(shown) == 43
    at_first = next(event["box"] for event in told if event["track"] == first)
    assert at_first[0] > 400


def test_enrolling_while_it_runs_waits_for_nobody_and_mixes_no_models(gallery, portraits):
    from facerec import Engine, Gallery
    from facerec.errors import IncompatibleError, UsageError
    from facerec.files.locking import locked
    from facerec.profile.loading import Profile
    from facerec.video.people import People

    profile = Profile.load(flags={"gallery.path": str(gallery)})
    engine = Engine.from_profile(profile)
    ((face, *_),) = engine.embed([read_image(next(iter(portraits.values())), 10**8)])
    people = People(profile, engine, print)
    before = gallery.read_bytes()
    with locked(gallery), pytest.raises(UsageError, match="another facerec is writing it"):
        people.enrol("Ada", face, "camera")
    assert gallery.read_bytes() == before
    gallery.unlink()
    people.enrol("Ada", face, "camera")
    assert Gallery.open(gallery).card.calibrated_for == "model"
    Gallery(engine.card.model_copy(update={"sha256": "1" * 64})).save(gallery)
    before = gallery.read_bytes()
    with pytest.raises(IncompatibleError):
        people.enrol("Ada", face, "camera")
    assert gallery.read_bytes() == before


def test_without_a_terminal_the_window_says_where_names_are_typed(run, clip, gallery, monkeypatch):
    monkeypatch.setattr("facerec.cli.video.command.has_display", lambda: True)
    keys = iter([255, ord("e"), ord("q")])
    for name in ("namedWindow", "setMouseCallback", "imshow", "destroyAllWindows"):
        monkeypatch.setattr(cv2, name, lambda *_: None)
    monkeypatch.setattr(cv2, "waitKey", lambda _: next(keys))
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        code, _, err = run("recognize", "cam", clip, "-g", gallery)
    assert code == 0
    assert "no terminal to type a name in" in err


def test_results_with_every_frame_are_the_same_however_slow_the_machine(
    run, clip, gallery, monkeypatch
):
    told = []
    for step in (1e-4, 30.0):
        clock = itertools.count(step=step)
        monkeypatch.setattr("facerec.video.recognizer.time.perf_counter", lambda c=clock: next(c))
        told.append(run("recognize", "video", clip, "-g", gallery, "--every-frame")[1])
    assert told[0] == told[1] != ""
