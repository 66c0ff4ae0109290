"""Which source of frames a name means: film, camera, stream, folder of images, stdin."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from facerec.errors import MissingError, UsageError, without_credentials
from facerec.imaging.contents import START, describe, image_kind, unread_image
from facerec.imaging.videos import LENGTH, is_video
from facerec.video.cameras import find_camera
from facerec.video.film import FileSource, has_index, open_container
from facerec.video.frames import VideoSource, Warn, ignore
from facerec.video.images import (
    AnimationSource,
    ImageSource,
    MjpegSource,
    holds_several_jpegs,
    open_animation,
)
from facerec.video.live import Camera, LiveSource, Stream, open_stream

_STREAMS = (
    "rtsp://", "rtsps://", "http://", "https://", "rtmp://", "rtmps://", "udp://", "tcp://",
    "srt://", "rtp://",
)  # fmt: skip
_PLAYLISTS = ("hls", "dash")
_NUMBERED = re.compile(r"%0?\d*d")
_JPEG = b"\xff\xd8\xff"


def open_video(
    name: str,
    *,
    stdin: BinaryIO | None,
    max_pixels: int,
    reconnect: bool = True,
    warn: Warn = ignore,
) -> VideoSource:
    """Open a source.

    Args:
        name: a camera's number, device or name, a video file, a stream's URL, a folder or
            pattern of images, or `-` for MJPEG, or any film, on stdin, as in a named pipe.
        max_pixels: larger frames are refused.
        reconnect: open a stream that ends again, for ever; else its frames end with `MissingError`,
            as a camera's do.
        warn: told of what was passed over, a line each.

    Raises:
        MissingError: it cannot be opened; lists what was tried.
        UsageError: it is a photo.
        InputError: its frames are too large.
    """
    if name == "-":
        if stdin is None:
            raise MissingError("-: stdin is closed")
        return _open_pipe("stdin", stdin, max_pixels, warn)
    if name.isdecimal() and not Path(name).is_file():
        return LiveSource(name, lambda: Camera(name, int(name)))
    if name.startswith(("/dev/video", "/dev/v4l/")):
        return LiveSource(name, lambda: Camera(name, os.path.realpath(name)))
    if name.lower().startswith(_STREAMS):
        return _open_url(name, max_pixels, warn, reconnect=reconnect)
    if Path(name).is_fifo():
        # A shell's <(command) too.
        with _telling_why(Path(name)):
            return _open_pipe(name, Path(name).open("rb"), max_pixels, warn)
    if Path(name).is_file():
        return _open_file(Path(name), max_pixels, warn)
    if Path(name).is_dir() or any(mark in name for mark in "*?["):
        return ImageSource(name, max_pixels, warn)
    if _NUMBERED.search(name):
        return ImageSource(_NUMBERED.sub("[0-9]*", name), max_pixels, warn)
    try:
        device = find_camera(name)
    except MissingError as error:
        raise MissingError(f"{name}: no such video, and {error}") from error
    return LiveSource(name, lambda: Camera(name, device))


def _open_file(path: Path, max_pixels: int, warn: Warn) -> VideoSource:
    with _telling_why(path), path.open("rb") as file:
        head = file.read(LENGTH)
    if _is_mjpeg(head) and (not head.startswith(_JPEG) or holds_several_jpegs(path)):
        return MjpegSource(path.open("rb"), max_pixels, warn, str(path))
    if image_kind(head[:START]) is not None or unread_image(head[:START]) is not None:
        opened = open_animation(path)
        if opened is None:
            raise UsageError(f"{path}: is a photo; facerec recognize image reads it")
        return AnimationSource(path, opened, max_pixels, warn)
    what = describe(head[:START]) if head else "empty"
    if what is not None:
        raise MissingError(f"{path}: is {what}, not a video")
    if head[4:8] == b"ftyp" and not has_index(path):
        raise MissingError(f"{path}: is cut off: the index at its end is missing")
    return FileSource(path, max_pixels=max_pixels, warn=warn)


@contextmanager
def _telling_why(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MissingError(f"{path}: cannot be read: {error.strerror}") from error


def _is_mjpeg(head: bytes) -> bool:
    """Whether it begins with a JPEG, or with the headers of a multipart stream."""
    return head.startswith(_JPEG) or (head.lstrip()[:2] == b"--" and b"image/jpeg" in head.lower())


def _open_pipe(name: str, pipe: BinaryIO, max_pixels: int, warn: Warn) -> VideoSource:
    head = b""
    while len(head) < LENGTH and (block := pipe.read(LENGTH - len(head))):
        head += block
    whole = _Rejoined(head, pipe)
    if not is_video(head):
        return MjpegSource(whole, max_pixels, warn, name)
    container = open_container(whole, name)
    return FileSource.of_container(name, container, max_pixels=max_pixels, warn=warn)


class _Rejoined:
    """A pipe with what was read of it before; without `seek`, as FFmpeg needs to know."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head, self._rest = head, rest

    def read(self, size: int) -> bytes:
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        # What is there, so that a slow camera's image does not wait for the next ones.
        return cast(bytes, getattr(self._rest, "read1", self._rest.read)(size))


def _open_url(url: str, max_pixels: int, warn: Warn, *, reconnect: bool) -> VideoSource:
    """A stream, or a film, which has an end and is read in full."""
    name = without_credentials(url)
    container = open_stream(url, name)
    if url.lower().startswith(("http://", "https://")) and _has_end(container):
        return FileSource.of_container(name, container, max_pixels=max_pixels, warn=warn)

    def connect(opened: Any = None) -> Stream:
        return Stream(name, opened or open_stream(url, name), max_pixels)

    return LiveSource(name, connect, reconnect=reconnect, opened=connect(container), warn=warn)


def _has_end(container: Any) -> bool:
    """Whether an HTTP server gives a film, and no live stream."""
    kind = container.format.name
    # The size is that of a playlist, or of a camera's newest picture.
    sized = kind not in _PLAYLISTS and not kind.endswith("_pipe") and container.size > 0
    return bool(container.duration or sized)
