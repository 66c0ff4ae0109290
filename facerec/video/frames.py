"""A moment of video, and what every source of them offers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from facerec.faces import Image

DEFAULT_RATE = 25.0
"""Frames per second where nothing tells."""

Warn = Callable[[str], None]
"""Takes one line about something that was passed over."""


def ignore(_: str) -> None:
    """A `Warn` that says nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class TimedFrame:
    """A frame of a video.

    Attributes:
        index: from 0, dropped frames and damaged images counted.
        seconds: since the beginning: of a file by its own time stamps, live by the clock.
        image: `(H, W, 3) uint8` RGB, upright, of square pixels.
    """

    index: int
    seconds: float
    image: Image


class VideoSource(Protocol):
    """Frames in order.

    Attributes:
        name: for messages, without secrets.
        rate: frames per second, the mean where they vary; 25 where unknown.
        total: number of frames, estimated where only the duration is known; None where unknown.
        dropped: frames dropped so far because a newer one had arrived.
        lost: frames so far that could not be decoded.
    """

    name: str
    rate: float
    total: int | None
    dropped: int
    lost: int

    def frames(self) -> Iterator[TimedFrame]: ...
