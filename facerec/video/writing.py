"""Write a video: frames at their own times, with the sound of the film they are of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from facerec.errors import MissingError, UsageError
from facerec.faces import Image
from facerec.files.writing import replacing
from facerec.video.frames import TimedFrame
from facerec.video.pixels import ONE_THREAD
from facerec.video.sound import Sound

_TICKS = 60_000
"""A second's, at most 65535 in MPEG-4 part 2."""
_LEAST_CONSTANT_RATE = 20
"""Frames per second below which a container of one rate gets a multiple: times vary there."""
_BT709, _LIMITED = 1, 1
_H264 = ("libx264", "libopenh264", "h264_videotoolbox", "h264_mf")
_BITS_PER_PIXEL = 0.15


class _Kind(NamedTuple):
    """A container: FFmpeg's name, its video encoders in order of preference, audio's."""

    container: str
    encoders: tuple[str, ...]
    sound: str
    options: dict[str, str] = {}  # noqa: RUF012  (never changed)


_KINDS = {
    # Players and browsers begin before they have read it all.
    ".mp4": _Kind("mp4", (*_H264, "mpeg4"), "aac", {"movflags": "+faststart"}),
    ".m4v": _Kind("mp4", (*_H264, "mpeg4"), "aac", {"movflags": "+faststart"}),
    ".mov": _Kind("mov", (*_H264, "mpeg4"), "aac", {"movflags": "+faststart"}),
    ".mkv": _Kind("matroska", (*_H264, "mpeg4"), "aac"),
    ".webm": _Kind("webm", ("libvpx-vp9", "libvpx"), "libopus"),
    # H.264's reordered frames do not fit into it.
    ".avi": _Kind("avi", ("mpeg4",), "libmp3lame"),
}
_ENCODER_OPTIONS = {
    "libx264": {"preset": "veryfast", "crf": "20"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "row-mt": "1"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
}


def require_video_suffix(path: Path) -> None:
    """Check a name before the work.

    Raises:
        UsageError: its suffix names no container that is written.
    """
    if path.suffix.lower() not in _KINDS:
        raise UsageError(f"{path}: videos are written as {', '.join(_KINDS)}")


class VideoWriter:
    """Writes frames beside the target, which appears when the writer is closed.

    The first frame gives the size; others are scaled to it, with black bars where their shape
    differs. Odd sides get one more row or column, which the codecs need.

    Args:
        path: its suffix chooses the container.
        rate: frames per second of the source.
        sound: a film whose sound is kept, as far as the frames go.

    Attributes:
        remarks: lines about what could not be as asked.

    Raises:
        UsageError: the suffix is unknown.
    """

    def __init__(self, path: Path, *, rate: float, sound: Path | None = None) -> None:
        require_video_suffix(path)
        self._path, self._rate, self._film = path, rate, sound
        self._kind = _KINDS[path.suffix.lower()]
        self.remarks: list[str] = []
        self._place = ExitStack()
        self._output: Any = None
        self._stream: Any = None
        self._sound: Sound | None = None
        self._reformatter = VideoReformatter()
        self._before: float | None = None
        self._base = Fraction(1, _TICKS)
        self._ticks = -1
        self._delay: int | None = None
        self._interval = 1 / rate

    def write(self, frame: TimedFrame) -> None:
        """Write a frame at its time. Where some were dropped before it, the last one stays longer.

        Raises:
            UsageError: the file cannot be written, as on a full disk.
        """
        gap = 0.0 if self._before is None else frame.seconds - self._before
        self._before = frame.seconds
        with self._place_kept():
            if self._stream is None:
                self._open(frame.image)
            self._interval = min(1 / self._rate, gap) if gap > 0 else 1 / self._rate
            self._encode(self._picture(frame.image), frame.seconds)

    def close(self) -> bool:
        """Finish the file and put it in its place; whether there was a frame to write.

        Raises:
            UsageError: the file cannot be written.
        """
        if self._stream is None:
            return False
        with self._place_kept():
            end = float(self._ticks * self._base) + self._interval
            self._mux_last(self._stream.encode(None), end)
            self._copy_sound(end)
            if self._sound is not None:
                self._sound.close()
            self._output.close()
        self._place.close()
        return True

    @contextmanager
    def _place_kept(self) -> Iterator[None]:
        """If the block fails, remove what was written so far."""
        try:
            yield
        except (av.error.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            with self._place:
                raise UsageError(f"{self._path}: cannot be written: {reason}") from error

    def _open(self, image: Image) -> None:
        temporary = self._place.enter_context(replacing(self._path, partial=True))
        self._output = av.open(
            f"file:{temporary}", "w", format=self._kind.container,
            container_options=self._kind.options,
        )  # fmt: skip
        encoder = next(name for name in self._kind.encoders if name in av.codecs_available)
        if encoder == "mpeg4":
            why = (
                "AVI takes no better; .mp4 gives H.264"
                if self._kind.encoders == ("mpeg4",)
                else "no H.264 encoder is at hand"
            )
            self.remarks.append(f"written as MPEG-4 part 2, which browsers do not show: {why}")
        height, width = (side + side % 2 for side in image.shape[:2])
        rate = Fraction(self._rate).limit_denominator(1001)
        if self._kind.container == "avi":
            # It has no time stamps, only frames that are repeated at no cost.
            rate *= math.ceil(_LEAST_CONSTANT_RATE / rate)
            self._base = 1 / rate
        self._stream = self._output.add_stream(encoder, rate=rate)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        context = self._stream.codec_context
        context.time_base = self._stream.time_base = self._base
        context.options = _ENCODER_OPTIONS.get(encoder, {})
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        if encoder not in ("libx264",):
            context.bit_rate = round(_BITS_PER_PIXEL * width * height * max(self._rate, 20))
        if self._film is not None:
            try:
                self._sound = Sound(self._film, self._output, self._kind.sound)
            except MissingError as error:
                if not str(error).endswith("no sound"):
                    self.remarks.append(f"saved without sound: {error}")

    def _picture(self, image: Image) -> Any:
        """The `av.VideoFrame` of an image, at the video's size."""
        fitted = _fit(image, self._stream.width, self._stream.height)
        frame = av.VideoFrame.from_ndarray(fitted, format="rgb24")
        return self._reformatter.reformat(
            frame, format="yuv420p", dst_colorspace=_BT709, **ONE_THREAD
        )

    def _encode(self, picture: Any, seconds: float) -> None:
        self._ticks = max(round(seconds / self._base), self._ticks + 1)
        picture.pts, picture.time_base = self._ticks, self._base
        picture.pict_type = 0
        self._mux(self._stream.encode(picture))
        self._copy_sound(seconds)

    def _copy_sound(self, until: float) -> None:
        if self._sound is None:
            return
        try:
            self._sound.copy_until(until)
        except (av.error.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            self.remarks.append(f"saved without the rest of its sound: {reason}")
            self._sound.close()
            self._sound = None

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            if self._delay is None:
                self._delay = packet.pts - packet.dts
            # The last frame's is all that tells when the video ends.
            packet.duration = max(round(self._interval / packet.time_base), 1)
            self._output.mux(packet)

    def _mux_last(self, packets: list[Any], end: float) -> None:
        """Write the last packets.

        MP4's duration is the sum of its packets' from one time of decoding to the next. Reordered
        frames are decoded at an earlier one's time: gaps before the last ones would not count.
        """
        self._mux(packets[:-1])
        for last in packets[-1:]:
            length = max(round(self._interval / last.time_base), 1)
            decoded = round(end / last.time_base) - (self._delay or 0)
            last.dts = max(last.dts, min(last.pts, decoded - length))
            last.duration = max(decoded - last.dts, length)
            self._output.mux(last)


def _fit(image: Image, width: int, height: int) -> Image:
    """Scaled to a size with its shape kept; an odd side's last row or column is doubled."""
    rows, columns = image.shape[:2]
    if (rows + rows % 2, columns + columns % 2) == (height, width):
        if (rows, columns) == (height, width):
            return image
        return np.pad(image, ((0, rows % 2), (0, columns % 2), (0, 0)), "edge")
    scale = min(width / columns, height / rows)
    size = (min(round(columns * scale), width), min(round(rows * scale), height))
    whole = av.VideoFrame.from_ndarray(image, format="rgb24")
    kind = "AREA" if scale < 1 else "BICUBIC"
    small = whole.reformat(*size, interpolation=kind, **ONE_THREAD).to_ndarray()
    fitted = np.zeros((height, width, 3), np.uint8)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    fitted[top : top + size[1], left : left + size[0]] = small
    return fitted
