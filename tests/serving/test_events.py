"""Listeners, outboxes, webhooks and MQTT: nobody waits for anybody, nothing grows without bound."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import logging
import socket
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable

import aiomqtt
import pytest
from amqtt.broker import Broker

from facerec.errors import UsageError
from facerec.profile.loading import Profile
from facerec.serving import watching
from facerec.serving.cameras import Cameras
from facerec.serving.events import Hub, Outbox
from facerec.serving.mqtt import Mqtt
from facerec.serving.webhooks import Webhook

SECRET = b"a secret of both"


def record(kind: str = "identified", name: str | None = "Zoë", track: int = 1) -> dict:
    place = {"camera": "front", "at": "2026-01-02T03:04:05.678Z"}
    what = {"event": kind, "time": 1.5, "track": track, "name": name}
    return {**place, **what, "similarity": 0.9, "box": [1.0, 2.0, 3.0, 4.0]}


async def until(done: Callable[[], object]) -> None:
    """Wait for something that happens in the loop."""
    end = time.monotonic() + 10
    while not done():
        assert time.monotonic() < end, "it does not happen"
        await asyncio.sleep(0.005)


# ---- listeners


def test_each_listener_gets_every_event_in_order():
    async def check() -> None:
        hub = Hub()
        got: list[list] = [[], []]

        async def listen(place: int) -> None:
            async for one in hub.listen(60):
                got[place].append(one)

        tasks = [asyncio.create_task(listen(place)) for place in range(2)]
        await until(lambda: len(hub) == 2)
        sent = [record(track=number) for number in range(5)]
        for one in sent:
            hub.publish(one)
        hub.close()
        await asyncio.gather(*tasks)
        assert got == [sent, sent] and len(hub) == 0

    asyncio.run(check())


def test_a_slow_listener_is_dropped_and_the_others_lose_nothing():
    async def check() -> None:
        hub = Hub()
        slow, fast = hub.listen(60), []
        hub_full = asyncio.create_task(anext(slow))
        await until(lambda: len(hub) == 1)

        async def listen() -> None:
            async for one in hub.listen(60):
                fast.append(one)

        task = asyncio.create_task(listen())
        await until(lambda: len(hub) == 2)
        for number in range(2000):
            hub.publish(record(track=number))
            if number % 100 == 0:
                await until(lambda so_far=number: len(fast) > so_far)
        assert len(hub) == 1
        await hub_full
        with pytest.raises(StopAsyncIteration):
            await anext(slow)
        hub.close()
        await task
        assert [one["track"] for one in fast] == list(range(2000))

    asyncio.run(check())


def test_silence_is_broken_by_heartbeats():
    async def check() -> None:
        hub = Hub()
        stream = hub.listen(0.01)
        assert [await anext(stream) for _ in range(3)] == [None] * 3
        await stream.aclose()
        assert len(hub) == 0

    asyncio.run(check())


def test_a_full_outbox_drops_the_oldest():
    async def check() -> None:
        outbox = Outbox(2)
        one, two, three = (record(track=number) for number in range(3))
        outbox.put(one)
        outbox.put(two)
        first = await outbox.first()
        outbox.put(three)
        assert (first, len(outbox), outbox.dropped) == (one, 2, 1)
        # What was dropped while it was being sent is not there to remove.
        outbox.remove(first)
        assert await outbox.first() is two
        outbox.remove(two)
        outbox.remove(await outbox.first())
        assert len(outbox) == 0
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(outbox.first(), 0.01)

    asyncio.run(check())


# ---- webhooks


@contextlib.asynccontextmanager
async def receiver(*statuses: int) -> AsyncIterator[tuple[str, list[tuple[dict, bytes]]]]:
    """A receiver that answers with these statuses and then with 204; its URL and what came."""
    came: list[tuple[dict, bytes]] = []
    answers = list(statuses)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = [line.partition(": ") for line in head.splitlines()[1:] if line]
        headers = {name.lower(): value for name, _, value in lines}
        came.append((headers, await reader.readexactly(int(headers["content-length"]))))
        status = answers.pop(0) if answers else 204
        if status:
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?token=secret", came
    finally:
        server.close()


@contextlib.asynccontextmanager
async def sending(sink: Webhook | Mqtt) -> AsyncIterator[None]:
    task = asyncio.create_task(sink.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def test_an_event_is_posted_signed_and_only_what_concerns_people():
    async def check() -> None:
        async with receiver() as (url, came):
            hook = Webhook(url, SECRET, pytest.fail)
            async with sending(hook):
                for kind in ("appeared", "identified", "left", "unknown"):
                    hook.take(record(kind))
                await until(lambda: hook.sent == 2)
        bodies = [json.loads(body) for _, body in came]
        assert [body["event"] for body in bodies] == ["identified", "unknown"]
        assert bodies[0] == {"id": came[0][0]["x-facerec-delivery"], **record()}
        for headers, body in came:
            # As the guide tells receivers to check it.
            signed = headers["x-facerec-timestamp"].encode() + b"." + body
            expected = "sha256=" + hmac.new(SECRET, signed, hashlib.sha256).hexdigest()
            assert hmac.compare_digest(headers["x-facerec-signature"], expected)

    asyncio.run(check())


def test_a_webhook_without_a_secret_is_not_signed():
    async def check() -> None:
        async with receiver() as (url, came):
            hook = Webhook(url, None, pytest.fail)
            async with sending(hook):
                hook.take(record())
                await until(lambda: hook.sent)
        assert "x-facerec-signature" not in came[0][0]

    asyncio.run(check())


def test_a_receiver_that_fails_for_a_while_gets_the_same_delivery_again():
    async def check() -> None:
        async with receiver(500, 429, 0, 503) as (url, came):
            hook = Webhook(url, SECRET, pytest.fail, pause=0.001)
            async with sending(hook):
                hook.take(record())
                await until(lambda: hook.sent)
        assert len(came) == 5
        assert len({headers["x-facerec-delivery"] for headers, _ in came}) == 1
        assert len({body for _, body in came}) == 1

    asyncio.run(check())


@pytest.mark.parametrize(("statuses", "tries"), [((400,), 1), ((301,), 1), ((500,) * 6, 6)])
def test_an_event_that_is_not_wanted_is_given_up_and_told_without_the_token(statuses, tries):
    async def check() -> None:
        said: list[str] = []
        async with receiver(*statuses) as (url, came):
            hook = Webhook(url, SECRET, said.append, pause=0.001)
            async with sending(hook):
                hook.take(record(track=1))
                hook.take(record(track=2))
                await until(lambda: hook.sent)
        assert (hook.failed, len(came)) == (1, tries + 1)
        (line,) = said
        assert f"status {statuses[0]}" in line and "secret" not in line

    asyncio.run(check())


def test_a_webhook_must_be_a_web_address():
    with pytest.raises(UsageError, match="--webhook"):
        Webhook("mailto:me@example.com", None, pytest.fail)


@pytest.mark.parametrize("kind", [UnicodeError, KeyError])
def test_sending_goes_on_after_any_failure_which_is_told(kind):
    said: list[str] = []

    class Sink:
        """Fails once, as nothing should."""

        tries = 0

        async def run(self) -> None:
            self.tries += 1
            if self.tries == 1:
                raise kind("https://hooks.example/secret")
            await asyncio.sleep(60)

    async def check() -> None:
        sink = Sink()
        cameras = Cameras(Profile.load("default"), said.append)
        async with watching.watching(cameras, [sink], threading.Event()):
            await until(lambda: sink.tries == 2)

    asyncio.run(check())
    (line,) = said
    assert line.startswith("sink: failed: ") and line.endswith("trying again")
    assert "secret" not in line


# ---- MQTT


@contextlib.asynccontextmanager
async def broker(port: int = 0) -> AsyncIterator[int]:
    """A broker on 127.0.0.1; its port."""
    if not port:
        with socket.socket() as place:
            place.bind(("127.0.0.1", 0))
            port = place.getsockname()[1]
    logging.getLogger("amqtt").setLevel(logging.CRITICAL)
    logging.getLogger("transitions").setLevel(logging.CRITICAL)
    settings = {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    server = Broker(settings)
    await server.start()
    try:
        yield port
    finally:
        await server.shutdown()


async def collect(port: int, topic: str, count: int) -> list[tuple[str, str]]:
    """The next messages of a topic."""

    async def listen() -> list[tuple[str, str]]:
        got: list[tuple[str, str]] = []
        async with aiomqtt.Client("127.0.0.1", port, identifier=uuid.uuid4().hex) as client:
            await client.subscribe(topic, qos=1)
            async for message in client.messages:
                if message.topic.matches(topic):
                    got.append((str(message.topic), bytes(message.payload).decode()))
                if len(got) == count:
                    break
        return got

    return await asyncio.wait_for(listen(), 10)


def test_events_are_published_below_the_prefix_and_the_last_person_is_kept():
    async def check() -> None:
        async with broker() as port:
            sink = Mqtt(f"mqtt://127.0.0.1:{port}/home/faces", ["front"], pytest.fail)
            listening = asyncio.create_task(collect(port, "home/faces/front/#", 4))
            await asyncio.sleep(0.2)
            async with sending(sink):
                sink.take(record("appeared"))
                sink.take(record("identified"))
                sink.take(record("unknown", None))
                got = await listening
                await until(lambda: sink.sent == 2)
            topics = [topic.removeprefix("home/faces/front/") for topic, _ in got]
            assert topics == ["identified", "person", "unknown", "person"]
            assert json.loads(got[0][1]) == record("identified")
            assert (got[1][1], got[3][1]) == ("Zoë", "unknown")
            # Retained, for who comes later.
            assert await collect(port, "home/faces/front/person", 1) == [
                ("home/faces/front/person", "unknown")
            ]

    asyncio.run(check())


def test_home_assistant_is_told_of_a_sensor_for_each_camera():
    async def check() -> None:
        async with broker() as port:
            sink = Mqtt(f"mqtt://127.0.0.1:{port}", ["front", "back"], pytest.fail)
            async with sending(sink):
                got = dict(await collect(port, "homeassistant/sensor/+/config", 2))
                assert await collect(port, "facerec/status", 1) == [("facerec/status", "online")]
            assert await collect(port, "facerec/status", 1) == [("facerec/status", "offline")]
        sensor = json.loads(got["homeassistant/sensor/facerec_front/config"])
        assert sensor["state_topic"] == "facerec/front/person"
        assert sensor["availability_topic"] == "facerec/status"
        assert sensor["unique_id"] == "facerec_front_person"
        assert sensor["default_entity_id"] == "sensor.facerec_front_person"
        assert "homeassistant/sensor/facerec_back/config" in got

    asyncio.run(check())


def test_servers_of_two_prefixes_have_sensors_of_their_own():
    house, flat = (
        Mqtt(f"mqtt://broker/{prefix}", ["front"], pytest.fail) for prefix in ("my/house", "flat")
    )
    assert house._sensor("front")["unique_id"] == "facerec_my_house_front_person"
    assert flat._sensor("front")["unique_id"] == "facerec_flat_front_person"
    assert {sink._named("front") for sink in (house, flat)} == {
        "facerec_my_house_front", "facerec_flat_front",
    }  # fmt: skip


def test_a_broker_that_is_away_gets_the_events_when_it_is_back():
    async def check() -> None:
        said: list[str] = []
        with socket.socket() as place:
            place.bind(("127.0.0.1", 0))
            port = place.getsockname()[1]
        sink = Mqtt(f"mqtt://me:secret@127.0.0.1:{port}", ["front"], said.append, pause=0.05)
        async with sending(sink):
            sink.take(record())
            await until(lambda: said)
            async with broker(port):
                await until(lambda: sink.sent == 1)
                assert len(said) == 2 and "trying again" in said[0] and "is back" in said[1]
                assert await collect(port, "facerec/front/person", 1) == [
                    ("facerec/front/person", "Zoë")
                ]
            # It is noticed although there is nothing to publish.
            await until(lambda: len(said) == 3)
        assert "trying again" in said[2]
        assert "secret" not in "".join(said)

    asyncio.run(check())


@pytest.mark.parametrize(
    "url",
    [
        "localhost:1883",
        "http://broker",
        "mqtt://",
        "mqtt://broker:port",
        "mqtt://broker/a/+",
        "mqtt://broker..lan",
        f"mqtt://{'x' * 70}.lan",
    ],
)
def test_what_is_no_broker_is_refused(url):
    with pytest.raises(UsageError, match="--mqtt"):
        Mqtt(url, [], pytest.fail)
