"""What the default detector promises, without any data."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from facerec.detection.creation import create_detector
from facerec.detection.mtcnn import weights as mtcnn_weights
from facerec.detection.mtcnn.arrays import Scratch
from facerec.detection.mtcnn.boxes import crop, order_by_score, squared, suppress
from facerec.detection.mtcnn.detector import MTCNN, _probability
from facerec.detection.mtcnn.packing import arrange
from facerec.detection.mtcnn.pyramid import Pyramid, pyramid_levels
from facerec.detection.mtcnn.weights import load_mtcnn_weights
from facerec.errors import MissingError
from facerec.evaluation.detection import Rectangle
from facerec.faces import Face, Image
from facerec.parallel.threads import map_serially
from facerec.profile.schema import DetectorSection

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def detector() -> MTCNN:
    return MTCNN(load_mtcnn_weights())


@pytest.fixture(scope="module")
def portrait() -> Image:
    data = pytest.importorskip("skimage.data")
    image: Image = data.astronaut()
    return image


def noise(height: int, width: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def equal(one: list[Face], other: list[Face]) -> bool:
    return len(one) == len(other) and all(
        a.score == b.score and (a.box == b.box).all() and (a.landmarks == b.landmarks).all()
        for a, b in zip(one, other, strict=True)
    )


def test_the_astronaut_is_found_where_she_is(detector: MTCNN, portrait: Image) -> None:
    (face,) = detector.detect([portrait])[0]
    assert face.score > 0.99
    np.testing.assert_allclose(face.box, [182, 64, 265, 171], atol=6)
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert left_eye[1] < nose[1] < left_mouth[1]


@pytest.mark.parametrize(
    ("height", "width"), [(0, 0), (0, 9), (1, 1), (1, 500), (11, 300), (12, 12), (20, 21), (40, 13)]
)
def test_tiny_images_have_no_face(detector: MTCNN, height: int, width: int) -> None:
    assert detector.detect([noise(height, width)]) == [[]]


def test_no_images_give_no_results(detector: MTCNN) -> None:
    assert detector.detect([]) == []


def test_a_view_of_an_image_is_an_image(detector: MTCNN, portrait: Image) -> None:
    flipped = portrait[:, ::-1]
    assert equal(detector.detect([flipped])[0], detector.detect([flipped.copy()])[0])


def test_a_batch_gives_exactly_the_single_results(detector: MTCNN, portrait: Image) -> None:
    random = np.random.default_rng(1)
    images = [portrait, np.zeros((64, 80, 3), np.uint8), noise(200, 150), noise(1, 1)]
    for _ in range(8):
        top, left = random.integers(0, 120, 2)
        height, width = random.integers(150, 390, 2)
        images.append(portrait[top : top + height, left : left + width])
    together = detector.detect(images)
    assert sum(map(len, together)) >= 4
    for image, faces in zip(images, together, strict=True):
        assert equal(faces, detector.detect([image])[0])


@pytest.mark.parametrize("count", [1, 7, 40])
def test_a_score_does_not_depend_on_how_many_there_are(count: int) -> None:
    log_odds = np.random.default_rng(0).normal(0, 4, 280).astype(np.float32)
    parts = [_probability(part) for part in np.split(log_odds, len(log_odds) // count)]
    np.testing.assert_array_equal(np.concatenate(parts), _probability(log_odds))


def test_threads_that_share_a_small_image_change_nothing(portrait: Image) -> None:
    alone, shared = (MTCNN(load_mtcnn_weights(), threads=count) for count in (1, 3))
    small = portrait[:251, 90:350]
    (expected,) = alone.detect([small])
    assert expected
    assert equal(shared.detect([small])[0], expected)


def test_pictures_of_one_size_are_worked_on_together(portrait: Image) -> None:
    """Those without a face too, and one that much of is worth a close look."""
    lone = MTCNN(load_mtcnn_weights(), threads=1)
    random = np.random.default_rng(2)
    images = [portrait[top : top + 250, 100 : 100 + 280] for top in random.integers(0, 90, 17)]
    images += [np.zeros((250, 280, 3), np.uint8), noise(250, 280)]
    images.append(np.tile(cv2.resize(portrait[40:190, 140:300], (28, 25)), (10, 10, 1)))
    images = [images[place] for place in random.permutation(len(images))]
    together = lone.detect(images)
    assert sorted(map(len, together))[:2] == [0, 0]
    assert len(max(together, key=len)) > 10
    for image, faces in zip(images, together, strict=True):
        assert equal(faces, lone.detect([image])[0])


def test_four_to_a_canvas_and_the_rest_alone_give_what_each_gives(
    detector: MTCNN, portrait: Image
) -> None:
    """An odd side: cells at the levels' edges are scored apart."""
    pictures = [portrait[top : top + 131, 160:293] for top in range(0, 70, 10)]
    together = detector.detect(pictures)
    assert sum(map(len, together)) >= 5
    for picture, faces in zip(pictures, together, strict=True):
        assert equal(faces, detector.detect([picture])[0])


