"""Draw boxes and names on images, blur faces, write image files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from facerec.errors import UsageError
from facerec.faces import Floats, Image
from facerec.files import replacing
from facerec.imaging.fonts import Line, set_line_within

Colour = tuple[int, int, int]
_Rectangle = tuple[int, int, int, int]

# Blue and amber differ for every kind of colour vision. Text contrasts with its background by more
# than 7:1 (WCAG 2.2, AAA), whatever the image.
_KNOWN: tuple[Colour, Colour] = ((0, 72, 150), (255, 255, 255))
_STRANGER: tuple[Colour, Colour] = ((255, 176, 0), (0, 0, 0))

# Letters are illegible below this.
_SMALLEST_FONT = 9

_WRITERS: dict[str, tuple[str, dict[str, int]]] = {
    ".jpg": ("JPEG", {"quality": 95}),
    ".jpeg": ("JPEG", {"quality": 95}),
    ".png": ("PNG", {}),
    ".webp": ("WEBP", {"quality": 95}),
}


@dataclass(frozen=True, slots=True, eq=False)
class Label:
    """What to draw on one face.

    Attributes:
        box: `(4,) float32`, x1, y1, x2, y2; may reach beyond the image.
        text: one line in any script.
        known: whether `text` is a person's name, which chooses the colour.
    """

    box: Floats
    text: str
    known: bool


def annotate(image: Image, labels: Sequence[Label], *, font_size: int | None = None) -> Image:
    """A copy of `image` with a box around each face and its text beside it.

    The text scales with face and image, stays inside the image (truncated if need be), and avoids
    the text of other faces as far as there is room.

    Args:
        image: `(H, W, 3) uint8`.
        font_size: in pixels, for all texts.
    """
    drawn = Pillow.fromarray(image)
    canvas = ImageDraw.Draw(drawn)
    sizes = [font_size or _font_size(label.box, drawn.size) for label in labels]
    for label, size in zip(labels, sizes, strict=True):
        _draw_box(canvas, label, max(1, round(size / 9)))
    taken: list[_Rectangle] = []
    for label, size in zip(labels, sizes, strict=True):
        padding = max(2, size // 5)
        line = set_line_within(label.text, size, drawn.width - 2 * padding)
        place = _place(line, padding, label.box, drawn.size, taken)
        if place is not None:
            taken.append(place)
            drawn.paste(_text_plate(line, padding, label.known), place[:2])
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


def write_image(path: str | Path, image: Image) -> None:
    """Write `(H, W, 3) uint8` RGB in the format that the suffix names: jpg, jpeg, png or webp.

    Raises:
        UsageError: the suffix is another one, or the file cannot be written.
    """
    writer = _WRITERS.get(Path(path).suffix.lower())
    if writer is None:
        raise UsageError(f"{path}: images are written as {', '.join(_WRITERS)}")
    kind, options = writer
    with replacing(path) as temporary:
        try:
            Pillow.fromarray(image).save(temporary, kind, **options)
        except ValueError as error:
            raise UsageError(f"{path}: cannot be written: {error}") from error


def _font_size(box: Floats, image_size: tuple[int, int]) -> int:
    """Proportional to the face, within what is legible with the whole image on a screen."""
    face = float(max(box[2] - box[0], box[3] - box[1]))
    readable = min(0.014 * max(image_size), 0.25 * min(image_size))
    return round(max(_SMALLEST_FONT, readable, min(face / 7, 2 * readable)))


def _draw_box(canvas: ImageDraw.ImageDraw, label: Label, width: int) -> None:
    """A rectangle in the label's colour, outlined in its text's, so that it shows on any image."""
    x1, y1, x2, y2 = (round(float(value)) for value in label.box)
    fill, text = _KNOWN if label.known else _STRANGER
    edge = max(1, width // 3)
    for grow, thickness, colour in ((edge, width + 2 * edge, text), (0, width, fill)):
        outer = (x1 - grow, y1 - grow, max(x1, x2) + grow, max(y1, y2) + grow)
        canvas.rectangle(outer, outline=colour, width=thickness)


def _place(
    line: Line,
    padding: int,
    box: Floats,
    image_size: tuple[int, int],
    taken: Sequence[_Rectangle],
) -> _Rectangle | None:
    """Rectangle of the text: above, below or inside the face's box; None if it does not fit."""
    width, height = line.width + 2 * padding, line.height + 2 * padding
    room_x, room_y = image_size[0] - width, image_size[1] - height
    if room_x < 0 or room_y < 0:
        return None
    x1, y1, x2, y2 = (round(float(value)) for value in box)
    places = []
    for left in (x1, (x1 + x2 - width) // 2, x2 - width):
        for top in (y1 - height, y2, y1, y2 - height):
            x, y = min(max(left, 0), room_x), min(max(top, 0), room_y)
            places.append((x, y, x + width, y + height))
    return min(places, key=lambda place: sum(_overlap(place, other) for other in taken))


def _overlap(one: _Rectangle, other: _Rectangle) -> int:
    """Pixels that two rectangles share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0) * max(height, 0)


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
