"""The sound of a film into the video that is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from facerec.errors import MissingError
from facerec.video.film import open_container
from facerec.video.times import Timeline

_OPUS_RATE = 48_000


class Sound:
    """Copies a film's first audio stream, as it is where the container takes it, else encoded anew.

    Args:
        film: with sound.
        output: an `av` container for writing, before its first packet.
        encoder: FFmpeg's, where the film's codec does not fit.

    Raises:
        MissingError: the film has no sound, or none that can be kept; says which.
    """

    def __init__(self, film: Path, output: Any, encoder: str) -> None:
        self._film, self._output = open_container(f"file:{film}", str(film)), output
        heard = self._film.streams.best("audio")
        if heard is None:
            self._film.close()
            raise MissingError(f"{film}: no sound")
        self._heard = heard
        self._resampler: Any = None
        try:
            if _takes(output, heard.codec_context):
                self._stream = output.add_stream_from_template(heard)
            else:
                self._stream = self._encoded(encoder)
        except (av.error.FFmpegError, AttributeError, ValueError) as error:
            self._film.close()
            raise MissingError(f"{film}: its sound cannot be kept: {error}") from error
        self._packets = self._timed()
        self._next: tuple[float, Any] | None = next(self._packets, None)

    def _encoded(self, encoder: str) -> Any:
        heard = self._heard.codec_context
        rate = _OPUS_RATE if encoder == "libopus" else heard.sample_rate
        layout = heard.layout.name if heard.channels <= 2 else "stereo"
        stream = self._output.add_stream(encoder, rate=rate, layout=layout)
        stream.codec_context.open()
        self._resampler = av.AudioResampler(
            stream.codec_context.format.name, layout, rate, stream.codec_context.frame_size or None
        )
        return stream

    def copy_until(self, seconds: float) -> None:
        """Write what is heard before a moment of the film."""
        while self._next is not None and self._next[0] < seconds:
            packet = self._next[1]
            packet.stream = self._stream
            self._output.mux(packet)
            self._next = next(self._packets, None)

    def close(self) -> None:
        """Close the film."""
        self._film.close()

    def _timed(self) -> Iterator[tuple[float, Any]]:
        """Packets in order, each with its time in seconds; what cannot be read is left out."""
        # Before the beginning an encoder warms up, for which not every container has room.
        last = -1
        for packet in self._encode() if self._resampler is not None else self._read():
            # No container takes a time twice, as where films that overlap were joined.
            if packet.dts is not None and packet.dts > last:
                last = packet.dts
                yield float(packet.dts * packet.time_base), packet

    def _read(self) -> Iterator[Any]:
        """Packets, their time stamps counted from the film's beginning."""
        start = (self._film.start_time or 0) / av.time_base
        timeline = Timeline(start, self._film.format.name)
        heard = self._heard.codec_context
        step = heard.frame_size / heard.sample_rate if heard.sample_rate else 0.0
        for seconds, packet in timeline.timed(self._readable(), _stamp, step):
            shift = round(seconds / packet.time_base) - packet.dts
            packet.dts += shift
            if packet.pts is not None:
                packet.pts += shift
            yield packet

    def _readable(self) -> Iterator[Any]:
        packets = self._film.demux(self._heard)
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, IndexError):
                return
            if packet is None:
                return
            if packet.dts is not None:
                yield packet

    def _encode(self) -> Iterator[Any]:
        for packet in self._read():
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                continue
            for frame in frames:
                for piece in self._resampler.resample(frame):
                    yield from self._stream.encode(piece)
        for piece in self._resampler.resample(None):
            yield from self._stream.encode(piece)
        yield from self._stream.encode(None)


def _takes(output: Any, heard: Any) -> bool:
    """Whether a container takes a codec's packets as they are."""
    # AAC with a header in each packet (ADTS), as MPEG-TS carries it.
    adts = heard.name == "aac" and not heard.extradata
    return heard.name in output.supported_codecs and not (adts and output.format.name == "avi")


def _stamp(packet: Any) -> float:
    return float(packet.dts * packet.time_base)
