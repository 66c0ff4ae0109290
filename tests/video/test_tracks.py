"""How a track comes to its name, keeps it and loses it; when a frame is looked into."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import pytest

from facerec import Gallery
from facerec.faces import Face
from facerec.gallery.match import Matcher
from facerec.profile.schema import RecognizeSection
from facerec.video.frames import TimedFrame
from facerec.video.recognizer import Event, VideoRecognizer, _quality
from facerec.video.tracks import Flow
from tests.conftest import make_card
from tests.video.test_video import face, noise

RATE = 10
THRESHOLD = 0.1
CARD = make_card()
SCENE = np.full((120, 240, 3), 90, np.uint8)
# A direction a person, and one that all strangers share.
ADA, BOB, STRANGER = np.eye(4, dtype=np.float32)[:3]


def off(person: np.ndarray, distance: float, towards: np.ndarray = STRANGER) -> np.ndarray:
    """A unit vector at that cosine distance from a person."""
    cosine = 1 - distance
    return np.float32(cosine * person + np.sqrt(1 - cosine**2) * towards)


class Scripted:
    """Finds each frame's own faces, which carry their vectors."""

    def __init__(self, frames: Sequence[Sequence[tuple[Face, np.ndarray]]]) -> None:
        self._frames = frames
        self.index = 0
        self.detected: list[int] = []

    def detect(self, images):
        self.detected.append(self.index)
        return [
            [dataclasses.replace(one, embedding=vector) for one, vector in self._frames[self.index]]
        ]

    def align(self, image, faces):
        return np.stack([one.embedding for one in faces])

    def embed_chips(self, chips):
        return chips


@pytest.fixture
def acquaintances() -> Matcher:
    gallery = Gallery(CARD)
    for name, vector in (("Ada", ADA), ("Bob", BOB)):
        gallery.add(name, [dataclasses.replace(face(0, 0), embedding=vector)], "test")
    return Matcher(gallery, RecognizeSection(threshold=THRESHOLD), CARD)


@pytest.fixture
def play(acquaintances: Matcher) -> Callable[..., list[Event]]:
    """The events of frames in which faces are found, with Ada and Bob known."""

    def events(frames: Sequence[Sequence[tuple[Face, np.ndarray]]]) -> list[Event]:
        engine = Scripted(frames)
        recognizer = VideoRecognizer(engine, acquaintances, rate=RATE, every_frame=True)
        told = []
        for engine.index in range(len(frames)):
            told += recognizer.feed(TimedFrame(engine.index, engine.index / RATE, SCENE))
        return told

    return events


def names(told: Sequence[Event]) -> list[tuple[str | None, float]]:
    """What was written at a face, and when."""
    return [(one.name, one.seconds) for one in told if one.kind in ("identified", "changed")]


def alone(*distances: float, person: np.ndarray = ADA) -> list[list[tuple[Face, np.ndarray]]]:
    return [[(face(20, 20), off(person, distance))] for distance in distances]


def test_a_name_that_is_clear_is_told_at_once(play):
    assert names(play(alone(0.02))) == [("Ada", 0.0)]


def test_looks_about_the_threshold_neither_take_a_name_away_nor_flicker(play):
    assert names(play(alone(0.05, *[0.12, 0.09, 0.115, 0.1] * 20))) == [("Ada", 0.0)]


def test_one_lucky_look_names_no_stranger(play):
    assert names(play(alone(0.095, 0.14, 0.16, 0.15, 0.094, 0.15))) == []


def test_a_name_near_the_threshold_is_told_when_it_comes_twice(play):
    assert names(play(alone(0.095, 0.095))) == [("Ada", 0.1)]


def test_a_wrong_name_does_not_stick_once_the_looks_are_a_strangers(play):
    told = names(play(alone(0.02, 0.02, *[0.3] * 30)))
    assert [name for name, _ in told] == ["Ada", None]
    assert told[1][1] < 1.5


