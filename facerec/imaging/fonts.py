"""Measure and draw lines of text in any script, with installed fonts as fallbacks."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import groupby
from math import ceil

from PIL import ImageDraw, ImageFont

from facerec.weights.packages import package_file

_ELLIPSIS = "…"

# Glyphs that DejaVu lacks, mostly Chinese, Japanese and Korean. Pillow searches the system's font
# folders for these names: Linux, then macOS, then Windows.
_FALLBACKS = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJK-Regular.otf",
    "NotoSansCJKsc-Regular.otf",
    "SourceHanSans-Regular.ttc",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
    "Arial Unicode.ttf",
    "PingFang.ttc",
    "msyh.ttc",
    "malgun.ttf",
)

_NO_CHARACTER = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text laid out for drawing; all in pixels.

    Attributes:
        runs: pieces of text, each with a font that has its glyphs.
        width: from the first to the last character.
        ascent: above the baseline.
        descent: below the baseline.
    """

    runs: tuple[tuple[str, ImageFont.FreeTypeFont], ...]
    width: int
    ascent: int
    descent: int

    @property
    def height(self) -> int:
        return self.ascent + self.descent

    def draw(self, canvas: ImageDraw.ImageDraw, x: int, y: int, colour: tuple[int, ...]) -> None:
        """Draw with the top-left corner at `x, y`."""
        left = float(x)
        for text, font in self.runs:
            canvas.text((left, y + self.ascent), text, colour, font, anchor="ls")
            left += font.getlength(text)


def set_line(text: str, size: int) -> Line:
    """`text` on one line in `size` pixels; control characters become spaces."""
    characters = "".join(_drawable(character) for character in text)
    runs = tuple(
        ("".join(group), font) for font, group in groupby(characters, lambda c: _font_for(c, size))
    ) or (("", _dejavu(size)),)
    metrics = [font.getmetrics() for _, font in runs]
    return Line(
        runs,
        width=ceil(sum(font.getlength(text) for text, font in runs)),
        ascent=max(ascent for ascent, _ in metrics),
        descent=max(descent for _, descent in metrics),
    )


def set_line_within(text: str, size: int, width: int) -> Line:
    """`text` on one line, truncated with an ellipsis to `width`."""
    line = set_line(text, size)
    if line.width <= width:
        return line
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if set_line(text[:middle].rstrip() + _ELLIPSIS, size).width <= width:
            fits = middle
        else:
            too_long = middle
    return set_line(text[:fits].rstrip() + _ELLIPSIS, size)


def _drawable(character: str) -> str:
    category = unicodedata.category(character)
    if category in ("Cc", "Zl", "Zp"):
        return " "
    # A lone surrogate stands for an undecodable byte of a file name.
    return "\ufffd" if category == "Cs" else character


def _font_for(character: str, size: int) -> ImageFont.FreeTypeFont:
    """The first font with a glyph for the character; else DejaVu, which draws an empty box."""
    if _has(_dejavu(size), character):
        return _dejavu(size)
    for path in filter(None, map(_system_font, _FALLBACKS)):
        font = _load(path, size)
        if _has(font, character):
            return font
    return _dejavu(size)


@lru_cache(4096)
def _has(font: ImageFont.FreeTypeFont, character: str) -> bool:
    """Whether a font has a glyph: it draws the character unlike one that does not exist."""
    # Marks and joiners combine with the letter before them, and draw nothing alone.
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return True
    return bytes(font.getmask(character)) != bytes(font.getmask(_NO_CHARACTER))


def _dejavu(size: int) -> ImageFont.FreeTypeFont:
    return _load(_dejavu_path(), size)


@cache
def _dejavu_path() -> str:
    return str(package_file("matplotlib", "mpl-data/fonts/ttf/DejaVuSans.ttf"))


@cache
def _system_font(name: str) -> str | None:
    """Path of a system font, or None. Cached: each search walks all font folders."""
    try:
        return str(ImageFont.truetype(name).path)
    except OSError:
        return None


@lru_cache(64)
def _load(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)
