"""Cameras that the server watches: a film as camera, its events as a stream to many."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import cv2
import httpx
import pytest
from fastapi import FastAPI, Request

from facerec import Matcher
from facerec.cli.options import parse_cameras
from facerec.errors import MissingError, UsageError
from facerec.gallery.addresses import open_gallery
from facerec.profile.loading import Profile
from facerec.serving import camera_routes, keys
from facerec.serving.answers import map_errors
from facerec.serving.callers import is_still_allowed
from facerec.serving.camera_routes import camera_router
from facerec.serving.cameras import Camera, Cameras, Strangers
from facerec.serving.events import Hub
from facerec.video.frames import TimedFrame
from facerec.video.recognizer import Event
from facerec.video.sources import open_video
from tests.serving.running import running
from tests.video.test_video import clip, gallery  # noqa: F401

# ---- names


def test_a_camera_has_a_name_and_a_source_which_is_not_shown(run):
    url = "rtsp://me:hunter2@camera/1?a=b"
    assert parse_cameras([f"front-1={url}", "yard=0"]) == {"front-1": url, "yard": "0"}
    told = run("profile", "show", "--set", f"serve.cameras={{front: '{url}'}}", "--json")
    assert told[0] == 0 and "rtsp://camera/1" in told[1] and "hunter2" not in str(told)


@pytest.mark.parametrize(
    "text", ["", "front", "=0", "front=", "a/b=0", "a b=0", "rtsp://me:secret@camera/1?a=1"]
)
def test_what_is_no_named_camera_is_refused_without_its_password(text):
    with pytest.raises(UsageError, match="--camera") as refused:
        parse_cameras([text])
    assert "secret" not in str(refused.value)


def test_two_cameras_of_one_name_are_refused():
    with pytest.raises(UsageError, match="--camera a: is given twice"):
        parse_cameras(["a=0", "b=1", "a=2"])


# ---- strangers


def event(kind: str, name: str | None, seconds: float) -> Event:
    return Event(kind, seconds, 1, (0.0, 0.0, 1.0, 1.0), name, None, None)  # type: ignore[arg-type]


TRACK = SimpleNamespace(number=1, name=None, face=SimpleNamespace(box=(1.04, 2.0, 3.0, 4.0)))
NAMED = SimpleNamespace(number=1, name="Zoë", face=TRACK.face)


def test_a_track_that_stays_without_a_name_is_told_once():
    strangers = Strangers()
    assert strangers.look([event("appeared", None, 0.0)], [TRACK], 0.0) == []
    assert strangers.look([], [TRACK], 0.9) == []
    (told,) = strangers.look([], [TRACK], 1.0)
    assert (told.kind, told.seconds, told.box) == ("unknown", 1.0, (1.0, 2.0, 3.0, 4.0))
    assert strangers.look([], [TRACK], 5.0) == []


def test_neither_who_is_named_in_time_nor_who_leaves_is_a_stranger():
    for end in (event("identified", "Zoë", 0.5), event("left", None, 0.5)):
        strangers = Strangers()
        strangers.look([event("appeared", None, 0.0)], [TRACK], 0.0)
        strangers.look([end], [NAMED], 0.5)
        assert strangers.look([], [NAMED], 2.0) == []


def test_who_loses_their_name_becomes_a_stranger():
    strangers = Strangers()
    strangers.look([event("identified", "Zoë", 0.0)], [NAMED], 0.0)
    strangers.look([event("changed", None, 3.0)], [TRACK], 3.0)
    assert [one.kind for one in strangers.look([], [TRACK], 4.0)] == ["unknown"]


# ---- watching


@pytest.fixture
def watching(engine):
    """An engine, and the score of a strong detection."""
    return engine, 0.0


def camera(source: object, watching, matcher, tell, say, **options) -> Camera:
    engine, strong = watching
    return Camera(
        "front", str(source), engine, threading.Lock(), lambda: matcher,
        strong=strong, max_pixels=10**8, tell=tell, say=say, **options,
    )  # fmt: skip


def watch(source: object, watching, matcher: object) -> tuple[list[dict], list[str], str]:
    """All events of a camera until it ends, what was said, and its state then."""
    events: list[dict] = []
    said: list[str] = []

    async def check() -> str:
        seen = camera(source, watching, matcher, events.append, said.append)
        await asyncio.to_thread(seen._thread.join)
        await asyncio.sleep(0)
        return seen.state

    return events, said, asyncio.run(check())


def test_a_film_as_camera_gives_the_events_of_recognize_cam(run, clip, gallery, watching):  # noqa: F811
    store = open_gallery(str(gallery))
    matcher = Matcher(store, Profile.load("default").recognize, watching[0].card)
    events, said, state = watch(clip, watching, matcher)
    assert (said, state) == (["camera front: live"], "ended")
    assert {one["camera"] for one in events} == {"front"}
    assert all(one["at"].endswith("Z") for one in events)
    named = [one["name"] for one in events if one["event"] == "identified"]
    assert sorted(named) == ["eileen_collins", "grace_hopper"]
    code, out, _ = run("recognize", "video", clip, "-g", gallery, "--json")
    assert code == 0
    keys = [list(json.loads(line)) for line in out.splitlines()]
    assert {tuple(one)[2:] for one in events} == {tuple(one) for one in keys}


def test_a_stranger_in_a_film_is_told_as_unknown(clip, watching):  # noqa: F811
    from facerec.gallery.memory import MemoryGallery

    matcher = Matcher(
        MemoryGallery(watching[0].card), Profile.load("default").recognize, watching[0].card
    )
    events, _, _ = watch(clip, watching, matcher)
    strangers = [one for one in events if one["event"] == "unknown"]
    assert len({one["track"] for one in strangers}) == len(strangers) == 2


@pytest.mark.parametrize("kind", [MissingError, RuntimeError])
def test_a_camera_that_fails_is_told_once_without_its_password_and_tried_again(watching, kind):
    said: list[str] = []

    async def check() -> None:
        url = "rtsp://me:secret@127.0.0.1:9/1"
        seen = camera(url, watching, None, lambda _: None, said.append, pause=0.01)
        tries = 0

        def refuse() -> None:
            nonlocal tries
            tries += 1
            raise kind(f"{url}: does not answer")

        seen._follow = refuse
        for _ in range(500):
            if tries >= 3:
                break
            await asyncio.sleep(0.01)
        assert (tries >= 3, seen.state) == (True, "away")
        seen.stop()
        await asyncio.to_thread(seen.join)

    asyncio.run(check())
    assert len(said) == 1 and "camera front" in said[0] and "secret" not in said[0]


def test_a_stream_is_watched_once_it_is_there_and_again_when_it_drops(
    clip, gallery, watching  # noqa: F811
):  # fmt: skip
    jpegs = [
        cv2.imencode(".jpg", frame.image[:, :, ::-1])[1].tobytes()
        for frame in open_video(str(clip), stdin=None, max_pixels=10**8).frames()
    ][::6]
    connections: list[float] = []

    class Drops(BaseHTTPRequestHandler):
        """Sends a second of pictures, as an IP camera does, and hangs up."""

        def do_GET(self) -> None:
            connections.append(time.monotonic())
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=b")
            self.end_headers()
            for jpeg in jpegs:
                head = f"--b\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
                time.sleep(0.1)

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    store = open_gallery(str(gallery))
    matcher = Matcher(store, Profile.load("default").recognize, watching[0].card)
    events: list[dict] = []
    said: list[str] = []

    async def check() -> None:
        url = f"http://127.0.0.1:{port}/video"
        seen = camera(url, watching, matcher, events.append, said.append, pause=0.05)
        while seen.state != "away":
            await asyncio.sleep(0.01)
        server = ThreadingHTTPServer(("127.0.0.1", port), Drops)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        while len(connections) < 2 or not [one for one in events if one["event"] == "identified"]:
            await asyncio.sleep(0.02)
        server.shutdown()
        server.server_close()
        # It is gone for good, which is told, and its tracks have left.
        while seen.state != "away" or len(said) < 3:
            await asyncio.sleep(0.02)
        seen.stop()
        await asyncio.to_thread(seen.join)
        assert seen.state == "ended"
        await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(check(), 30))
    assert all(line.endswith("trying again") for line in said[::2])
    assert all(line == "camera front: live" for line in said[1::2])
    in_order(events)


def in_order(events: list[dict]) -> None:
    """Each track appears once, and before it leaves; none is there at the end."""
    there: list[int] = []
    for one in events:
        if one["event"] == "appeared":
            assert one["track"] not in there
            there.append(one["track"])
        elif one["event"] == "left":
            there.remove(one["track"])
    assert there == []


def test_who_was_there_when_a_camera_drops_out_has_left_and_track_numbers_go_on(
    clip, watching, gallery, monkeypatch  # noqa: F811
):  # fmt: skip
    frames = list(open_video(str(clip), stdin=None, max_pixels=10**8).frames())[:30]
    connections: list[int] = []

    class Drops:
        """A camera that is unplugged after a second."""

        rate = 25.0

        def frames(self) -> Iterator[TimedFrame]:
            connections.append(len(connections))
            if len(connections) > 2:
                return
            yield from frames
            raise MissingError("front: the camera gives no more pictures")

    monkeypatch.setattr("facerec.serving.cameras.open_video", lambda *_, **__: Drops())
    store = open_gallery(str(gallery))
    matcher = Matcher(store, Profile.load("default").recognize, watching[0].card)
    events: list[dict] = []

    async def check() -> None:
        seen = camera("0", watching, matcher, events.append, lambda _: None, pause=0.01)
        await asyncio.to_thread(seen._thread.join)
        await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(check(), 30))
    in_order(events)
    appeared = [one["track"] for one in events if one["event"] == "appeared"]
    assert appeared == list(range(1, len(appeared) + 1)) and len(appeared) >= 2


def test_cameras_that_give_no_picture_are_waited_for_together(monkeypatch):
    monkeypatch.setattr("facerec.serving.cameras._JOIN_SECONDS", 0.2)
    waited: list[float] = []
    silent = SimpleNamespace(stop=lambda: None)

    def join(seconds: float) -> None:
        waited.append(seconds)
        time.sleep(max(seconds, 0))

    silent.join = join
    cameras = Cameras(Profile.load(flags={"serve.cameras": {"front": "0"}}), pytest.fail)
    cameras._cameras = [silent] * 20
    asyncio.run(cameras.close())
    assert len(waited) == 20 and sum(max(seconds, 0) for seconds in waited) <= 0.2


# ---- the stream


async def no_start(ending: threading.Event) -> None:
    """Instead of the engine and the camera's thread."""


