"""Small films, made as the field makes them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

TICKS = 12_000


def grey(level: int, height: int = 48, width: int = 64) -> np.ndarray:
    """An image of one level, brighter at its upper left corner."""
    image = np.full((height, width, 3), level, np.uint8)
    image[: height // 4, : width // 4] = 255
    return image


def scenes(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Images whose level tells their number: 20, 30, …"""
    return [grey(20 + 10 * (number % 20), height, width) for number in range(count)]


def write_film(
    path: Path, images: Sequence[np.ndarray], times: Sequence[float] | None = None,
    *, rate: int = 25, codec: str = "libx264", pixels: str = "yuv420p",
    options: dict[str, str] | None = None, container_options: dict[str, str] | None = None,
    tone: float = 0.0, tone_first: bool = False, aspect: Fraction | None = None,
) -> Path:  # fmt: skip
    """Write a film.

    Args:
        times: of the images in seconds; by the rate if None.
        tone: seconds of a tone beside them.
        tone_first: the audio stream comes before the video stream.
        aspect: width of a sample by its height.
    """
    times = times if times is not None else [number / rate for number in range(len(images))]
    with av.open(str(path), "w", container_options=container_options or {}) as out:
        sound = out.add_stream("aac", rate=16_000, layout="mono") if tone and tone_first else None
        stream = out.add_stream(codec, rate=rate)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pixels
        stream.options = options or {}
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        fixed = path.suffix in (".avi", ".h264", ".mpg")
        base = Fraction(1, rate if fixed else TICKS)
        stream.codec_context.time_base = base
        if tone and sound is None:
            sound = out.add_stream("aac", rate=16_000, layout="mono")
        for image, seconds in zip(images, times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = round(seconds / base), base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if sound is not None:
            wave = np.sin(np.arange(int(16_000 * tone)) / 16_000 * 2 * np.pi * 440)
            for start in range(0, len(wave), 1024):
                samples = wave[None, start : start + 1024].astype(np.float32)
                piece = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
                piece.sample_rate, piece.pts = 16_000, start
                out.mux(sound.encode(piece))
            out.mux(sound.encode(None))
    return path


def damage(path: Path, first: float, last: float) -> None:
    """Zero a file between two fractions of its length."""
    data = bytearray(path.read_bytes())
    begin, end = int(first * len(data)), int(last * len(data))
    data[begin:end] = bytes(end - begin)
    path.write_bytes(data)


def cut(path: Path, part: float) -> None:
    """Keep the first part of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
