"""Draw boxes and names on images, blur faces, write image files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from facerec.errors import UsageError
from facerec.faces import Floats, Image
from facerec.files.writing import replacing
from facerec.imaging.fonts import Line, set_line_within

Colour = tuple[int, int, int]

# Blue and amber differ for every kind of colour vision. Text contrasts with its background by more
# than 7:1 (WCAG 2.2, AAA), whatever the image.
_KNOWN: tuple[Colour, Colour] = ((0, 72, 150), (255, 255, 255))
_STRANGER: tuple[Colour, Colour] = ((255, 176, 0), (0, 0, 0))

# Letters are illegible below this.
_SMALLEST_FONT = 9
# A hidden face is a greater loss than a hidden name, which the table has too.
_FACE_COUNTS = 4

# Format, options of the encoder, longest side in pixels.
_JPEG: tuple[str, dict[str, int], int] = ("JPEG", {"quality": 95}, 65_500)
_WRITERS: dict[str, tuple[str, dict[str, int], int]] = {
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".jpe": _JPEG,
    ".jfif": _JPEG,
    ".png": ("PNG", {}, 2**31 - 1),
    ".webp": ("WEBP", {"quality": 95}, 16_383),
}


@dataclass(frozen=True, slots=True, eq=False)
class Label:
    """What to draw on one face.

    Attributes:
        box: `(4,) float32`, x1, y1, x2, y2; may reach beyond the image.
        text: one line in any script.
        known: whether `text` is a person's name, which chooses the colour.
        points: `(P, 2) float32` landmarks, drawn as dots; None: none.
    """

    box: Floats
    text: str
    known: bool
    points: Floats | None = None


def annotate(image: Image, labels: Sequence[Label], *, font_size: int | None = None) -> Image:
    """A copy of `image` with a box around each face and its text beside it.

    The text scales with face and image, smaller in a crowd; it stays inside the image (truncated if
    need be) and avoids faces and other text as far as there is room.

    Args:
        image: `(H, W, 3) uint8`.
        font_size: in pixels, for all texts.
    """
    drawn = Pillow.fromarray(image)
    canvas = ImageDraw.Draw(drawn)
    sizes = [font_size or _font_size(label.box, drawn.size) for label in labels]
    for label, size in zip(labels, sizes, strict=True):
        _draw_box(canvas, label, max(1, round(size / 9)))
        _draw_points(canvas, label)
    faces = np.array([label.box for label in labels], np.float32).reshape(-1, 4).round()
    texts = np.empty((0, 4), np.float32)
    for label, size in zip(labels, sizes, strict=True):
        smallest = size if font_size else _smallest_font(drawn.size)
        placed = _place(label, size, smallest, drawn.size, texts, faces)
        if placed is not None:
            line, padding, x, y = placed
            plate = _text_plate(line, padding, label.known)
            texts = np.vstack((texts, [(x, y, x + plate.width, y + plate.height)]))
            drawn.paste(plate, (x, y))
    return np.array(drawn, np.uint8)


def write_caption(image: Image, text: str) -> Image:
    """A copy of `image`, `(H, W, 3) uint8`, with one line of text at its lower left corner."""
    drawn = Pillow.fromarray(image)
    size = max(_SMALLEST_FONT, drawn.height // 30)
    padding = max(2, size // 5)
    line = set_line_within(text, size, drawn.width - 2 * padding)
    plate = _text_plate(line, padding, known=True)
    drawn.paste(plate, (0, drawn.height - plate.height))
    return np.array(drawn, np.uint8)


def is_writable(name: str | PurePath, longest: int) -> bool:
    """Whether a name's suffix is a format that `write_image` writes, for images of this longer
    side, in pixels."""
    writer = _WRITERS.get(PurePath(name).suffix.lower())
    return writer is not None and longest <= writer[2]


def write_image(path: str | Path, image: Image) -> None:
    """Write `(H, W, 3) uint8` RGB in the format that the suffix names: JPEG, PNG or WebP.

    Raises:
        UsageError: the suffix is another one, or the file cannot be written.
    """
    writer = _WRITERS.get(Path(path).suffix.lower())
    if writer is None:
        raise UsageError(f"{path}: images are written as {', '.join(_WRITERS)}")
    kind, options, _ = writer
    with replacing(path) as temporary:
        try:
            Pillow.fromarray(image).save(temporary, kind, **options)
        except ValueError as error:
            raise UsageError(f"{path}: cannot be written: {error}") from error


def _font_size(box: Floats, image_size: tuple[int, int]) -> int:
    """Proportional to the face, within what is legible with the whole image on a screen."""
    face = float(max(box[2] - box[0], box[3] - box[1]))
    readable = _readable_font(image_size)
    return round(max(_SMALLEST_FONT, readable, min(face / 7, 2 * readable)))


def _smallest_font(image_size: tuple[int, int]) -> int:
    """In a crowd: half of what is readable when the whole image is on a screen."""
    return round(max(_SMALLEST_FONT, _readable_font(image_size) / 2))


def _readable_font(image_size: tuple[int, int]) -> float:
    return min(0.014 * max(image_size), 0.25 * min(image_size))


def _draw_box(canvas: ImageDraw.ImageDraw, label: Label, width: int) -> None:
    """A rectangle in the label's colour, outlined in its text's, so that it shows on any image."""
    x1, y1, x2, y2 = (round(float(value)) for value in label.box)
    fill, text = _KNOWN if label.known else _STRANGER
    edge = max(1, width // 3)
    for grow, thickness, colour in ((edge, width + 2 * edge, text), (0, width, fill)):
        outer = (x1 - grow, y1 - grow, max(x1, x2) + grow, max(y1, y2) + grow)
        canvas.rectangle(outer, outline=colour, width=thickness)


def _draw_points(canvas: ImageDraw.ImageDraw, label: Label) -> None:
    """Dots of a fortieth of the face, outlined as the box is."""
    if label.points is None or not np.isfinite(label.points).all():
        return
    fill, outline = _KNOWN if label.known else _STRANGER
    radius = max(1.5, float((label.box[2:] - label.box[:2]).max()) / 40)
    for x, y in label.points.tolist():
        corners = (x - radius, y - radius, x + radius, y + radius)
        canvas.ellipse(corners, fill=fill, outline=outline)


def _place(
    label: Label,
    size: int,
    smallest: int,
    image_size: tuple[int, int],
    texts: Floats,
    faces: Floats,
) -> tuple[Line, int, int, int] | None:
    """Line, padding and upper left corner of a label; None if the image has no room for it.

    The largest text that hides no face and no other text is taken, or the one that hides
    least, a face counting more than a text.

    Args:
        texts: `(T, 4)` what the other texts take, `x1, y1, x2, y2`.
        faces: `(F, 4)` all boxes.
    """
    best: tuple[float, tuple[Line, int, int, int]] | None = None
    for tried in _sizes(size, smallest):
        padding = max(2, tried // 5)
        line = set_line_within(label.text, tried, image_size[0] - 2 * padding)
        plate = (line.width + 2 * padding, line.height + 2 * padding)
        places = _places(label.box, plate, image_size)
        if not len(places):
            continue
        hidden = _overlaps(places, texts) + _FACE_COUNTS * _overlaps(places, faces)
        place = int(hidden.argmin())
        if best is None or hidden[place] < best[0]:
            x, y = places[place, :2]
            best = float(hidden[place]), (line, padding, int(x), int(y))
        if best[0] == 0:
            break
    return None if best is None else best[1]


def _sizes(size: int, smallest: int) -> list[int]:
    """Font sizes from the wanted one down, a sixth smaller each."""
    sizes = [size]
    while sizes[-1] > smallest:
        sizes.append(max(smallest, min(sizes[-1] - 1, round(sizes[-1] * 5 / 6))))
    return sizes


def _places(box: Floats, plate: tuple[int, int], image_size: tuple[int, int]) -> Floats:
    """Where a text can go, best first, `(P, 4)`: above the face, below, beside, or in it."""
    width, height = plate
    room_x, room_y = image_size[0] - width, image_size[1] - height
    if room_x < 0 or room_y < 0:
        return np.empty((0, 4), np.float32)
    x1, y1, x2, y2 = (round(float(value)) for value in box)
    middle = (x1 + x2 - width) // 2
    corners = [
        *((left, top) for top in (y1 - height, y2) for left in (x1, middle, x2 - width)),
        *((left, top) for left in (x2, x1 - width) for top in (y1, y2 - height)),
        *((left, top) for top in (y1, y2 - height) for left in (x1, middle, x2 - width)),
    ]
    places = [
        (x, y, x + width, y + height)
        for x, y in ((min(max(x, 0), room_x), min(max(y, 0), room_y)) for x, y in corners)
    ]
    return np.array(places, np.float32)


def _overlaps(places: Floats, others: Floats) -> Floats:
    """Pixels of each place that are in others, `(P,)`."""
    low = np.maximum(places[:, None, :2], others[None, :, :2])
    high = np.minimum(places[:, None, 2:], others[None, :, 2:])
    areas: Floats = np.clip(high - low, 0, None).prod(axis=2).sum(axis=1)
    return areas


def _text_plate(line: Line, padding: int, known: bool) -> Pillow.Image:
    """The text on its background, as an image of its own that clips tall accents."""
    fill, text = _KNOWN if known else _STRANGER
    plate = Pillow.new("RGB", (line.width + 2 * padding, line.height + 2 * padding), fill)
    line.draw(ImageDraw.Draw(plate), padding, padding, text)
    return plate


def blur_boxes(image: Image, boxes: Sequence[Floats]) -> Image:
    """A copy with the boxes pixelated beyond recognition, to 6 cells a side.

    Args:
        boxes: `(4,)` each, `x1, y1, x2, y2` pixels; parts outside the image are ignored.
    """
    import cv2

    hidden = image.copy()
    height, width = image.shape[:2]
    for box in boxes:
        x1, y1 = (max(int(side), 0) for side in box[:2])
        x2, y2 = min(int(box[2]) + 1, width), min(int(box[3]) + 1, height)
        if x2 <= x1 or y2 <= y1:
            continue
        cells = cv2.resize(hidden[y1:y2, x1:x2], (6, 6), interpolation=cv2.INTER_AREA)
        size = (x2 - x1, y2 - y1)
        hidden[y1:y2, x1:x2] = cv2.resize(cells, size, interpolation=cv2.INTER_LINEAR)
    return hidden
