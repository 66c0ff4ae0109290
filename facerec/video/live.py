"""Cameras and streams, of which the newest frame counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import av
import cv2
import numpy as np

from facerec.errors import MissingError
from facerec.faces import Image
from facerec.files.parsing import brief
from facerec.files.text import counted
from facerec.video.cameras import list_cameras
from facerec.video.film import frame_rate, open_container, video_stream
from facerec.video.frames import DEFAULT_RATE, TimedFrame, Warn, ignore
from facerec.video.pixels import Deinterlacer, PixelReader

_MAX_BACKOFF = 8.0
_OPEN_SECONDS, _READ_SECONDS = 15.0, 15.0
"""After which a server that does not answer counts as gone."""


class Grabber(Protocol):
    """A live device: `read` waits for its next frame; None at its end.

    Attributes:
        undecodable: packets so far that could not be decoded.
    """

    rate: float
    undecodable: int

    def read(self) -> Image | None: ...

    def close(self) -> None: ...


class LiveSource:
    """Frames read in a thread of its own; only the newest one is kept.

    A stream that ends is reconnected, with exponential backoff up to eight seconds. A camera that
    ends raises `MissingError` after its last frame. What reading raises, `frames` raises.

    Args:
        name: for messages.
        connect: opens the device, or raises `MissingError`.
        opened: one that is open already.
        warn: told at the end how many packets could not be decoded.
    """

    def __init__(
        self, name: str, connect: Callable[[], Grabber],
        *, reconnect: bool = False, opened: Grabber | None = None, warn: Warn = ignore,
    ) -> None:  # fmt: skip
        self.name, self._connect, self._reconnect = name, connect, reconnect
        self._warn, self._undecodable = warn, 0
        self.total: int | None = None
        self.dropped = self.lost = 0
        self.reconnects = 0
        self._grabber: Grabber | None = opened or connect()
        self.rate = self._grabber.rate
        self._newest: TimedFrame | None = None
        self._changed = threading.Condition()
        self._over = False
        self._error: Exception | None = None

    def frames(self) -> Iterator[TimedFrame]:
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._newest is not None or self._over)
                    frame, self._newest = self._newest, None
                if frame is None:
                    if self._error is not None:
                        raise self._error
                    raise MissingError(f"{self.name}: the camera gives no more pictures")
                yield frame
        finally:
            self._over = True
            reader.join(timeout=2)
            if self.undecodable:
                self._warn(
                    f"{self.name}: {counted(self.undecodable, 'packet')} could not be decoded"
                )

    @property
    def undecodable(self) -> int:
        """Packets so far that could not be decoded, of all connections. A stream loses some on its
        way as a matter of course, so that they are no failure, as a film's lost frames are."""
        grabber = self._grabber  # The reader may be about to replace it.
        return self._undecodable + (grabber.undecodable if grabber is not None else 0)

    def _read(self) -> None:
        try:
            self._read_all()
        except (av.error.FFmpegError, cv2.error, OSError, ValueError) as error:
            self._error = MissingError(f"{self.name}: cannot be read on: {brief(error)}")
            self._error.__cause__ = error
        except Exception as error:  # noqa: BLE001  (raised in the thread that waits)
            self._error = error
        finally:
            with self._changed:
                self._over = True
                self._changed.notify()
            if self._grabber is not None:
                self._grabber.close()

    def _read_all(self) -> None:
        began, index = time.monotonic(), 0
        while not self._over:
            image = self._grabber.read() if self._grabber is not None else None
            if image is None:
                if not self._reconnect or not self._open_again():
                    return
                continue
            frame = TimedFrame(index, time.monotonic() - began, image)
            index += 1
            with self._changed:
                self.dropped += self._newest is not None
                self._newest = frame
                self._changed.notify()

    def _open_again(self) -> bool:
        if self._grabber is not None:
            self._grabber.close()
            self._undecodable += self._grabber.undecodable
            self._grabber = None
        wait = 0.25
        while not self._over:
            time.sleep(wait)
            try:
                self._grabber = self._connect()
            except MissingError:
                wait = min(2 * wait, _MAX_BACKOFF)
                continue
            self.reconnects += 1
            return True
        return False


class Camera:
    """A camera of this machine, by OpenCV, which tells nothing of what it could not decode.

    Raises:
        MissingError: it does not answer; lists the cameras that there are.
    """

    undecodable = 0

    def __init__(self, name: str, device: int | str) -> None:
        # Its backends complain of each camera that is not there, a dozen lines each time.
        before = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            self._capture = cv2.VideoCapture(device)
        finally:
            cv2.utils.logging.setLogLevel(before)
        if not self._capture.isOpened():
            self._capture.release()
            raise MissingError(
                f"{name}: no such camera, or it does not answer (tried OpenCV's {_backends()}; "
                f"cameras here: {list_cameras()})"
            )
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.rate = rate if 1 <= rate <= 1000 else DEFAULT_RATE

    def read(self) -> Image | None:
        good, image = self._capture.read()
        if not good or image is None:
            return None
        if image.ndim == 2:
            image = np.repeat(image[..., None], 3, axis=2)
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)

    def close(self) -> None:
        self._capture.release()


def _backends() -> str:
    known = cv2.videoio_registry
    return ", ".join(known.getBackendName(backend) for backend in known.getCameraBackends())


class Stream:
    """A stream behind a URL, by FFmpeg; what cannot be decoded is skipped and counted.

    Raises:
        MissingError: it does not answer.
    """

    def __init__(self, name: str, container: Any, max_pixels: int) -> None:
        self._container = container
        stream = video_stream(container, name, max_pixels)
        # Frame threads would delay each frame by as many frames as there are cores.
        stream.thread_type = "SLICE"
        self.rate = frame_rate(stream)
        self._stream = stream
        self.undecodable = 0
        self._frames = self._decoded()
        self._pixels = PixelReader(stream.sample_aspect_ratio)

    def read(self) -> Image | None:
        frame = next(self._frames, None)
        return None if frame is None else self._pixels.read(frame)

    def close(self) -> None:
        self._container.close()

    def _decoded(self) -> Iterator[Any]:
        merging = Deinterlacer()
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError, IndexError):
                return
            if packet is None or not packet.size:
                return
            try:
                found = packet.decode()
            except av.error.FFmpegError:
                self.undecodable += 1
                continue
            for frame in found:
                self.undecodable += frame.is_corrupt
                yield from merging.push(frame)


def open_stream(url: str, name: str) -> Any:
    """The container behind a URL.

    Args:
        name: what an error calls it.

    Raises:
        MissingError: it does not answer.
    """
    # UDP through a firewall gives no frames and no error.
    options = {"rtsp_flags": "prefer_tcp"} if url.startswith("rtsp") else {}
    try:
        return open_container(url, name, options=options, timeout=(_OPEN_SECONDS, _READ_SECONDS))
    except MissingError as error:
        reason = str(error).rpartition(": ")[2]
        raise MissingError(
            f"{name}: no such stream, or it does not answer (tried FFmpeg: {reason})"
        ) from error
