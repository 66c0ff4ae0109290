"""Names on pictures are readable whatever the picture, and pictures are written whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from facerec.errors import UsageError
from facerec.faces import Image
from facerec.imaging import draw, fonts
from facerec.imaging.decode import read_image
from facerec.imaging.draw import Label, annotate, write_image
from facerec.imaging.fonts import set_line, set_line_within
from facerec.weights.packages import package_file

NAMES = ["Νίκος", "Алексей Ёлкин", "李小龍", "محمد علي", "Zoë 😀", "two\nlines\t", "caf\udce9", ""]
FACE = (30.0, 30.0, 70.0, 70.0)
FAR_AWAY = (-900.0, -900.0, -800.0, -800.0)


def blank(width: int, height: int, value: int = 128) -> Image:
    return np.full((height, width, 3), value, np.uint8)


def label(text: str, box: tuple[float, ...] = FACE, known: bool = True) -> Label:
    return Label(np.array(box, np.float32), text, known)


def changed(before: Image, after: Image) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 around the pixels that differ."""
    y, x = np.nonzero((before != after).any(axis=2))
    return int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1


def test_the_picture_given_is_left_alone() -> None:
    image = blank(200, 100)
    drawn = annotate(image, [label("Ann")])
    assert (image == 128).all()
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8


def test_no_faces_change_nothing() -> None:
    assert (annotate(blank(200, 100), []) == 128).all()


@pytest.mark.parametrize("text", NAMES)
@pytest.mark.parametrize("size", [(1, 1), (20, 8), (100, 100), (6000, 400)])
def test_any_name_goes_on_any_picture(size: tuple[int, int], text: str) -> None:
    assert annotate(blank(*size), [label(text), label(text, FAR_AWAY)]).shape[:2] == size[::-1]


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(40, 400),
    height=st.integers(30, 300),
    x=st.floats(-500, 900),
    y=st.floats(-500, 900),
    text=st.text("abcgjpQWÅΩЖй0 ", min_size=1, max_size=40).filter(str.strip),
)
def test_text_stays_inside_the_picture(
    width: int, height: int, x: float, y: float, text: str
) -> None:
    image = blank(width, height, value=7)
    outside = (x - 5000, y, x - 4990, y + 10)
    drawn = annotate(image, [label(text, outside)])
    x1, y1, x2, y2 = changed(image, drawn)
    # Were the text cut by an edge, letters would touch the end of what is drawn behind them.
    rim = np.ones((y2 - y1, x2 - x1), bool)
    rim[1:-1, 1:-1] = False
    background = drawn[y1, x1]
    assert (drawn[y1:y2, x1:x2][rim] == background).all()


def test_a_long_name_is_cut_off_and_ends_with_an_ellipsis() -> None:
    line = set_line_within("Wolfeschlegelsteinhausenbergerdorff", 12, 100)
    assert line.width <= 100
    assert line.runs[-1][0].endswith("…")


def test_labels_of_neighbours_do_not_cover_each_other() -> None:
    boxes = [(100.0, 200.0, 180.0, 280.0), (120.0, 205.0, 200.0, 285.0)]
    labels = [label("Maria Antonia", boxes[0]), label("a stranger", boxes[1], known=False)]
    image = blank(640, 480)
    together = annotate(image, labels)
    for alone, (fill, _) in zip(labels, (draw._KNOWN, draw._STRANGER), strict=True):
        whole = (annotate(image, [alone]) == fill).all(axis=2).sum()
        assert (together == fill).all(axis=2).sum() > 0.9 * whole


@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_any_text_stays_on_its_background(text: str) -> None:
    image = blank(300, 200)
    line = set_line_within(text, 14, 300 - 2 * 2)
    drawn = annotate(image, [label(text, FAR_AWAY)], font_size=14)
    x1, y1, x2, y2 = changed(image, drawn)
    assert (x1, y1) == (0, 0)
    assert x2 <= line.width + 4
    assert y2 <= line.height + 4


