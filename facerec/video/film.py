"""Video files, and films behind a URL or in a pipe: every frame at its own time."""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import av

from facerec.errors import InputError, MissingError
from facerec.imaging.photos import MAX_PIXELS
from facerec.parallel.ahead import read_ahead
from facerec.parallel.cores import thread_limit
from facerec.video.frames import DEFAULT_RATE, TimedFrame, Warn, ignore
from facerec.video.losses import Losses
from facerec.video.pixels import Deinterlacer, PixelReader
from facerec.video.times import Timeline

_AHEAD = 3
"""Frames decoded while an earlier one is looked at."""
_MOST_FAILURES = 100
"""Reads that fail in a row before a container is given up."""
_COUNTED_FROM_ZERO = ("matroska", "nut")
"""Containers in whose header FFmpeg writes the last time stamp as the duration."""


class FileSource:
    """Every frame of a video file.

    Damage is passed over: `lost` counts the frames it cost, and `warn` is told once, at the end.

    Args:
        max_pixels: of a frame; more are refused.

    Attributes:
        path: of the file; None for a film from elsewhere.

    Raises:
        MissingError: FFmpeg cannot read it, or there are no moving images in it.
        InputError: its frames are too large.
    """

    def __init__(self, path: Path, *, max_pixels: int = MAX_PIXELS, warn: Warn = ignore) -> None:
        # With its protocol, since FFmpeg would read one into a name like 12:30:00.mp4. Playlists
        # may name other files then, and no URLs.
        self.path: Path | None = path
        self._begin(str(path), open_container(f"file:{path}", str(path)), max_pixels, warn)

    @classmethod
    def of_container(cls, name: str, container: Any, *, max_pixels: int, warn: Warn) -> FileSource:
        """The film in an opened container.

        Args:
            name: for messages.
        """
        film = cls.__new__(cls)
        film.path = None
        film._begin(name, container, max_pixels, warn)
        return film

    def _begin(self, name: str, container: Any, max_pixels: int, warn: Warn) -> None:
        self.name, self._container, self._warn = name, container, warn
        self._stream = video_stream(container, name, max_pixels)
        self._stream.thread_type = "AUTO"
        self.rate = frame_rate(self._stream)
        self._start = (container.start_time or 0) / av.time_base
        self._duration = _duration(container)
        self.total: int | None = self._stream.frames or (
            round(self._duration * self.rate) if self._duration else None
        )
        self.dropped = self.lost = 0
        self._begun = False
        self._losses = Losses(container.format.name, self.rate, self._duration)

    def frames(self) -> Iterator[TimedFrame]:
        # A pipe is not read ahead: its next frame may never come, and Ctrl-C would wait for it.
        frames = self._frames()
        yield from frames if self.path is None else read_ahead(frames, _AHEAD)
        if self._losses.decoded == 0:
            raise MissingError(f"{self.name}: {self._why_nothing()}")
        if (told := self._losses.summary()) is not None:
            self._warn(f"{self.name}: {told}")
        self.lost = self._losses.lost()

    def _why_nothing(self) -> str:
        if self.path is None and not self._begun and self._container.format.name.startswith("mov"):
            return (
                "its index is at its end, from where a pipe and a server without range requests "
                "cannot go back; give the file, or write the index first: "
                "ffmpeg -i … -c copy -movflags +faststart"
            )
        return "FFmpeg cannot decode a single frame of it"

    def _frames(self) -> Generator[TimedFrame]:
        reader = PixelReader(self._stream.sample_aspect_ratio)
        timeline = Timeline(self._start, self._container.format.name)
        with self._container:
            timed = timeline.timed(self._decoded(), _stamp, 1 / self.rate)
            for index, (seconds, frame) in enumerate(timed):
                yield TimedFrame(index, max(seconds, 0.0), reader.read(frame))

    def _decoded(self) -> Iterator[Any]:
        """Frames in the order of presentation, not interlaced; those that fail are counted."""
        merging = Deinterlacer()
        for packet in self._packets():
            try:
                found = packet.decode()
            except av.error.EOFError:
                continue
            except av.error.FFmpegError:
                self._losses.damage()
                continue
            for frame in found:
                at = 0.0 if frame.time is None else frame.time - self._start
                self._losses.frame(frame.pts, self._stream.time_base, at, corrupt=frame.is_corrupt)
                self.lost = self._losses.lost()
                yield from merging.push(frame)
        yield from merging.flush()

    def _packets(self) -> Iterator[Any]:
        """Packets of the video, beyond errors; the last ones are empty and flush the decoder."""
        failures = 0
        packets = self._container.demux()
        while failures < _MOST_FAILURES:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                mine = packet.stream.index == self._stream.index
            except (av.error.FFmpegError, IndexError):
                # IndexError: damage looked like the packet of a stream that does not exist.
                self._losses.hole()
                failures += 1
                packets = self._container.demux()
                continue
            if packet.size:
                failures, self._begun = 0, True
                self._losses.packet(packet, self._end_of(packet), video=mine)
            if mine:
                yield packet

    def _end_of(self, packet: Any) -> float:
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None:
            return 0.0
        return float((stamp + (packet.duration or 0)) * packet.time_base) - self._start


