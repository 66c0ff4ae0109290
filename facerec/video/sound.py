"""A saved video keeps the sound of the one it was made from."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from facerec.errors import MissingError
from facerec.files import replacing

_CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}


def add_sound(pictures: Path, source: Path) -> bool:
    """Put a file's sound, as it is encoded, into a silent video, as far as the pictures go.

    Args:
        pictures: the video, replaced whole or not at all.
        source: any file; its first sound track is taken.

    Returns:
        whether there was sound.

    Raises:
        MissingError: PyAV is not installed, or this kind of sound cannot be kept in this kind of
            file.
    """
    try:
        import av
    except ImportError as error:
        raise MissingError("PyAV is not installed; pip install 'facerec[video]'") from error
    kind = _CONTAINERS.get(pictures.suffix.lower())
    try:
        with av.open(str(pictures)) as seen, av.open(str(source)) as heard:
            if not heard.streams.audio:
                return False
            if kind is None:
                raise MissingError(f"sound is kept in {', '.join(_CONTAINERS)} only")
            with (
                replacing(pictures) as temporary,
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
    """What was encoded, in the order in which it is decoded, with its second."""
    for packet in container.demux(stream):
        if packet.dts is None:
            continue
        second = float(packet.dts * packet.time_base)
        if second >= end:
            return
        packet.stream = target
        yield second, packet