@pytest.fixture
def served(monkeypatch) -> Iterator[tuple[str, Cameras, asyncio.AbstractEventLoop]]:
    """A server with one camera that has no picture yet; its URL, cameras and loop."""
    cameras = Cameras(Profile.load(flags={"serve.cameras": {"front": "0"}}), pytest.fail)
    monkeypatch.setattr(cameras, "start", no_start)
    app = FastAPI()
    app.state.ending, app.state.keys = threading.Event(), None
    map_errors(app)
    app.include_router(camera_router(cameras, heartbeat=0.05))
    loops = []

    @app.get("/loop")
    async def loop() -> None:
        loops.append(asyncio.get_running_loop())

    with running(app) as url:
        httpx.get(f"{url}/loop")
        yield url, cameras, loops[0]
        loops[0].call_soon_threadsafe(cameras.hubs["front"].close)


RECORD = {"camera": "front", "at": "2026-01-02T03:04:05.678Z",
          **event("identified", "Zoë\n", 1.5).to_record()}  # fmt: skip


def test_two_listeners_get_an_event_and_silence_is_broken(served):
    url, cameras, loop = served
    got: list[list[str]] = [[], []]

    def listen(place: int) -> None:
        with httpx.stream("GET", f"{url}/v1/cameras/front/events", timeout=10) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            for line in answer.iter_lines():
                got[place].append(line)
                if line.startswith("data:"):
                    return

    threads = [threading.Thread(target=listen, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 10
    while not all(": still here" in lines for lines in got):
        assert time.monotonic() < end
        time.sleep(0.01)
    loop.call_soon_threadsafe(cameras.hubs["front"].publish, RECORD)
    for thread in threads:
        thread.join(10)
    for lines in got:
        assert lines[-3:-1] == ["id: 1", "event: identified"]
        assert json.loads(lines[-1].removeprefix("data: ")) == RECORD


def test_cameras_are_listed_and_an_unknown_one_is_not_found(served):
    url, _, _ = served
    listed = httpx.get(f"{url}/v1/cameras").json()
    assert listed == {"cameras": [{"name": "front", "state": "connecting"}]}
    assert httpx.get(f"{url}/v1/cameras/back/events").status_code == 404


def test_a_client_that_does_not_read_is_dropped_and_holds_nobody_up(served):
    url, cameras, loop = served
    hub = cameras.hubs["front"]
    long = {**RECORD, "name": "x" * 20_000}
    place = url.removeprefix("http://")
    with socket.create_connection(tuple(place.split(":"))) as silent:
        silent.sendall(f"GET /v1/cameras/front/events HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
        got = 0
        with httpx.stream("GET", f"{url}/v1/cameras/front/events", timeout=10) as answer:
            lines = answer.iter_lines()
            next(lines)
            while len(hub) < 2:
                time.sleep(0.01)
            while len(hub) == 2 and got < 5000:
                loop.call_soon_threadsafe(hub.publish, long)
                while not next(lines).startswith("data:"):
                    pass
                got += 1
            assert len(hub) == 1
            loop.call_soon_threadsafe(hub.publish, RECORD)
            last = next(line for line in lines if line.startswith("data:"))
            assert json.loads(last.removeprefix("data: ")) == RECORD


def test_a_stream_ends_once_its_key_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(keys, "_CHECK", 0.0)
    file = tmp_path / "keys.json"
    given = keys.add_key(file, "door", "read")
    accepted = keys.Keys(file)
    app = SimpleNamespace(state=SimpleNamespace(keys=accepted))
    request = Request({"type": "http", "app": app, "facerec.key": accepted.find(given)})

    async def listen() -> None:
        hub = Hub()
        stream = camera_routes._stream(hub, 5, lambda: is_still_allowed(request))
        assert await anext(stream) == b": facerec\n\n"
        for allowed in (True, False):
            asked = asyncio.create_task(anext(stream, b""))
            while not len(hub):
                await asyncio.sleep(0)
            hub.publish(RECORD)
            assert bool(await asked) is allowed
            if allowed:
                keys.remove_key(file, "door")
        assert len(hub) == 0

    asyncio.run(asyncio.wait_for(listen(), 5))