def test_a_track_that_went_over_to_somebody_else_becomes_theirs(play):
    frames = [[(face(20, 20), ADA)]] * 20 + [[(face(20, 20), BOB)]] * 80
    told = names(play(frames))
    assert [name for name, _ in told] in (["Ada", "Bob"], ["Ada", None, "Bob"])
    assert 2.0 < told[0][1] + told[-1][1] < 4.0


def test_who_takes_a_persons_place_bears_the_name_for_two_looks_only(play):
    told = names(play(alone(*[0.0] * 60, *[0.3] * 20)))
    assert [name for name, _ in told] == ["Ada", None]
    assert told[1][1] <= 6.0 + 3 / RATE


def test_a_look_that_is_unlike_is_followed_by_an_early_one(acquaintances, monkeypatch):
    monkeypatch.setattr(Flow, "follow", lambda _, faces: list(faces))
    engine = Scripted(alone(*[0.0] * 60, *[0.15] * 40))
    recognizer = VideoRecognizer(engine, acquaintances, rate=RATE)
    recognizer._interval = lambda: 5  # type: ignore[method-assign]
    told, before = [], 0
    for engine.index in range(100):
        told += recognizer.feed(TimedFrame(engine.index, engine.index / RATE, SCENE))
        before += engine.index == 59 and recognizer.timings.embeddings
    (_, (name, lost)) = names(told)
    assert name is None
    # The next refresh, and two detections after two fifths of their interval.
    assert lost <= 6.0 + 1.0 + 2 * 2 / RATE
    # While it has its name, one a second.
    assert before <= 7


def test_one_look_that_is_unlike_or_those_of_a_turned_head_take_no_name_away(play):
    known = [[(face(20, 20), ADA)]]
    ahead = face(20, 20)
    turned = ahead.landmarks.copy()
    turned[2, 0] = turned[1, 0]
    aside = [[(dataclasses.replace(ahead, landmarks=turned), off(ADA, 0.3))]]
    one = [[(face(20, 20), off(ADA, 0.3))]]
    frames = known * 30 + one + known * 10 + one + known * 10 + aside * 3 + known * 10
    assert names(play(frames)) == [("Ada", 0.0)]


def test_nobody_is_two_faces_at_any_time(play):
    first, second = face(20, 20), face(140, 20)
    nearly = [(first, off(ADA, 0.07)), (second, off(BOB, 0.3))]
    frames = [nearly] * 5 + [[(first, off(ADA, 0.07)), (second, off(ADA, 0.01))]] * 60
    told = play(frames)
    held: dict[int, str | None] = {}
    for index in range(len(frames)):
        for one in told:
            if one.seconds == pytest.approx(index / RATE):
                held[one.track] = one.name
        known = [name for name in held.values() if name]
        assert len(known) == len(set(known))
    assert held == {1: None, 2: "Ada"}


def test_a_rival_who_is_hardly_nearer_takes_no_name(play):
    both = [(face(20, 20), off(ADA, 0.05)), (face(140, 20), off(ADA, 0.045))]
    assert names(play([both[:1]] * 3 + [both] * 30)) == [("Ada", 0.0)]


def test_a_head_that_is_turned_away_weighs_less():
    ahead = face(0, 0, 120)
    turned = ahead.landmarks.copy()
    turned[2, 0] = turned[1, 0]
    assert _quality(dataclasses.replace(ahead, landmarks=turned)) == pytest.approx(
        _quality(ahead) / 2**0.5, rel=1e-3
    )
    assert _quality(face(0, 0, 56)) == pytest.approx(_quality(ahead) / 2)


def looked_into(frames: int, pictures: Sequence[np.ndarray], interval: int, matcher) -> list[int]:
    """Which frames are detected in when detection's cost allows every n-th."""
    engine = Scripted([[(face(20, 20), ADA)]] * frames)
    recognizer = VideoRecognizer(engine, matcher, rate=RATE)
    recognizer._interval = lambda: interval  # type: ignore[method-assign]
    for engine.index in range(frames):
        picture = pictures[engine.index % len(pictures)]
        recognizer.feed(TimedFrame(engine.index, engine.index / RATE, picture))
    return engine.detected


