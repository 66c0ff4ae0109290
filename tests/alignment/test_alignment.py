from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from facerec.alignment.warp import (
    ARCFACE,
    adapt_chip,
    central_face,
    crop_box,
    crop_in_pixels,
    similarity_to_template,
    warp,
    warp_to_template,
)
from facerec.card import Template
from facerec.errors import UsageError
from facerec.faces import Face
from tests.conftest import make_face, noise

pytestmark = pytest.mark.numeric

POINTS = np.array(ARCFACE.points, np.float32)


@given(st.floats(-180, 180), st.floats(0.05, 20), st.floats(-1000, 1000), st.floats(-1000, 1000))
def test_a_moved_template_is_moved_back(
    turn: float, scale: float, right: float, down: float
) -> None:
    angle = np.deg2rad(turn)
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = (POINTS @ rotation.T + [right, down]).astype(np.float32)
    matrix = similarity_to_template(landmarks, ARCFACE)
    back = landmarks.astype(np.float64) @ matrix[:, :2].T + matrix[:, 2]
    assert np.abs(back - POINTS).max() < 0.05


def test_it_is_a_least_squares_optimum() -> None:
    landmarks = POINTS + np.random.default_rng(0).normal(0, 3, (5, 2)).astype(np.float32)
    best = similarity_to_template(landmarks, ARCFACE)

    def error(a: float, b: float, x: float, y: float) -> float:
        matrix = np.array([[a, -b], [b, a]])
        return float(((landmarks @ matrix.T + [x, y] - POINTS) ** 2).sum())

    found = (best[0, 0], best[1, 0], best[0, 2], best[1, 2])
    least = error(*found)
    for index in range(4):
        for step in (-1e-2, 1e-2):
            moved = list(found)
            moved[index] += step
            assert error(*moved) > least


def test_landmarks_in_one_point_do_not_divide_by_zero() -> None:
    matrix = similarity_to_template(np.full((5, 2), 7, np.float32), ARCFACE)
    assert np.isfinite(matrix).all()


def test_the_landmarks_land_on_the_template() -> None:
    image = np.zeros((400, 400, 3), np.uint8)
    landmarks = POINTS * 2 + 60
    for x, y in landmarks.round().astype(int):
        image[y - 3 : y + 4, x - 3 : x + 4] = 255
    face = Face(np.array([0, 0, 400, 400], np.float32), 1.0, landmarks.astype(np.float32))
    chip = warp_to_template(image, [face], ARCFACE, (112, 112))[0]
    for x, y in POINTS.round().astype(int):
        assert chip[y, x].min() > 200
    assert chip.mean() < 10


def test_a_face_beside_the_image_gives_a_black_chip() -> None:
    face = Face(np.zeros(4, np.float32), 1.0, POINTS + 10_000)
    assert not warp_to_template(noise(50, 50), [face], ARCFACE, (112, 112)).any()


def test_no_faces_give_no_chips() -> None:
    assert warp_to_template(noise(9, 9), [], ARCFACE, (112, 112)).shape == (0, 112, 112, 3)


def test_a_large_face_is_averaged_not_sampled() -> None:
    checked = np.zeros((1200, 1200, 3), np.uint8)
    checked[::2, ::2] = checked[1::2, 1::2] = 255
    chip = warp(checked, np.array([[0.1, 0, 0], [0, 0.1, 0]], np.float32), (120, 120))
    assert chip[5:-5, 5:-5].std() < 3
    assert chip[5:-5, 5:-5].mean() == pytest.approx(127.5, abs=3)


@pytest.mark.parametrize("scale", [0.5, 0.34, 0.21, 0.1])
def test_shrinking_first_does_not_move_the_picture(scale: float) -> None:
    ramp = np.tile(np.linspace(0, 255, 1000), (1000, 1)).astype(np.uint8)
    image = np.repeat(ramp[..., None], 3, axis=2)
    chip = warp(image, np.array([[scale, 0, 0], [0, scale, 0]], np.float32), (100, 100))
    expected = np.arange(10, 90) / scale * 255 / 999
    inside = expected < 250
    assert np.abs(chip[50, 10:90, 0] - expected)[inside].max() < 2


