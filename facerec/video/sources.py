"""Sources of frames: video files, cameras, streams, folders of images, MJPEG on stdin."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import cv2
import numpy as np

from facerec.errors import MissingError, without_credentials
from facerec.faces import Image
from facerec.imaging.decode import decode_image, read_image
from facerec.imaging.sources import find_photos
from facerec.video.cameras import find_camera

_STREAMS = ("rtsp://", "rtsps://", "http://", "https://", "rtmp://", "udp://", "tcp://")
_START, _END = b"\xff\xd8", b"\xff\xd9"
_MAX_JPEG_BYTES = 1 << 26
_MAX_BACKOFF = 8.0
_DEFAULT_RATE = 25.0


@dataclass(frozen=True, slots=True, eq=False)
class TimedFrame:
    """A frame of a video.

    Attributes:
        index: from 0, dropped frames counted.
        seconds: since the beginning.
        image: `(H, W, 3) uint8` RGB.
    """

    index: int
    seconds: float
    image: Image


class VideoSource(Protocol):
    """Frames in order.

    Attributes:
        name: for messages.
        rate: frames per second; 25 where unknown.
        total: number of frames; None where unknown.
        dropped: frames dropped so far because a newer one had arrived.
    """

    name: str
    rate: float
    total: int | None
    dropped: int

    def frames(self) -> Iterator[TimedFrame]: ...


def open_video(name: str, *, stdin: BinaryIO | None, max_pixels: int) -> VideoSource:
    """Open a source.

    Args:
        name: a camera's number, device or name, a video file, a stream's URL, a folder or
            pattern of images, or `-` for MJPEG on stdin.

    Raises:
        MissingError: it cannot be opened; lists what was tried.
    """
    if name == "-":
        if stdin is None:
            raise MissingError("-: stdin is closed")
        return MjpegSource(stdin, max_pixels)
    if name.isdigit():
        return LiveSource(name, int(name))
    if name.startswith(("/dev/video", "/dev/v4l/")):
        return LiveSource(name, os.path.realpath(name))
    if name.startswith(_STREAMS):
        return LiveSource(without_credentials(name), name, reconnect=True)
    if Path(name).is_dir() or any(mark in name for mark in "*?["):
        return ImageSource(name, max_pixels)
    if Path(name).is_file():
        return FileSource(Path(name))
    try:
        device = find_camera(name)
    except MissingError as error:
        raise MissingError(f"{name}: no such video, and {error}") from error
    return LiveSource(name, device)


class FileSource:
    """Every frame of a video file."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._capture = _open(str(path))
        if self._capture is None:
            raise MissingError(f"{path}: OpenCV cannot read it as a video")
        self.rate = _rate(self._capture)
        self.total = max(int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0) or None
        self.dropped = 0

    def frames(self) -> Iterator[TimedFrame]:
        assert self._capture is not None
        index = 0
        while True:
            good, image = self._capture.read()
            if not good:
                self._capture.release()
                return
            yield TimedFrame(index, index / self.rate, _rgb(image))
            index += 1


class ImageSource:
    """The images of a folder or pattern, in the order of their names, as 25 frames a second."""

    def __init__(self, name: str, max_pixels: int) -> None:
        self.name, self.rate, self.dropped = name, _DEFAULT_RATE, 0
        self._photos = list(find_photos([name]))
        self._max_pixels = max_pixels
        first = self._photos[0].path
        if first is not None and not first.is_file():
            raise MissingError(f"{name}: no pictures there")
        self.total: int | None = len(self._photos)

    def frames(self) -> Iterator[TimedFrame]:
        for index, photo in enumerate(self._photos):
            yield TimedFrame(index, index / self.rate, read_image(photo, self._max_pixels))


class MjpegSource:
    """A stream of JPEG images, as `ffmpeg -f mjpeg -` writes it."""

    def __init__(self, stream: BinaryIO, max_pixels: int) -> None:
        self.name, self.rate, self.dropped = "stdin", _DEFAULT_RATE, 0
        self.total: int | None = None
        self._stream, self._max_pixels = stream, max_pixels

    def frames(self) -> Iterator[TimedFrame]:
        held = b""
        index = 0
        while block := self._stream.read(1 << 16):
            held += block
            while (start := held.find(_START)) >= 0 and (end := held.find(_END, start + 2)) >= 0:
                data, held = held[start : end + 2], held[end + 2 :]
                yield TimedFrame(
                    index,
                    index / self.rate,
                    decode_image(data, f"stdin, image {index}", self._max_pixels),
                )
                index += 1
            if len(held) > _MAX_JPEG_BYTES:
                raise MissingError(
                    "stdin: no JPEG pictures there (ffmpeg … -f mjpeg - writes them)"
                )
        if index == 0:
            raise MissingError("stdin: no JPEG pictures there (ffmpeg … -f mjpeg - writes them)")


class LiveSource:
    """A camera or stream, read in a thread of its own; only the newest frame is kept.

    A stream that ends is reconnected, with exponential backoff up to eight seconds. A camera that
    ends raises `MissingError` after its last frame.
    """

    def __init__(self, name: str, address: int | str, *, reconnect: bool = False) -> None:
        self.name, self._address, self._reconnect = name, address, reconnect
        self.total: int | None = None
        self.dropped = 0
        self.reconnects = 0
        capture = _open(address)
        if capture is None:
            kind = "stream" if reconnect else "camera"
            tried = f"tried OpenCV's {_backends(address)}"
            raise MissingError(f"{name}: no such {kind}, or it does not answer ({tried})")
        self._capture: cv2.VideoCapture | None = capture
        self.rate = _rate(capture)
        self._newest: TimedFrame | None = None
        self._changed = threading.Condition()
        self._over = False

    def frames(self) -> Iterator[TimedFrame]:
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._newest is not None or self._over)
                    frame, self._newest = self._newest, None
                if frame is None:
                    raise MissingError(f"{self.name}: the camera gives no more pictures")
                yield frame
        finally:
            self._over = True
            reader.join(timeout=2)

    def _read(self) -> None:
        began, index = time.monotonic(), 0
        while not self._over:
            good, image = self._capture.read() if self._capture is not None else (False, None)
            if not good or image is None:
                if not self._reconnect or not self._open_again():
                    break
                continue
            frame = TimedFrame(index, time.monotonic() - began, _rgb(image))
            index += 1
            with self._changed:
                self.dropped += self._newest is not None
                self._newest = frame
                self._changed.notify()
        with self._changed:
            self._over = True
            self._changed.notify()
        if self._capture is not None:
            self._capture.release()

    def _open_again(self) -> bool:
        if self._capture is not None:
            self._capture.release()
        wait = 0.25
        while not self._over:
            time.sleep(wait)
            self._capture = _open(self._address)
            if self._capture is not None:
                self.reconnects += 1
                return True
            wait = min(2 * wait, _MAX_BACKOFF)
        return False


def _open(address: int | str) -> cv2.VideoCapture | None:
    from facerec.imaging.hush import hushed

    with hushed():
        capture = cv2.VideoCapture(address)
    if capture.isOpened():
        return capture
    capture.release()
    return None


def _backends(address: int | str) -> str:
    known = cv2.videoio_registry
    of_kind = known.getCameraBackends() if isinstance(address, int) else known.getStreamBackends()
    return ", ".join(known.getBackendName(backend) for backend in of_kind)


def _rate(capture: cv2.VideoCapture) -> float:
    rate = float(capture.get(cv2.CAP_PROP_FPS))
    return rate if 1 <= rate <= 1000 else _DEFAULT_RATE


def _rgb(image: np.ndarray) -> Image:
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