def test_the_number_of_threads_changes_nothing(detector: MTCNN, portrait: Image) -> None:
    lone = MTCNN(load_mtcnn_weights(), threads=1)
    many = MTCNN(load_mtcnn_weights(), threads=3)
    faces = detector.detect([portrait])[0]
    assert equal(faces, lone.detect([portrait])[0])
    assert equal(faces, many.detect([portrait])[0])


def test_a_detector_leaves_pytorchs_threads_as_they_were() -> None:
    before = torch.get_num_threads()
    MTCNN(load_mtcnn_weights(), threads=3)
    assert torch.get_num_threads() == before


def test_more_candidates_than_allowed_keep_the_best(portrait: Image) -> None:
    capped = MTCNN(load_mtcnn_weights(), thresholds=(0.0, 0.7, 0.8), max_candidates=300)
    faces = capped.detect([portrait, noise(300, 400)])
    assert len(faces[0]) == 1
    np.testing.assert_allclose(faces[0][0].box, [182, 64, 265, 171], atol=10)


def test_a_larger_smallest_face_finds_the_astronaut_still(portrait: Image) -> None:
    assert len(MTCNN(load_mtcnn_weights(), min_face=60).detect([portrait])[0]) == 1


@given(
    side=st.integers(90, 420),
    least=st.floats(12, 60),
    factor=st.floats(1, 4),
    left=st.integers(0, 90),
)
@settings(deadline=None, max_examples=8, derandomize=True)
def test_a_smaller_smallest_face_never_loses_one(
    portrait: Image, side: int, least: float, factor: float, left: int
) -> None:
    image = cv2.resize(
        portrait[20:420, left : left + 400], (side, side), None, 0, 0, cv2.INTER_AREA
    )
    weights = load_mtcnn_weights()
    small, large = (
        MTCNN(weights, min_face=size, threads=1).detect([image])[0]
        for size in (least, least * factor)
    )
    for face in large:
        if face.size >= least * factor:
            region = Rectangle(*map(float, face.box))
            assert any(region.overlap(other.box) > 0.5 for other in small)


@given(
    shorter=st.integers(1, 3000),
    least=st.floats(12, 300),
    factor=st.floats(1, 10),
    ratio=st.floats(0.3, 0.95),
)
def test_levels_of_a_larger_smallest_face_are_among_those_of_a_smaller_one(
    shorter: int, least: float, factor: float, ratio: float
) -> None:
    small, large = (
        pyramid_levels(shorter, shorter + 50, size, ratio) for size in (least, least * factor)
    )
    assert len(set(small)) == len(small)
    assert set(large) <= set(small)
    assert all(level.scale <= 1 for level in small)


@pytest.mark.parametrize("shorter", [250, 630, 1158])
def test_the_default_levels_are_those_of_mtcnn(shorter: int) -> None:
    scale, expected = 12 / 20, []
    for _ in range(round(np.log(shorter / 12) / -np.log(0.709) - 1)):
        if int(scale * shorter) >= 12:
            expected.append(scale)
        scale *= 0.709
    levels = pyramid_levels(shorter, shorter + 50, 20, 0.709)
    np.testing.assert_allclose([level.scale for level in levels], expected)