@pytest.mark.parametrize(("width", "smallest"), [(100, 9), (1000, 14), (6000, 80)])
def test_text_grows_with_the_picture(width: int, smallest: int) -> None:
    image = blank(width, width // 8 + 50)
    _, y1, _, y2 = changed(image, annotate(image, [label("Ann", FAR_AWAY)]))
    assert y2 - y1 >= smallest


def test_text_grows_with_the_face_up_to_a_bound() -> None:
    small, large, huge = (
        draw._font_size(np.array([0, 0, side, side], np.float32), (1000, 1000))
        for side in (50, 180, 900)
    )
    assert small < large < huge <= 28


def test_an_asked_for_font_size_is_used() -> None:
    image = blank(400, 400)
    heights = []
    for size in (12, 48):
        _, y1, _, y2 = changed(image, annotate(image, [label("Ann", FAR_AWAY)], font_size=size))
        heights.append(y2 - y1)
    assert heights[1] > 3 * heights[0]


def luminance(colour: tuple[int, int, int]) -> float:
    """Relative luminance, WCAG 2.2."""
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("pair", [draw._KNOWN, draw._STRANGER])
def test_text_contrasts_with_what_is_behind_it(pair: tuple[tuple[int, int, int], ...]) -> None:
    dark, light = sorted(luminance(colour) for colour in pair)
    assert (light + 0.05) / (dark + 0.05) >= 7


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("known", [True, False])
def test_a_box_shows_on_any_brightness(value: int, known: bool) -> None:
    image = blank(100, 100, value)
    drawn = annotate(image, [label("", known=known)])
    assert (drawn[30, 40:60].astype(int) != value).any(axis=1).all()


def test_known_and_unknown_faces_look_different() -> None:
    image = blank(200, 200)
    assert (annotate(image, [label("A")]) != annotate(image, [label("A", known=False)])).any()


@pytest.mark.parametrize("text", ["Νίκος", "Алексей", "محمد", "אבג", "Zoë", "😀"])
def test_the_packaged_font_has_most_alphabets(text: str) -> None:
    assert all(fonts._has(fonts._dejavu(16), character) for character in text)


def test_a_character_the_packaged_font_lacks_is_looked_for_in_the_systems_fonts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = "\U0001d552"  # double-struck a: in STIX here, in place of a Chinese font
    other = package_file("matplotlib", "mpl-data/fonts/ttf/STIXGeneral.ttf")
    if fonts._has(fonts._dejavu(16), missing):
        missing = "\U0001d4d0"
    monkeypatch.setattr(fonts, "_FALLBACKS", ("no such font.ttf", str(other)))
    runs = set_line(f"A{missing}B", 16).runs
    assert [(text, font.getname()[0]) for text, font in runs] == [
        ("A", "DejaVu Sans"),
        (missing, "STIXGeneral"),
        ("B", "DejaVu Sans"),
    ]


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png", ".webp"])
def test_a_written_picture_is_read_back(suffix: str, tmp_path: Path) -> None:
    x = np.linspace(0, 255, 80)
    image = np.stack([np.tile(x, (60, 1))] * 3, axis=2).astype(np.uint8)
    path = tmp_path / "new" / f"drawn{suffix}"
    write_image(path, image)
    back = read_image(path, 10_000).astype(int)
    assert back.shape == image.shape
    assert np.abs(back - image).max() <= (0 if suffix == ".png" else 4)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["drawn.gif", "drawn", "drawn.jpg.txt"])
def test_an_unknown_suffix_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"written as \.jpg"):
        write_image(tmp_path / name, blank(4, 4))
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "drawn.png"
    write_image(path, blank(4, 4))
    old = path.read_bytes()

    def fill_the_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Pillow.Image, "save", fill_the_disk)
    with pytest.raises(UsageError, match="No space left"):
        write_image(path, blank(8, 8))
    assert path.read_bytes() == old
    assert [entry.name for entry in tmp_path.iterdir()] == ["drawn.png"]


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_a_picture_too_large_for_its_format_is_refused(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        write_image(tmp_path / f"long{suffix}", blank(70_000, 1))


def test_labels_of_a_crowd_hide_no_face() -> None:
    boxes = [
        (float(x), float(y), x + 40.0, y + 50.0)
        for row, y in enumerate(range(200, 380, 75))
        for x in range(100 + 35 * (row % 2), 1200, 75)
    ]
    image = blank(1280, 700)
    labels = [label("unknown", box) for box in boxes]
    written = (annotate(image, labels) != annotate(image, [label("", box) for box in boxes])).any(2)
    hidden = [written[int(y1) : int(y2), int(x1) : int(x2)].mean() for x1, y1, x2, y2 in boxes]
    assert max(hidden) < 0.1


def test_landmarks_are_dots_at_their_place_and_none_where_there_are_none() -> None:
    points = np.array([[45, 45], [55, 45], [50, 50], [46, 58], [54, 58]], np.float32)
    plain = annotate(blank(100, 100), [label("")])
    dotted = annotate(blank(100, 100), [replace(label(""), points=points)])
    where = np.argwhere((plain != dotted).any(axis=2))[:, ::-1]
    apart = np.linalg.norm(where[:, None] - points, axis=2)
    assert (apart.min(axis=1) < 3).all()
    assert (apart.min(axis=0) < 1).all()
    unknown = replace(label(""), points=np.full((5, 2), np.nan, np.float32))
    assert (annotate(blank(100, 100), [unknown]) == plain).all()
