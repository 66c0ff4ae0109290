"""Images as video: a folder's, a stream of JPEGs, an animation."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image as Pillow
from PIL import ImageSequence, features

from facerec.errors import InputError, MissingError
from facerec.faces import Image
from facerec.imaging.decode import decode_image, read_image
from facerec.imaging.sources import find_photos
from facerec.video.frames import DEFAULT_RATE, TimedFrame, Warn, ignore
from facerec.video.jpegs import MAX_BYTES, JpegSplitter

_MOST_TOLD = 10
"""Damaged images that are named one by one."""
_SHORTEST = 20
"""Milliseconds: browsers show a frame of an animation that asks for less for 100."""
_UNHURRIED = 100
_ANIMATED = ("GIF", "PNG", "WEBP", *(("AVIF",) if features.check("avif") else ()))
_NOT_JPEG = "no JPEG pictures there (ffmpeg … -f mjpeg - writes them)"


class Readable(Protocol):
    """Bytes as they come; none at the end."""

    def read(self, size: int, /) -> bytes: ...


class _Images:
    """Frames of images that fail on their own: the damaged ones are named and passed over."""

    def __init__(self, name: str, max_pixels: int, warn: Warn) -> None:
        self.name, self.rate, self.dropped, self.lost = name, DEFAULT_RATE, 0, 0
        self.total: int | None = None
        self._max_pixels, self._warn = max_pixels, warn

    def _lose(self, error: InputError) -> None:
        self.lost += 1
        if self.lost <= _MOST_TOLD:
            self._warn(str(error))

    def _close(self) -> None:
        if self.lost > _MOST_TOLD:
            self._warn(f"{self.name}: {self.lost} damaged images in all")


class ImageSource(_Images):
    """The images of a folder or pattern, as 25 frames a second.

    Numbers in their names are ordered as numbers: 2.jpg comes before 10.jpg.
    """

    def __init__(self, name: str, max_pixels: int, warn: Warn = ignore) -> None:
        super().__init__(name, max_pixels, warn)
        self._photos = sorted(find_photos([name]), key=lambda photo: _natural(str(photo)))
        first = self._photos[0].path
        if first is not None and not first.is_file():
            raise MissingError(f"{name}: no pictures there")
        self.total = len(self._photos)

    def frames(self) -> Iterator[TimedFrame]:
        for index, photo in enumerate(self._photos):
            try:
                image = read_image(photo, self._max_pixels)
            except InputError as error:
                self._lose(error)
                continue
            yield TimedFrame(index, index / self.rate, image)
        self._close()


def _natural(name: str) -> list[tuple[int, str]]:
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)
    ]


class MjpegSource(_Images):
    """A stream of JPEG images, as `ffmpeg -f mjpeg -` and IP cameras write it, 25 a second."""

    def __init__(
        self, stream: Readable, max_pixels: int, warn: Warn = ignore, name: str = "stdin"
    ) -> None:
        super().__init__(name, max_pixels, warn)
        self._stream = stream

    def frames(self) -> Iterator[TimedFrame]:
        index = 0
        for data in self._jpegs():
            try:
                image = decode_image(data, f"{self.name}, image {index}", self._max_pixels)
            except InputError as error:
                self._lose(error)
            else:
                yield TimedFrame(index, index / self.rate, image)
            index += 1
        if index == 0:
            raise MissingError(f"{self.name}: {_NOT_JPEG}")
        self._close()

    def _jpegs(self) -> Iterator[bytes]:
        splitter = JpegSplitter()
        count = before = 0
        while block := self._stream.read(1 << 16):
            for data in splitter.feed(block):
                count += 1
                yield data
            before += len(block)
            if not count and before > MAX_BYTES:
                return
        yield from splitter.finish()


class AnimationSource(_Images):
    """The frames of an animated GIF, PNG, WebP or AVIF at their own times."""

    def __init__(self, path: Path, opened: Pillow.Image, max_pixels: int, warn: Warn) -> None:
        super().__init__(str(path), max_pixels, warn)
        self._opened = opened
        width, height = opened.size
        if width * height > max_pixels:
            raise InputError(
                f"{path}: {width}x{height} is {width * height:,} pixels a frame; "
                f"at most {max_pixels:,} are read"
            )
        self.total = int(getattr(opened, "n_frames", 1))
        self.rate = 1000 / _duration(opened)

    def frames(self) -> Iterator[TimedFrame]:
        milliseconds = 0.0
        index = 0
        try:
            for index, frame in enumerate(ImageSequence.Iterator(self._opened)):
                yield TimedFrame(index, milliseconds / 1000, _on_white(frame))
                milliseconds += _duration(frame)
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            # Each frame builds on the one before.
            self.lost = (self.total or 0) - index
            lost = "frame" if self.lost == 1 else f"{self.lost} frames"
            self._warn(f"{self.name}: its last {lost} cannot be decoded: {error}")


def open_animation(path: Path) -> Pillow.Image | None:
    """An animated GIF, PNG, WebP or AVIF of more than one frame; None for anything else."""
    try:
        opened = Pillow.open(io.BytesIO(path.read_bytes()), formats=_ANIMATED)
        return opened if getattr(opened, "n_frames", 1) > 1 else None
    except (OSError, SyntaxError, ValueError, EOFError, Pillow.DecompressionBombError):
        return None


def _duration(frame: Pillow.Image) -> float:
    told = float(frame.info.get("duration") or 0)
    return told if told >= _SHORTEST else _UNHURRIED


def _on_white(frame: Pillow.Image) -> Image:
    layer = frame.convert("RGBA")
    white = Pillow.new("RGBA", layer.size, (255, 255, 255, 255))
    return np.array(Pillow.alpha_composite(white, layer).convert("RGB"), np.uint8)


def holds_several_jpegs(path: Path) -> bool:
    """Whether a file that begins with a JPEG is a film of them and no photo.

    A phone's photo may be followed by another picture or a short film, which it tells of.
    """
    splitter = JpegSplitter()
    first: bytes | None = None
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            for image in splitter.feed(block):
                if first is not None:
                    return True
                first = image
                if b"MPF\0" in image or b"MotionPhoto" in image or b"MicroVideo" in image:
                    return False
            if file.tell() > MAX_BYTES:
                return False
    return first is not None and any(True for _ in splitter.finish())