@pytest.fixture
def matcher() -> Matcher:
    return Matcher(Gallery(CARD), RecognizeSection(threshold=THRESHOLD), CARD)


def test_a_single_cut_is_looked_into_at_once(matcher):
    pictures = [SCENE] * 25 + [SCENE + 100] * 25
    assert 25 in looked_into(50, pictures, 10, matcher)


def test_a_strobe_is_not_detected_in_each_frame(matcher):
    detected = looked_into(200, [SCENE, SCENE + 100], 10, matcher)
    assert 200 / 10 <= len(detected) <= 200 / 4 + 2


def test_between_a_strobes_flashes_a_face_may_still_be_where_it_was(matcher):
    engine = Scripted([[(face(20, 20), ADA)]] * 40)
    recognizer = VideoRecognizer(engine, matcher, rate=RATE)
    recognizer._interval = lambda: 10  # type: ignore[method-assign]
    for engine.index in range(40):
        picture = SCENE + 100 * (engine.index % 2)
        recognizer.feed(TimedFrame(engine.index, engine.index / RATE, np.uint8(picture)))
        assert [float(track.face.box[0]) for track in recognizer.possible] == [20.0]
    assert len(engine.detected) < 40


def test_nothing_is_followed_in_a_frame_that_is_detected_in_and_finds_all(matcher, monkeypatch):
    followed = []
    monkeypatch.setattr(Flow, "follow", lambda _, faces: followed.append(len(faces)) or list(faces))
    engine = Scripted([[(face(20, 20), ADA)]] * 5)
    recognizer = VideoRecognizer(engine, matcher, rate=RATE, every_frame=True)
    for engine.index in range(5):
        recognizer.feed(TimedFrame(engine.index, engine.index / RATE, SCENE))
    assert sum(followed) == 0


def test_the_wait_follows_the_measured_cost_and_forgets_a_slow_beginning(matcher, monkeypatch):
    clock = iter(np.cumsum([0.0] + [3.0] + [0.0, 0.005] * 400).tolist())
    monkeypatch.setattr("facerec.video.recognizer.time.perf_counter", lambda: next(clock))
    engine = Scripted([[]] * 60)
    recognizer = VideoRecognizer(engine, matcher, rate=RATE)
    for engine.index in range(60):
        recognizer.feed(TimedFrame(engine.index, engine.index / RATE, SCENE))
    # Five milliseconds are less than a quarter of the tenth of a second between frames.
    assert engine.detected[-20:] == list(range(40, 60))


def test_a_still_face_stays_one_track_however_rarely_a_slow_detector_looks(matcher, monkeypatch):
    clock = iter(np.cumsum([0.0] + [0.35, 0.0] * 400).tolist())
    monkeypatch.setattr("facerec.video.recognizer.time.perf_counter", lambda: next(clock))
    scene = cv2.resize(noise(30, 60), (240, 120), interpolation=cv2.INTER_CUBIC)
    engine = Scripted([[(face(20, 20), STRANGER)]] * 60 + [[]] * 40)
    recognizer = VideoRecognizer(engine, matcher, rate=RATE)
    told = []
    for engine.index in range(100):
        frame = TimedFrame(engine.index, engine.index / RATE, scene)
        told += recognizer.feed(frame)
        if 20 <= engine.index < 60:
            assert [track.number for track in recognizer.tracks] == [1]
    gaps = np.diff([index for index in engine.detected if 20 <= index < 60])
    # The detections lie further apart than a track lives that none of them finds.
    assert gaps.min() / RATE > 0.7
    assert [one.kind for one in told] == ["appeared", "left"]
    assert round(told[1].seconds * RATE) in engine.detected
