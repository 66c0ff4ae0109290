"""Decoded video frames to upright RGB of square pixels."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import VideoReformatter

from facerec.faces import Image

ONE_THREAD: dict[str, Any] = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}
"""Arguments of `reformat`. PyAV 17 and later (PyAV-Org/PyAV#2187) start a thread per core for each
frame, which takes longer than the conversion: 0.3 instead of 0.07 ms of processor time at 640x360,
2.9 instead of 0.6 at 1920x1080."""

_MOST_STRETCH = 4
"""Sample aspect ratios beyond this are taken for a broken header."""


class PixelReader:
    """Converts frames of any pixel format, size and orientation to `(H, W, 3) uint8` RGB.

    Transparency is composited on white, as in photos.

    Args:
        aspect: width of a sample by its height; None or 0: square.
    """

    def __init__(self, aspect: Fraction | None = None) -> None:
        # Kept, as it holds the tables: a new one a frame takes twice as long.
        self._reformatter = VideoReformatter()
        square = not aspect or not 1 / _MOST_STRETCH <= aspect <= _MOST_STRETCH
        self._aspect = Fraction(1) if square or aspect is None else Fraction(aspect)

    def read(self, frame: Any) -> Image:
        """The pixels of an `av.VideoFrame`.

        Raises:
            ValueError: its pixel format cannot be converted.
        """
        width = round(frame.width * max(self._aspect, 1))
        height = round(frame.height / min(self._aspect, 1))
        transparent = _has_alpha(frame.format)
        kind = "rgba" if transparent else "rgb24"
        converted = self._reformatter.reformat(frame, width, height, kind, **ONE_THREAD)
        pixels = np.asarray(converted.to_ndarray(), np.uint8)
        return _upright(_on_white(pixels) if transparent else pixels, frame)


def _has_alpha(kind: Any) -> bool:
    return kind.has_palette or any(component.is_alpha for component in kind.components)


def _on_white(image: np.ndarray) -> Image:
    alpha = image[..., 3:].astype(np.uint16)
    blended = (image[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return np.asarray(blended, np.uint8)


def _upright(image: Image, frame: Any) -> Image:
    """Undo the display matrix, rounded to quarter turns and mirrors.

    It maps a stored sample to `x' = a x + c y`, `y' = b x + d y` (ISO 14496-12, 8.3.2.3).
    """
    data = frame.side_data.get(SideData.DISPLAYMATRIX)
    if data is None or len(bytes(data)) < 20:
        return image
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5]
    if abs(int(a)) < abs(int(b)):
        image = image.transpose(1, 0, 2)
        rows, columns = b, c
    else:
        rows, columns = d, a
    return np.ascontiguousarray(image[:: -1 if rows < 0 else 1, :: -1 if columns < 0 else 1])


class Deinterlacer:
    """Merges the two fields of interlaced frames, from the first such frame on (FFmpeg's bwdif)."""

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._shape: tuple[int, int, str] | None = None

    def push(self, frame: Any) -> Iterator[Any]:
        """The frames that are ready once this one is known: it is one frame late."""
        if self._graph is None and not frame.interlaced_frame:
            yield frame
            return
        shape = (frame.width, frame.height, frame.format.name)
        if shape != self._shape:
            yield from self.flush()
            self._graph, self._shape = _bwdif(frame), shape
        assert self._graph is not None
        self._graph.vpush(frame)
        yield from self._ready()

    def flush(self) -> Iterator[Any]:
        """The frames that are left at the end."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._ready()
            self._graph = None

    def _ready(self) -> Iterator[Any]:
        assert self._graph is not None
        while True:
            try:
                yield self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return


def _bwdif(frame: Any) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    merge = graph.add("bwdif", "mode=send_frame:deint=interlaced")
    sink = graph.add("buffersink")
    source.link_to(merge)
    merge.link_to(sink)
    graph.configure()
    return graph
