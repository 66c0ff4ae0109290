"""Frames of a damaged film that could not be decoded: how many, and when."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

_CONTIGUOUS = ("matroska", "flv")
"""Containers that store packets one after the other: bytes between them are damage."""
_MOST_BYTES_BETWEEN = 4096
_LONG_GAP = 1.5
"""Multiple of the interval between frames from which frames are missing in it."""
_MOST_PENDING = 1000
_EARLY_END = 0.5
"""Seconds of a container's duration without anything that are no rounding."""


class Losses:
    """Counts missing frames from time stamps, once there is evidence of damage.

    Gaps alone are no evidence: screen recorders and browsers leave them. Nor are packets without
    a frame: one field of two, or a reference that is never shown.

    Args:
        container: name of FFmpeg's demuxer.
        rate: frames per second.
        duration: seconds, by the container; None where unknown.
    """

    def __init__(self, container: str, rate: float, duration: float | None) -> None:
        self._contiguous = container.startswith(_CONTIGUOUS)
        self._interval, self._duration = 1 / rate, duration
        self._damaged = False
        self._holes = False
        self._pending: set[int] = set()
        self._position: int | None = None
        self._last: int | None = None
        self._step = math.inf
        self._missing = 0
        self._guessed = False
        self._first_time: float | None = None
        self._end = self._last_time = 0.0
        self._unstamped = self._corrupt = 0
        self.decoded = 0

    def damage(self) -> None:
        """Something could not be decoded."""
        self._damaged = True

    def hole(self) -> None:
        """Part of the container could not be read."""
        self._damaged = self._holes = True

    def packet(self, packet: Any, end: float, *, video: bool) -> None:
        """A packet as it is read, of any stream.

        Args:
            end: seconds; when it ends.
        """
        self._end = max(self._end, end)
        if packet.is_corrupt:
            self.hole()
        if self._contiguous and packet.pos is not None and packet.pos >= 0:
            before, self._position = self._position, packet.pos + packet.size
            if before is not None and packet.pos - before > _MOST_BYTES_BETWEEN:
                self.hole()
        if video and packet.pts is None:
            self._unstamped += 1
        elif video and len(self._pending) < _MOST_PENDING:
            self._pending.add(packet.pts)

    def frame(self, pts: int | None, base: Fraction, seconds: float, *, corrupt: bool) -> None:
        """A frame as it is decoded, in the order of presentation.

        Args:
            corrupt: part of it could not be decoded.
        """
        self.decoded += 1
        self._last_time = seconds
        if pts is None:
            self._corrupt += corrupt
            return
        if self._last is None:
            if self._damaged:
                self._missing += sum(waiting < pts for waiting in self._pending)
        elif pts > self._last:
            gap = float((pts - self._last) * base)
            if gap > _LONG_GAP * min(self._step, self._interval):
                self._count(pts, gap, seconds)
            self._step = min(gap, 2 * self._step)
        self._last = pts
        self._pending = {later for later in self._pending if later > pts}

    def _count(self, pts: int, gap: float, seconds: float) -> None:
        assert self._last is not None
        read = sum(self._last < waiting < pts for waiting in self._pending)
        guessed = round(gap / min(self._step, self._interval)) - 1 if self._holes else 0
        found = max(read, guessed)
        self._guessed |= guessed > read
        if found:
            self._missing += found
            if self._first_time is None:
                self._first_time = seconds - gap
        self._holes = False

    def lost(self) -> int:
        """Frames lost so far; 0 without damage."""
        return self._missing if self._damaged else 0

    def summary(self) -> str | None:
        """What was lost, at the end; None where nothing was.

        What was read after the last decoded frame counts, or what a promised end would have had.
        """
        early = self._duration is not None and self._duration - self._end > _EARLY_END
        # Without time stamps there is a packet a frame, or one a field.
        unstamped = max(self._unstamped - self.decoded, self._corrupt)
        if self._last is None and 0 < unstamped < self.decoded:
            self._missing += unstamped
            self._damaged = self._guessed = True
        elif early and self._duration is not None:
            ahead = round((self._duration - self._last_time) / self._interval) - 1
            self._missing += max(ahead, 1)
            self._damaged = self._guessed = True
        elif self._damaged:
            last = -math.inf if self._last is None else self._last
            self._missing += sum(waiting > last for waiting in self._pending)
        lost = self.lost()
        if not lost:
            return None
        about = "about " if self._guessed else ""
        told = f"{about}{lost} of {self.decoded + lost} frames could not be decoded"
        if self._first_time is not None:
            told += f", the first at {self._first_time:.1f} s"
        if early:
            told += f"; it is cut off at {self._end:.1f} of {self._duration:.1f} s"
        return told
