from __future__ import annotations

import copy
import itertools
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from facerec.engine.engine import Engine
from facerec.errors import InputError, UsageError
from facerec.faces import Frame
from facerec.imaging.decode import read_image
from facerec.imaging.reader import read_frames
from facerec.profile.loading import Profile
from tests.conftest import make_card, make_face, noise

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def photo(portraits: dict[str, Path]) -> np.ndarray:
    return read_image(portraits["grace_hopper"], 10**7)


def test_detect_gives_a_list_of_faces_per_image(engine, photo: np.ndarray) -> None:
    one, none = engine.detect([photo, noise(100, 70)])
    assert (len(one), none) == (1, [])
    (face,) = one
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert left_eye[1] < nose[1] < left_mouth[1]
    assert face.box.dtype == face.landmarks.dtype == np.float32


def test_embed_gives_each_face_a_unit_vector(engine, photo: np.ndarray) -> None:
    (faces,) = engine.embed([photo])
    assert np.linalg.norm(faces[0].embedding) == pytest.approx(1, abs=1e-5)
    assert engine.embed([]) == []
    assert engine.embed([noise(40, 40)]) == [[]]


def test_a_vector_does_not_depend_on_its_company(engine, photo: np.ndarray) -> None:
    alone = engine.embed([photo])[0][0]
    together = engine.embed([noise(90, 60), photo[:, ::-1].copy(), photo])[2][0]
    assert np.array_equal(alone.box, together.box)
    assert np.abs(alone.embedding - together.embedding).max() < 1e-5


def test_a_stream_keeps_its_order_and_passes_failures_through(engine, photo: np.ndarray) -> None:
    broken = Frame("broken", None, error=InputError("broken: no"))
    frames = [Frame("a", photo), broken, Frame("b", noise(30, 30)), Frame("c", photo)]
    found = list(engine.faces(iter(frames)))
    assert [frame.source for frame, _ in found] == ["a", "broken", "b", "c"]
    assert [len(faces) for _, faces in found] == [1, 0, 0, 1]
    assert found[1][0].error is broken.error


class Scripted:
    """Finds one face in each picture, and embeds; either may be told to wait."""

    arithmetic = "none"

    def __init__(self) -> None:
        self.card = make_card(2)
        self.detected: list[int] = []
        self.second_begun, self.first_embedded = threading.Event(), False

    def detect(self, images):
        for image in images:
            self.detected.append(int(image[0, 0, 0]))
            if len(self.detected) == 2:
                self.second_begun.set()
        return [[make_face(1, 0)] for _ in images]

    def embed(self, chips):
        if not self.first_embedded:
            self.first_embedded = self.second_begun.wait(10)
        return np.tile(np.float32([1, 0]), (len(chips), 1))


def test_later_pictures_are_detected_while_earlier_ones_are_embedded() -> None:
    both = Scripted()
    frames = [Frame(str(n), np.full((20, 20, 3), n, np.uint8)) for n in range(6)]
    stream = Engine(both, both, batch=3).faces(frames)
    assert [frame.source for frame, _ in stream] == list("012345")
    assert both.first_embedded
    assert both.detected == list(range(6))


def test_a_detector_that_fails_ends_the_stream_where_it_failed() -> None:
    class Failing(Scripted):
        def detect(self, images):
            if images[0][0, 0, 0] == 4:
                raise MemoryError
            return super().detect(images)

    both = Failing()
    frames = (Frame(str(n), np.full((20, 20, 3), n, np.uint8)) for n in itertools.count())
    seen = []
    with pytest.raises(MemoryError):
        for frame, _ in Engine(both, both, batch=3).faces(frames):
            seen.append(frame.source)
    assert seen == list("0123")


def test_a_stream_is_read_no_further_than_a_batch_ahead(engine) -> None:
    asked = 0

    def endless() -> Iterator[Frame]:
        nonlocal asked
        while True:
            asked += 1
            yield Frame(str(asked), noise(20, 20))

    next(engine.faces(endless()))
    assert asked <= Profile().runtime.batch


def test_frames_are_read_in_order_with_what_is_unwanted_left_undecoded(
    portraits: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"bad")
    paths = [portraits["grace_hopper"], tmp_path / "bad.jpg", portraits["eileen_collins"]]
    frames = list(read_frames(paths * 5, workers=2, max_pixels=10**7))
    assert [frame.source for frame in frames] == [str(path) for path in paths * 5]
    assert [frame.image is None for frame in frames] == [False, True, False] * 5
    unwanted = list(read_frames(paths, workers=1, max_pixels=10**7, wanted=lambda *_: False))
    assert all(frame.image is None and frame.error is None for frame in unwanted)
    assert len({frame.sha256 for frame in unwanted}) == 3