def test_a_chip_of_the_models_size_is_taken_as_it_is() -> None:
    chip = noise(150, 150)
    assert adapt_chip(chip, ARCFACE, (150, 150)) is chip


def test_an_arcface_chip_is_moved_to_the_models_template() -> None:
    chip = np.zeros((112, 112, 3), np.uint8)
    x, y = POINTS[2].round().astype(int)
    chip[y - 3 : y + 4, x - 3 : x + 4] = 255
    template = Template(
        name="moved", points=tuple((float(x) + 20, float(y) + 30) for x, y in ARCFACE.points)
    )
    moved = adapt_chip(chip, template, (150, 150))
    assert moved[y + 30, x + 20].min() == 255
    assert not moved[:30].any()


def test_what_is_not_square_is_refused_with_a_way_out() -> None:
    with pytest.raises(UsageError, match=r"aligned image of 60x50, .* leave out `aligned`"):
        adapt_chip(noise(50, 60), ARCFACE, (150, 150))


def test_a_template_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="called arcfac; did you mean arcface"):
        adapt_chip(noise(150, 150), ARCFACE, (150, 150), "arcfac")  # type: ignore[arg-type]


@pytest.mark.parametrize("side", [56, 160, 224])
def test_a_square_chip_of_any_size_is_taken(side: int) -> None:
    chip = noise(side, side)
    whole = adapt_chip(chip, ARCFACE, (112, 112), "none")
    assert whole.shape == (112, 112, 3)
    np.testing.assert_array_equal(adapt_chip(chip, ARCFACE, (112, 112)), whole)
    np.testing.assert_array_equal(adapt_chip(chip, ARCFACE, (112, 112), "model"), whole)


def test_a_larger_arcface_chip_is_moved_by_its_scaled_template() -> None:
    chip = np.zeros((224, 224, 3), np.uint8)
    x, y = (2 * POINTS[2]).round().astype(int)
    chip[y - 6 : y + 7, x - 6 : x + 7] = 255
    template = Template(
        name="moved", points=tuple((float(x) + 20, float(y) + 30) for x, y in ARCFACE.points)
    )
    moved = adapt_chip(chip, template, (150, 150), "arcface")
    assert moved[y // 2 + 30, x // 2 + 20].min() > 200
    assert not moved[:30].any()


def test_a_crop_in_pixels_is_cut_off_at_the_edges_and_stretched() -> None:
    image = noise(90, 120)
    inside = crop_in_pixels(image, make_face(1, 0, box=(30.9, 20.2, 70.7, 65.5)), (112, 112), 10)
    # Truncated to whole pixels: 25 to 75, and 15 to 70.
    expected = Pillow.fromarray(image[15:70, 25:75]).resize((112, 112), Pillow.Resampling.BILINEAR)
    np.testing.assert_array_equal(inside, np.asarray(expected))
    beyond = crop_in_pixels(image, make_face(1, 0, box=(-4, 50, 40, 130)), (64, 64), 32)
    expected = Pillow.fromarray(image[34:, :56]).resize((64, 64), Pillow.Resampling.BILINEAR)
    np.testing.assert_array_equal(beyond, np.asarray(expected))
    assert crop_in_pixels(image, make_face(1, 0, box=(300, 300, 310, 310)), (8, 8), 0).shape == (
        8, 8, 3,
    )  # fmt: skip


def test_a_box_crop_has_its_margin_and_black_outside() -> None:
    image = np.full((100, 100, 3), 200, np.uint8)
    face = make_face(1, 0, box=(0, 0, 50, 50))
    chip = crop_box(image, face, 100, 0.5)
    assert chip.shape == (100, 100, 3)
    assert not chip[:20, :20].any()
    assert chip[60:, 60:].min() == 200


def test_the_central_face_wins_over_a_slightly_larger_one_at_the_edge() -> None:
    image = noise(400, 400)
    edge = make_face(1, 0, box=(0, 0, 110, 110))
    middle = make_face(1, 0, box=(150, 150, 250, 250))
    assert central_face(image, [edge, middle]) is middle
