"""Cameras that the server watches: `recognize cam`'s tracks, as events."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime, timezone
from typing import Any

from facerec.engine.engine import Engine
from facerec.errors import FacerecError, without_credentials
from facerec.gallery.match import Matcher
from facerec.profile.loading import Profile
from facerec.serving.events import Hub, Record
from facerec.video.people import People
from facerec.video.recognizer import Event, VideoRecognizer, with_weak_faces
from facerec.video.sources import open_video
from facerec.video.tracks import Track

_PATIENCE = 1.0
"""Seconds that a track stays without a name before it is told as unknown: a name near the threshold
is confirmed within fewer."""
_MAX_BACKOFF = 30.0
_JOIN_SECONDS = 3.0
_LOOK_SECONDS = 0.2


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
        name: of the camera, in the events' URL.
        source: as `recognize cam` takes it; may hold a password.
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
        self, name: str, source: str, engine: Engine, turn: threading.Lock,
        matcher: Callable[[], Matcher], *, strong: float, max_pixels: int,
        tell: Callable[[Record], None], say: Callable[[str], None], pause: float = 1.0,
    ) -> None:  # fmt: skip
        self.name, self.state = name, "connecting"
        self._source, self._engine, self._turn, self._matcher = (
            source, engine, turn, matcher,
        )  # fmt: skip
        self._strong, self._max_pixels, self._pause = strong, max_pixels, pause
        self._tell, self._say = tell, say
        self._first = 1
        self._loop = asyncio.get_running_loop()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"camera-{self.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching, after the frame in work."""
        self._stopped.set()

    def join(self, seconds: float = _JOIN_SECONDS) -> None:
        """Wait until it has stopped; one that gives no picture is not waited for any longer."""
        self._thread.join(max(seconds, 0))

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
        except Exception as error:  # noqa: BLE001  (a camera that fails is tried again)
            if self._stopped.is_set():
                return True
            if self.state != "away":
                expected = isinstance(error, FacerecError)
                told = str(error) if expected else without_credentials(f"failed: {error!r}")
                self._say(f"camera {self.name}: {told}; trying again")
            self.state = "away"
            return False
        return True

    def _follow(self) -> None:
        """Recognise in the camera's frames until it ends.

        Raises:
            FacerecError: it cannot be opened, or gives no more pictures.
        """
        source = open_video(self._source, stdin=None, max_pixels=self._max_pixels, reconnect=False)
        with self._turn:
            matcher = self._matcher()
        recognizer = VideoRecognizer(
            self._engine, matcher, rate=source.rate, strong=self._strong, first=self._first
        )
        strangers = Strangers()
        seconds = 0.0
        try:
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
        finally:
            self._publish(recognizer.finish(seconds))
            # The next connection's tracks are others.
            self._first = recognizer.next_number

    def _publish(self, events: Sequence[Event]) -> None:
        at = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for event in events:
            record: dict[str, Any] = {"camera": self.name, "at": at, **event.to_record()}
            try:
                self._loop.call_soon_threadsafe(self._tell, record)
            except RuntimeError:
                # The server has ended meanwhile.
                self._stopped.set()


class _Newest:
    """The matcher of the newest gallery, of one that may not be there yet. It is asked in turn."""

    def __init__(self, profile: Profile, engine: Engine, say: Callable[[str], None]) -> None:
        self._profile, self._engine, self._say = profile, engine, say
        self._people: People | None = None

    def __call__(self) -> Matcher:
        """Raises FacerecError while the gallery cannot be read."""
        if self._people is None:
            self._people = People(self._profile, self._engine, self._say)
        return self._people.newest()


class Cameras:
    """All cameras of a server, which take turns at one engine.

    Args:
        profile: names the cameras, and is the engine's and the gallery's.
        say: told in a line what is wrong with a camera.

    Attributes:
        hubs: the events of each camera, by its name.
        say: see above.
    """

    def __init__(self, profile: Profile, say: Callable[[str], None]) -> None:
        self.hubs = {name: Hub() for name in profile.serve.cameras}
        self._profile, self.say = profile, say
        self._cameras: list[Camera] = []
        self._ending: asyncio.Task[None] | None = None

    def states(self) -> dict[str, str]:
        """`connecting`, `live`, `away` or `ended`, by the camera's name."""
        known = {camera.name: camera.state for camera in self._cameras}
        return {name: known.get(name, "connecting") for name in self.hubs}

    async def start(self, ending: threading.Event) -> None:
        """Load the engine and watch all cameras.

        Args:
            ending: set when the server is asked to end; all streams end then.

        Raises:
            MissingError: weights or a package are missing.
        """
        if not self.hubs:
            return
        self._ending = asyncio.create_task(self._end_with(ending))
        profile, strong = with_weak_faces(self._profile.looking_again("none"))
        engine = await asyncio.to_thread(Engine.from_profile, profile)
        turn, newest = threading.Lock(), _Newest(profile, engine, self.say)
        self._cameras = [
            Camera(
                name, source, engine, turn, newest, strong=strong,
                max_pixels=profile.runtime.max_pixels, tell=self.hubs[name].publish,
                say=self.say,
            )
            for name, source in profile.serve.cameras.items()
        ]  # fmt: skip

    async def close(self) -> None:
        """End all streams and stop watching."""
        if self._ending is not None:
            self._ending.cancel()
        self._close_streams()
        for camera in self._cameras:
            camera.stop()
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        """Wait for all cameras at once: they were told to stop before."""
        end = time.monotonic() + _JOIN_SECONDS
        for camera in self._cameras:
            camera.join(end - time.monotonic())

    async def _end_with(self, ending: threading.Event) -> None:
        while not ending.is_set():
            await asyncio.sleep(_LOOK_SECONDS)
        self._close_streams()

    def _close_streams(self) -> None:
        for hub in self.hubs.values():
            hub.close()