def _stamp(frame: Any) -> float | None:
    if frame.pts is None or frame.time_base is None:
        return None
    return float(frame.pts * frame.time_base)


def _duration(container: Any) -> float | None:
    """Seconds from the first time stamp to the end; None where unknown."""
    if container.duration is None:
        return None
    start = max(container.start_time or 0, 0)
    counted_from_zero = container.format.name.startswith(_COUNTED_FROM_ZERO)
    # From another program's muxer it may be shorter than what comes before it.
    before = start if counted_from_zero and start < container.duration else 0
    return float(container.duration - before) / av.time_base


def open_container(address: str | Any, name: str, **settings: Any) -> Any:
    """Open a file, URL or readable object with FFmpeg.

    Args:
        name: what an error calls it.
        settings: further arguments of `av.open`.

    Raises:
        MissingError: FFmpeg cannot read it.
    """
    av.logging.set_level(None)
    try:
        return av.open(address, metadata_errors="replace", **settings)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MissingError(f"{name}: FFmpeg cannot read it as a video: {reason}") from error


def has_index(path: Path) -> bool:
    """Whether an MP4 or QuickTime file has its `moov` box, without which it cannot be read.

    Recorders write it last: it is missing where one was killed, or a copy broken off.
    """
    place, size = 0, path.stat().st_size
    with path.open("rb") as file:
        while place + 8 <= size:
            file.seek(place)
            length, kind = struct.unpack(">I4s", file.read(8))
            if kind == b"moov":
                return bool(place + length <= size)
            if length == 1:
                (length,) = struct.unpack(">Q", file.read(8).ljust(8, b"\0"))
            if length < 8:
                return False
            place += length
    return False


def video_stream(container: Any, name: str, max_pixels: int) -> Any:
    """The stream of moving images in a container.

    Raises:
        MissingError: it has none, or one of an unknown codec.
        InputError: its frames have more than `max_pixels` pixels.
    """
    stream = container.streams.best("video")
    if stream is None or _is_cover(stream):
        raise MissingError(f"{name}: there are no moving images in it")
    context = stream.codec_context
    if context is None:
        raise MissingError(f"{name}: FFmpeg has no decoder for its video")
    width, height = context.width, context.height
    if width * height > max_pixels:
        raise InputError(
            f"{name}: {width}x{height} is {width * height:,} pixels a frame; "
            f"at most {max_pixels:,} are read"
        )
    context.options = {"max_pixels": str(max_pixels)}
    context.thread_count = thread_limit()
    return stream


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & stream.disposition.attached_pic)


def frame_rate(stream: Any) -> float:
    """Frames per second, the mean where they vary; 25 where unknown.

    A stream without time stamps has none but what its header promises.
    """
    told = stream.guessed_rate if stream.start_time is None else stream.average_rate
    return float(told) if told and 0.1 <= told <= 1000 else DEFAULT_RATE