def test_a_damaged_weights_file_is_never_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pnet.lz4"
    path.write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    monkeypatch.setattr(mtcnn_weights, "package_file", lambda *_: path)
    with pytest.raises(MissingError, match="damaged"):
        load_mtcnn_weights()


def test_mtcnn_tensorflow_without_tensorflow_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("facerec.detection.tensorflow.find_spec", lambda _: None)
    with pytest.raises(MissingError, match=r"facerec\[tensorflow\]"):
        create_detector(DetectorSection(name="mtcnn-tensorflow"))


def naive_suppress(boxes: np.ndarray, threshold: float, overlap: str) -> list[bool]:
    def share(a: np.ndarray, b: np.ndarray) -> float:
        sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
        shared = np.prod(np.maximum(sides, 0))
        one, other = np.prod(a[2:] - a[:2]), np.prod(b[2:] - b[:2])
        return float(shared / (one + other - shared if overlap == "union" else min(one, other)))

    return [
        not any(share(boxes[j], boxes[i]) > threshold for j in range(i)) for i in range(len(boxes))
    ]


@given(
    corners=arrays(
        np.int32, st.tuples(st.integers(0, 200), st.just(4)), elements=st.integers(1, 9)
    ),
    overlap=st.sampled_from(["union", "min"]),
)
@settings(deadline=None, max_examples=60)
def test_suppression_equals_the_comparison_pair_by_pair(corners: np.ndarray, overlap: str) -> None:
    boxes = np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:]], 1).astype(np.float32)
    # 0.5123 is no quotient of areas this small, so rounding cannot decide.
    expected = naive_suppress(boxes.astype(np.float64), 0.5123, overlap)
    for kind in (boxes, torch.from_numpy(boxes)):
        assert suppress(kind, 0.5123, overlap).tolist() == expected  # type: ignore[type-var,arg-type]


@given(
    corners=arrays(
        np.int32, st.tuples(st.integers(1, 300), st.just(4)), elements=st.integers(1, 9)
    ),
    cut=st.floats(0, 1),
)
@settings(deadline=None, max_examples=60)
def test_groups_are_suppressed_each_by_itself(corners: np.ndarray, cut: float) -> None:
    boxes = np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:]], 1).astype(np.float32)
    first = int(cut * len(boxes))
    sizes = [first, 0, len(boxes) - first]
    apart = [suppress(part, 0.5123, "union") for part in (boxes[:first], boxes[first:])]
    expected = np.concatenate(apart).tolist()
    assert suppress(boxes, 0.5123, "union", sizes=sizes).tolist() == expected
    kept = suppress(torch.from_numpy(boxes), 0.5123, "union", sizes=sizes)
    assert kept.tolist() == expected


