"""Split a stream of JPEG images: `ffmpeg -f mjpeg -`, `cat *.jpg`, an IP camera's multipart."""

from __future__ import annotations

from collections.abc import Iterator

_START = b"\xff\xd8\xff"
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_PADDING = 0xFF
_BETWEEN_SCANS = frozenset((0xC4, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)))
"""DHT, SOS, DQT, DNL, DRI, COM and APPn: any other marker after a scan is damage."""
_FIRST = frozenset((*range(0xC0, 0xC5), 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)))
"""What the first segment of an image may be."""
_APPLICATION = range(0xE0, 0xF0)
_SHORTEST_SCAN_HEADER = 6
_HEAD = 10
_ALIKE = ((3, 4), (6, _HEAD))
"""Bytes at an image's start that are the same in all of a camera's: marker and identifier."""
MAX_BYTES = 1 << 26


class JpegSplitter:
    """Cuts images out of what it is fed, piece by piece.

    Segments are stepped over by their lengths, so that a thumbnail's end is not the image's. An
    image that a new one interrupts, or that never ends, is given as it is. Whatever lies between
    images is skipped, as the headers of a multipart stream are.

    Args:
        max_bytes: of an image; a longer one is given in parts, which no decoder takes.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._held = bytearray()
        self._at = 0
        self._segment_at = 0
        self._in_image = self._in_scan = self._wary = self._over = False
        self._max_bytes = max_bytes

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Images that are complete with this data."""
        self._held += data
        while (image := self._next()) is not None:
            yield image
        if self._in_image and len(self._held) > self._max_bytes:
            yield self._take(len(self._held))

    def finish(self) -> Iterator[bytes]:
        """Images that are left at the end of the stream."""
        self._over = True
        yield from self.feed(b"")
        if self._in_image:
            yield self._take(len(self._held))

    def _next(self) -> bytes | None:
        if not self._in_image and not self._find_start():
            return None
        while (end := self._step()) is not None:
            if end:
                return self._take(end)
        return None

    def _find_start(self) -> bool:
        """Drop what comes before the next image; whether there is one."""
        start = self._held.find(_START)
        while start >= 0 and start + 3 < len(self._held) and not self._is_start(start):
            start = self._held.find(_START, start + 1)
        if start < 0 or start + 3 >= len(self._held):
            # The last bytes may be the beginning of a start.
            del self._held[: start if start >= 0 else max(len(self._held) - 2, 0)]
            return False
        del self._held[:start]
        self._in_image, self._in_scan, self._at = True, False, len(_START) - 1
        return True

    def _step(self) -> int | None:
        """Go on by a segment, or to the next marker of a scan.

        Returns:
            where the image ends; 0 if it goes on; None for want of data.
        """
        if self._in_scan:
            found = self._held.find(b"\xff", self._at)
            self._at = len(self._held) if found < 0 else found
        if self._at + 2 > len(self._held):
            return None
        marker = self._held[self._at + 1]
        if self._held[self._at] != 0xFF:
            # No segment here: a length that was wrong led to it, perhaps beyond the image. Its end
            # is searched for as a scan's is. In an application's segment there may be a thumbnail.
            self._wary = self._held[self._segment_at + 1] in _APPLICATION
            self._at = self._segment_at + 2
            self._in_scan = True
            return 0
        if marker == _EOI:
            return self._at + 2
        if marker == _PADDING:
            self._at += 1
            return 0
        if self._at + (_HEAD if marker == _SOI else 4) > len(self._held):
            return None
        if marker == _SOI and self._is_start(self._at) and self._is_another(self._at):
            return self._at
        return self._after_scan(marker) if self._in_scan else self._segment(marker)

    def _segment(self, marker: int) -> int | None:
        end = self._end_of_segment()
        if end > len(self._held):
            if not self._over:
                return None
            self._in_scan = True
            self._at += 2
            return 0
        self._segment_at, self._at = self._at, end
        self._in_scan = marker == _SOS
        return 0

    def _after_scan(self, marker: int) -> int | None:
        end = self._end_of_segment()
        real = marker in _BETWEEN_SCANS and end >= self._at + 4
        if real and marker == _SOS:
            real = end >= self._at + 2 + _SHORTEST_SCAN_HEADER
        elif real:
            # Another marker follows a segment; what follows damage is anything.
            if end >= len(self._held) and not self._over:
                return None
            real = end < len(self._held) and self._held[end] == 0xFF
        if real:
            self._in_scan = False
        else:
            self._at += 2
        return 0

    def _end_of_segment(self) -> int:
        return self._at + 2 + int.from_bytes(self._held[self._at + 2 : self._at + 4], "big")

    def _is_start(self, place: int) -> bool:
        return self._held[place : place + 3] == _START and self._held[place + 3] in _FIRST

    def _is_another(self, place: int) -> bool:
        """Whether what begins there is an image like this one, and not its thumbnail."""
        alike = all(
            self._held[place + first : place + last] == self._held[first:last]
            for first, last in _ALIKE
        )
        return alike or not self._wary

    def _take(self, end: int) -> bytes:
        image = bytes(self._held[:end])
        del self._held[:end]
        self._in_image = self._in_scan = self._wary = False
        self._at = self._segment_at = 0
        return image
