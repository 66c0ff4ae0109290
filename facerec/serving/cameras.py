"""Cameras that the server watches: `recognize cam`'s tracks, as events."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from facerec.engine.engine import Engine
from facerec.errors import FacerecError, UsageError, without_credentials
from facerec.gallery.match import Matcher
from facerec.profile.loading import Profile
from facerec.serving.events import Hub, Record
from facerec.video.recognizer import Event, VideoRecognizer, with_weak_faces
from facerec.video.sources import open_video
from facerec.video.tracks import Track

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PATIENCE = 1.0
"""Seconds that a track stays without a name before it is told as unknown: a name near the threshold
is confirmed within fewer."""
_MAX_BACKOFF = 30.0
_JOIN_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class CameraAddress:
    """A camera by name.

    Attributes:
        name: letters, digits, `-` and `_`; part of the events' URL.
        source: as `recognize cam` takes it; may hold a password.
    """

    name: str
    source: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> CameraAddress:
        """From `NAME=SOURCE`.

        Raises:
            UsageError: it is not of that form.
        """
        name, equals, source = text.partition("=")
        if not equals or not source or not _NAME.fullmatch(name):
            told = without_credentials(text)
            raise UsageError(f"--camera {told}: give NAME=SOURCE, as in front=rtsp://camera/1")
        if source == "-":
            raise UsageError(f"--camera {name}=-: stdin is no camera of a server")
        return cls(name, source)


def unique_cameras(cameras: Iterable[str]) -> list[CameraAddress]:
    """The cameras of `NAME=SOURCE` texts.

    Raises:
        UsageError: one is not of that form, or two have one name.
    """
    parsed = [CameraAddress.parse(text) for text in cameras]
    names = [camera.name for camera in parsed]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"--camera {name}: is given twice")
    return parsed


class Strangers:
    """Tells once of each track that stays without a name."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}

    def look(self, events: Sequence[Event], tracks: Sequence[Track], now: float) -> list[Event]:
        """The *unknown* events of a frame.

        Args:
            events: the frame's.
            tracks: those in the frame.
            now: its time.
        """
        for event in events:
            if event.kind == "left" or event.name is not None:
                self._since.pop(event.track, None)
            else:
                self._since[event.track] = event.seconds
        found = []
        for track in tracks:
            since = self._since.get(track.number)
            if track.name is None and since is not None and now - since >= _PATIENCE:
                del self._since[track.number]
                box = tuple(round(float(side), 1) for side in track.face.box)
                found.append(Event("unknown", round(now, 3), track.number, box, None, None, None))
        return found


class Camera:
    """Watches one camera in a thread of its own, and connects again when it is away.

    A film is watched once.

    Args:
        address: of the camera.
        engine: detects and embeds.
        turn: held while the engine works.
        matcher: gives that of the newest gallery.
        max_pixels: larger frames are refused.
        tell: called in the event loop's thread with each event.
        say: told in a line what is wrong with the camera.
        pause: seconds before connecting again; doubled each time, up to 30.

    Attributes:
        name: of the camera.
        state: `connecting`, `live`, `away` or `ended`.
    """

    def __init__(
        self, address: CameraAddress, engine: Engine, turn: threading.Lock,
        matcher: Callable[[], Matcher], *, strong: float, max_pixels: int,
        tell: Callable[[Record], None], say: Callable[[str], None], pause: float = 1.0,
    ) -> None:  # fmt: skip
        self.name, self.state = address.name, "connecting"
        self._source, self._engine, self._turn, self._matcher = (
            address.source, engine, turn, matcher,
        )  # fmt: skip
        self._strong, self._max_pixels, self._pause = strong, max_pixels, pause
        self._tell, self._say = tell, say
        self._loop = asyncio.get_running_loop()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"camera-{self.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching, after the frame in work."""
        self._stopped.set()

    def join(self) -> None:
        """Wait until it has stopped; a camera that gives no picture is not waited for."""
        self._thread.join(_JOIN_SECONDS)

    def _watch(self) -> None:
        pause = self._pause
        try:
            while not self._stopped.is_set():
                began = time.monotonic()
                if self._try_to_follow():
                    return
                # One that was there for a while has not been tried in vain.
                pause = self._pause if time.monotonic() - began > _MAX_BACKOFF else pause
                self._stopped.wait(pause)
                pause = min(2 * pause, _MAX_BACKOFF)
        finally:
            self.state = "ended"

    def _try_to_follow(self) -> bool:
        """Whether the camera has ended."""
        try:
            self._follow()
        except FacerecError as error:
            if self.state != "away":
                self._say(f"camera {self.name}: {error}; trying again")
            self.state = "away"
            return False
        return True

    def _follow(self) -> None:
        """Recognise in the camera's frames until it ends.

        Raises:
            FacerecError: it cannot be opened, or gives no more pictures.
        """
        source = open_video(self._source, stdin=None, max_pixels=self._max_pixels)
        recognizer = VideoRecognizer(
            self._engine, self._matcher(), rate=source.rate, strong=self._strong
        )
        strangers = Strangers()
        seconds = 0.0
        with closing(source.frames()) as frames:  # type: ignore[type-var]
            for frame in frames:
                if self._stopped.is_set():
                    return
                if self.state != "live":
                    self._say(f"camera {self.name}: live")
                self.state, seconds = "live", frame.seconds
                with self._turn:
                    recognizer.matcher = self._matcher()
                    events = recognizer.feed(frame)
                self._publish(events + strangers.look(events, recognizer.tracks, seconds))
        self._publish(recognizer.finish(seconds))

    def _publish(self, events: Sequence[Event]) -> None:
        at = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for event in events:
            record: dict[str, Any] = {"camera": self.name, "at": at, **event.to_record()}
            try:
                self._loop.call_soon_threadsafe(self._tell, record)
            except RuntimeError:
                # The server has ended meanwhile.
                self._stopped.set()


class Cameras:
    """All cameras of a server, which take turns at one engine.

    Args:
        addresses: of the cameras.
        profile: of the engine.
        matcher: gives that of the newest gallery; called in the cameras' threads.
        say: told in a line what is wrong with a camera.

    Attributes:
        hubs: the events of each camera, by its name.
    """

    def __init__(
        self, addresses: Sequence[CameraAddress], profile: Profile,
        matcher: Callable[[], Matcher], say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.hubs = {address.name: Hub() for address in addresses}
        self._addresses, self._profile = addresses, profile
        self._matcher, self._say = matcher, say
        self._cameras: list[Camera] = []

    def states(self) -> dict[str, str]:
        """`connecting`, `live`, `away` or `ended`, by the camera's name."""
        known = {camera.name: camera.state for camera in self._cameras}
        return {name: known.get(name, "connecting") for name in self.hubs}

    async def start(self) -> None:
        """Load the engine and watch all cameras.

        Raises:
            MissingError: weights or a package are missing.
        """
        if not self._addresses:
            return
        profile, strong = with_weak_faces(self._profile.looking_again("none"))
        engine = await asyncio.to_thread(Engine.from_profile, profile)
        turn = threading.Lock()
        self._cameras = [
            Camera(
                address, engine, turn, self._matcher, strong=strong,
                max_pixels=profile.runtime.max_pixels, tell=self.hubs[address.name].publish,
                say=self._say,
            )
            for address in self._addresses
        ]  # fmt: skip

    async def close(self) -> None:
        """End all streams and stop watching."""
        for hub in self.hubs.values():
            hub.close()
        for camera in self._cameras:
            camera.stop()
        for camera in self._cameras:
            await asyncio.to_thread(camera.join)