@given(scores=arrays(np.float32, st.integers(0, 60), elements=st.integers(0, 3)))
def test_groups_are_ranked_each_by_itself_and_cut(scores: np.ndarray) -> None:
    sizes = [len(scores) // 2, len(scores) - len(scores) // 2]
    ranked = order_by_score(scores, sizes, 5).tolist()
    parts = [ranked[: min(sizes[0], 5)], ranked[min(sizes[0], 5) :]]
    for part, group, start in zip(parts, np.split(scores, sizes[:1]), (0, sizes[0]), strict=True):
        places = np.array(part, int) - start
        assert len(set(part)) == len(part) == min(len(group), 5)
        np.testing.assert_array_equal(group[places], np.sort(group)[::-1][:5])


@given(
    height=st.integers(12, 3000), width=st.integers(12, 3000), min_face=st.floats(12, 200),
    images=st.sampled_from([1, 1, 4]),
)  # fmt: skip
@settings(deadline=None, max_examples=100)
def test_every_cell_lies_inside_the_canvas_by_itself(
    height: int, width: int, min_face: float, images: int
) -> None:
    levels = pyramid_levels(height, width, min_face, 0.709) * images
    if not levels:
        return
    layout = arrange(levels[: len(levels) // images], images)
    assert layout.levels == levels
    taken = np.zeros((layout.height, layout.width), bool)
    seen = [np.zeros((level.rows, level.columns), bool) for level in levels]
    for strip in layout.strips:
        place = taken[2 * strip.top :, 2 * strip.left :][: strip.height, : strip.width]
        assert place.shape == (strip.height, strip.width)
        assert not place.any()
        place[:] = True
        cells = seen[strip.level][: strip.rows, strip.first : strip.first + strip.columns]
        assert cells.shape == (strip.rows, strip.columns)
        assert not cells.any()
        cells[:] = True
    assert all(cells.all() for cells in seen)


@pytest.mark.parametrize(("height", "width"), [(97, 131), (300, 1500)])
def test_every_level_is_the_area_mean(height: int, width: int) -> None:
    """The second picture's largest level does not fit the canvas in one strip."""
    image = noise(height, width)
    levels = pyramid_levels(height, width, 20, 0.709)
    layout = arrange(levels)
    canvases = np.zeros((2, layout.height, layout.width, 3), np.float32)
    Pyramid(height, width, levels, layout.strips).fill(canvases, [image, image[::-1]], map_serially)
    assert len(layout.strips) > len(layout.levels) or width < 700
    for strip in layout.strips:
        level = layout.levels[strip.level]
        down, across = (
            np.clip(
                np.minimum(np.arange(1, count + 1)[:, None] * side / count, np.arange(1, side + 1))
                - np.maximum(np.arange(count)[:, None] * side / count, np.arange(side)),
                0,
                None,
            )
            * (count / side)
            for count, side in ((level.height, height), (level.width, width))
        )
        for canvas, picture in zip(canvases, (image, image[::-1]), strict=True):
            expected = np.einsum("ay,yxc,bx->abc", down, picture - 127.5, across, optimize=True)
            # a level of odd size repeats its last row and column
            odd = (0, level.height % 2), (0, level.width % 2), (0, 0)
            expected = np.pad(expected, odd, "edge")[:, 2 * strip.first :][:, : strip.width]
            place = canvas[2 * strip.top :, 2 * strip.left :][: strip.height, : strip.width]
            np.testing.assert_allclose(place, expected, atol=0.02)


def test_memory_is_used_again_by_the_same_thread_alone() -> None:
    scratch = Scratch()
    first = scratch.empty("a", (4, 5))
    assert np.shares_memory(first, scratch.empty("a", (2, 3)))
    assert not np.shares_memory(first, scratch.empty("b", (4, 5)))
    there: list[np.ndarray] = []
    thread = Thread(target=lambda: there.append(scratch.empty("a", (4, 5))))
    thread.start()
    thread.join()
    assert not np.shares_memory(first, there[0])
    large = scratch.empty("a", (12_000_001,))
    assert not np.shares_memory(large, scratch.empty("a", (12_000_001,)))


def test_a_crop_of_the_whole_image_has_its_corners() -> None:
    images = torch.rand(3, 24, 24, 3)
    boxes, of = torch.tensor([[0.0, 0.0, 24.0, 24.0]] * 3), np.array([0, 0, 2])
    whole = crop(images, boxes, of, 24).permute(0, 2, 3, 1)
    torch.testing.assert_close(whole, images[of], atol=1e-3, rtol=0)


def test_a_crop_beyond_the_image_is_zero() -> None:
    boxes = torch.tensor([[-30.0, 5.0, -10.0, 25.0]])
    outside = crop(torch.rand(1, 24, 24, 3) + 1, boxes, np.zeros(1, int), 24)
    assert (outside == 0).all()


def test_squares_keep_their_centre() -> None:
    boxes = torch.tensor([[0.0, 0.0, 4.0, 10.0], [3.0, 3.0, 9.0, 5.0]])
    expected = torch.tensor([[-3.0, 0.0, 7.0, 10.0], [3.0, 1.0, 9.0, 7.0]])
    torch.testing.assert_close(squared(boxes), expected)
