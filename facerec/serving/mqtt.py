"""Events published to an MQTT broker, with Home Assistant's discovery."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from facerec.errors import MissingError, UsageError, without_credentials
from facerec.serving.client import ascii_host
from facerec.serving.events import TOLD, Outbox, Record

if TYPE_CHECKING:
    import aiomqtt

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_MAX_BACKOFF = 30.0
_GOODBYE = 2.0
_ONLINE, _OFFLINE = "online", "offline"
_DISCOVERY = "homeassistant/sensor"
_DEFAULT_PREFIX = "facerec"
_NO_ID = re.compile(r"[^A-Za-z0-9_-]+")
"""What Home Assistant allows in no topic of its discovery."""
_NO_ENTITY = re.compile(r"[^a-z0-9_]+")
# `+`, `#` and `$` have a meaning of their own in topics.
_PREFIX = re.compile(r"[^+#$\x00-\x1f\x7f]{1,100}")


class Mqtt:
    """Publishes *identified* and *unknown* events.

    Below the prefix: `status` (`online` or `offline`, retained), `CAMERA/identified` and
    `CAMERA/unknown` (the event as JSON), `CAMERA/person` (the last name, or `unknown`, retained).
    Delivery is at least once (QoS 1).

    Args:
        url: `mqtt://[USER:PASSWORD@]HOST[:PORT][/PREFIX]`, or `mqtts://` with TLS.
        cameras: their names, for Home Assistant's discovery.
        say: told in a line when the broker is away, and when it is back.
        pause: seconds before connecting again; doubled each time, up to 30.

    Attributes:
        outbox: what waits.
        sent: events that the broker has taken.

    Raises:
        UsageError: the URL is none.
        MissingError: aiomqtt is not installed.
    """

    def __init__(
        self, url: str, cameras: Sequence[str], say: Callable[[str], None], *, pause: float = 1.0
    ) -> None:
        self.outbox = Outbox()
        self.sent = 0
        self._say, self._pause, self._cameras = say, pause, cameras
        shown = without_credentials(url)
        try:
            parts = urlsplit(url)
            port = parts.port
            host = ascii_host(parts.hostname or "")
        except ValueError as error:
            raise UsageError(f"--mqtt {shown}: is no URL") from error
        if parts.scheme not in _PORTS or not host:
            raise UsageError(f"--mqtt {shown}: give mqtt://HOST[:PORT][/PREFIX], or mqtts://")
        self._prefix = unquote(parts.path.strip("/")) or _DEFAULT_PREFIX
        if not _PREFIX.fullmatch(self._prefix):
            raise UsageError(f"--mqtt {shown}: the prefix may not hold +, # or $")
        self._secure = parts.scheme == "mqtts"
        self._host, self._port = host, port or _PORTS[parts.scheme]
        self._user = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password) if parts.password else None
        _require_aiomqtt()

    def take(self, record: Record) -> None:
        """Put an event into the outbox."""
        if record["event"] in TOLD:
            self.outbox.put(record)

    async def run(self) -> None:
        """Publish until cancelled; connect again whenever the broker is away."""
        import aiomqtt

        pause, away = self._pause, False
        while True:
            before = self.sent
            try:
                async with self._client() as client:
                    await self._announce(client)
                    if away:
                        self._say(f"mqtt: {self._host}:{self._port} is back")
                    away = False
                    await self._work(client)
            except (aiomqtt.MqttError, OSError) as error:
                if not away:
                    self._say(f"mqtt: {self._host}:{self._port}: {_reason(error)}; trying again")
                away = True
            pause = self._pause if self.sent > before else min(2 * pause, _MAX_BACKOFF)
            await asyncio.sleep(pause)

    def _client(self) -> aiomqtt.Client:
        import aiomqtt

        return aiomqtt.Client(
            self._host,
            self._port,
            username=self._user,
            password=self._password,
            will=aiomqtt.Will(f"{self._prefix}/status", _OFFLINE, qos=1, retain=True),
            tls_context=ssl.create_default_context() if self._secure else None,
        )

    async def _announce(self, client: aiomqtt.Client) -> None:
        await client.publish(f"{self._prefix}/status", _ONLINE, qos=1, retain=True)
        for camera in self._cameras:
            topic = f"{_DISCOVERY}/{self._named(camera)}/config"
            await client.publish(topic, json.dumps(self._sensor(camera)), qos=1, retain=True)

    def _named(self, camera: str) -> str:
        """A camera's id for Home Assistant: another one below another prefix, so that servers of
        one broker do not overwrite each other's sensors."""
        if self._prefix == _DEFAULT_PREFIX:
            return f"facerec_{camera}"
        return f"facerec_{_NO_ID.sub('_', self._prefix)}_{camera}"

    def _sensor(self, camera: str) -> dict[str, object]:
        """What Home Assistant must know of a camera's sensor (MQTT discovery)."""
        identity = f"{self._named(camera)}_person"
        return {
            "name": f"{camera} person",
            "unique_id": identity,
            "default_entity_id": f"sensor.{_NO_ENTITY.sub('_', identity.lower())}",
            # Its name before Home Assistant 2026.4.
            "object_id": identity,
            "icon": "mdi:face-recognition",
            "state_topic": f"{self._prefix}/{camera}/person",
            "availability_topic": f"{self._prefix}/status",
            "payload_available": _ONLINE,
            "payload_not_available": _OFFLINE,
        }

    async def _work(self, client: aiomqtt.Client) -> None:
        """Publish until the connection drops, or this is cancelled."""
        import aiomqtt

        tasks = [asyncio.create_task(work(client)) for work in (self._publish, self._notice_end)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except asyncio.CancelledError:
            # The broker sends the will only where a connection breaks.
            with contextlib.suppress(aiomqtt.MqttError):
                await client.publish(
                    f"{self._prefix}/status", _OFFLINE, qos=1, retain=True, timeout=_GOODBYE
                )
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _notice_end(self, client: aiomqtt.Client) -> None:
        """Raise when the broker is gone, also while there is nothing to publish."""
        async for _ in client.messages:
            pass

    async def _publish(self, client: aiomqtt.Client) -> None:
        while True:
            record = await self.outbox.first()
            below = f"{self._prefix}/{record['camera']}"
            payload = json.dumps(dict(record), ensure_ascii=False)
            await client.publish(f"{below}/{record['event']}", payload, qos=1)
            person = record["name"] if record["name"] is not None else "unknown"
            await client.publish(f"{below}/person", person, qos=1, retain=True)
            self.outbox.remove(record)
            self.sent += 1


def _require_aiomqtt() -> None:
    try:
        import aiomqtt  # noqa: F401
    except ImportError as error:
        raise MissingError(
            "--mqtt: aiomqtt is not installed; pip install 'facerec[mqtt]'"
        ) from error


def _reason(error: Exception) -> str:
    return without_credentials(str(error) or type(error).__name__).splitlines()[0][:200]
