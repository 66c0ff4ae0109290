"""Muxing: the audio of the source video into the saved one."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from facerec.errors import MissingError
from facerec.files import replacing

_CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}


def add_sound(silent: Path, source: Path) -> bool:
    """Copy a file's first audio stream into a silent video, cut to its length, not re-encoded.

    Args:
        silent: the video, replaced atomically.
        source: the file with sound.

    Returns:
        whether it has an audio stream.

    Raises:
        MissingError: PyAV is not installed, or the container does not take the codec.
    """
    try:
        import av
    except ImportError as error:
        raise MissingError("PyAV is not installed; pip install 'facerec[video]'") from error
    kind = _CONTAINERS.get(silent.suffix.lower())
    try:
        with av.open(str(silent)) as seen, av.open(str(source)) as heard:
            if not heard.streams.audio:
                return False
            if kind is None:
                raise MissingError(f"sound is kept in {', '.join(_CONTAINERS)} only")
            with (
                replacing(silent) as temporary,
                av.open(str(temporary), "w", format=kind) as joined,
            ):
                video, audio = seen.streams.video[0], heard.streams.audio[0]
                end = (seen.duration or 0) / av.time_base
                packets = heapq.merge(
                    _packets(seen, video, joined.add_stream_from_template(video), end),
                    _packets(heard, audio, joined.add_stream_from_template(audio), end),
                    key=lambda found: found[0],
                )
                for _, packet in packets:
                    joined.mux(packet)
    except av.error.FFmpegError as error:
        raise MissingError(f"{source}: its sound cannot be kept: {error.strerror}") from error
    return True


def _packets(container: Any, stream: Any, target: Any, end: float) -> Iterator[tuple[float, Any]]:
    """Packets in decoding order, each with its time in seconds."""
    for packet in container.demux(stream):
        if packet.dts is None:
            continue
        second = float(packet.dts * packet.time_base)
        if second >= end:
            return
        packet.stream = target
        yield second, packet