@pytest.mark.parametrize("settings", [[], ["model.augment=views"]])
@pytest.mark.parametrize("side", [150, 112, 40])
def test_a_face_without_landmarks_is_its_whole_image(
    settings: list[str], side: int, photo: np.ndarray
) -> None:
    engine = Engine.from_profile(Profile.load(settings=settings))
    aligned = engine.align(photo, engine.detect([photo])[0])[0]
    chip = cv2.resize(aligned, (side, side), interpolation=cv2.INTER_AREA)
    (face,) = engine.embed([chip], aligned=True)[0]
    assert np.isnan(face.landmarks).all()
    (again,) = engine.embed(engine.align(chip, [face]), aligned=True)[0]
    assert again.embedding @ face.embedding == pytest.approx(1, abs=1e-5)
    (vector,) = engine.embed_found([(chip, face)])
    assert vector @ face.embedding == pytest.approx(1, abs=1e-5)
    assert engine.quality([(chip, face)])[0] == pytest.approx(face.quality, abs=1e-5)
    if side == 150:
        assert np.array_equal(engine.align(chip, [face])[0], chip)


def test_a_face_without_landmarks_is_not_sought_in_a_photo(engine, photo: np.ndarray) -> None:
    (face,) = engine.embed([noise(150, 150)], aligned=True)[0]
    calls = [engine.embed_found, engine.quality, lambda found: engine.align(photo, [face])]
    for call in calls:
        with pytest.raises(UsageError, match=r"an aligned image of \d+x\d+, but the model takes"):
            call([(photo, face)])


def test_what_is_no_image_is_refused_with_what_it_is(engine, photo: np.ndarray) -> None:
    face = engine.detect([photo])[0][0]
    wrong: dict[str, object] = {
        r"an array of shape \(\d+, \d+, 3\) and type float": photo / 255,
        "and type float32": photo.astype(np.float32),
        r"an array of shape \(\d+, \d+\) and": photo[..., 0],
        r"an array of shape \(\d+, \d+, 4\) and": np.dstack([photo, photo[..., :1]]),
        "not 'obama.jpg'": "obama.jpg",
        "not a NoneType": None,
        "not a Tensor": torch.from_numpy(photo),
    }
    calls: list[Callable[[object], object]] = [
        lambda image: engine.detect([photo, image]),
        lambda image: engine.embed([image]),
        lambda image: engine.embed([image], aligned=True),
        lambda image: engine.embed_found([(image, face)]),
        lambda image: engine.quality([(image, face)]),
        lambda image: engine.align(image, [face]),
    ]
    for (message, image), call in itertools.product(wrong.items(), calls):
        with pytest.raises(UsageError, match=rf"as facerec\.read_image reads it; .*{message}"):
            call(image)
    for single in (photo, "obama.jpg", None):
        with pytest.raises(UsageError, match="a list of images is wanted, not"):
            engine.detect(single)
        with pytest.raises(UsageError, match="a list of images is wanted, not"):
            engine.embed(single)
    with pytest.raises(UsageError, match="and type float"):
        engine.embed_chips(engine.align(photo, [face]) / 255)


def test_what_does_not_fit_is_a_usage_error(engine, photo: np.ndarray) -> None:
    face = engine.detect([photo])[0][0]
    for chips in (np.zeros((2, 112, 112, 3), np.uint8), [noise(150, 150), noise(112, 112)]):
        with pytest.raises(UsageError, match=r"a chip of 112x112, but .* takes 150x150"):
            engine.embed_chips(chips)
    nothing = np.zeros((0, 0, 3), np.uint8)
    with pytest.raises(UsageError, match="an aligned image has no pixels"):
        engine.embed([nothing], aligned=True)
    for call in (engine.embed_found, engine.quality, lambda found: engine.align(nothing, [face])):
        with pytest.raises(UsageError, match="an image of 0x0 pixels shows no face"):
            call([(nothing, face)])
    for profile in (None, {}, 3):
        with pytest.raises(UsageError, match="a profile is a name or a file, not a"):
            Engine.from_profile(profile)


def test_chips_may_be_a_list(engine) -> None:
    chips = [noise(150, 150), noise(150, 150, seed=1)]
    assert np.array_equal(engine.embed_chips(chips), engine.embed_chips(np.stack(chips)))
    assert engine.embed_chips([]).shape == (0, 128)


def test_an_engine_that_is_sent_to_another_process_says_to_make_one_there(engine) -> None:
    for send in (pickle.dumps, copy.deepcopy):
        with pytest.raises(UsageError, match=r"cannot be pickled .* in each process, by Engine\."):
            send(engine)
    assert copy.copy(engine).card == engine.card
    assert pickle.loads(pickle.dumps(Profile())) == Profile()
