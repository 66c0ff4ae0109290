"""What a server does beside answering: it watches cameras and tells of them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from facerec.errors import UsageError, without_path
from facerec.profile.loading import Profile
from facerec.serving.cameras import Cameras
from facerec.serving.mqtt import Mqtt
from facerec.serving.webhooks import Webhook

Sink = Webhook | Mqtt
_MOST_BYTES = 4096
_PAUSE, _MAX_BACKOFF = 1.0, 60.0


def sinks_of(profile: Profile, say: Callable[[str], None]) -> list[Sink]:
    """Where a profile's `serve` section says that events are sent.

    Args:
        say: told in a line what could not be sent.

    Raises:
        UsageError: an address is none, there is no camera, or the secret cannot be read.
        MissingError: aiomqtt is not installed.
    """
    section = profile.serve
    sinks: list[Sink] = []
    if section.webhook is not None:
        secret = section.webhook_secret
        sinks.append(Webhook(section.webhook, None if secret is None else _read(secret), say))
    if section.mqtt is not None:
        sinks.append(Mqtt(section.mqtt, list(section.cameras), say))
    if sinks and not section.cameras:
        raise UsageError("--webhook and --mqtt tell of cameras: name one, --camera front=0")
    return sinks


def _read(path: Path) -> bytes:
    """A secret, without white space at its ends."""
    try:
        with path.open("rb") as file:
            secret = file.read(_MOST_BYTES).strip()
    except OSError as error:
        raise UsageError(f"--webhook-secret {path}: {error.strerror}") from error
    if not secret:
        raise UsageError(f"--webhook-secret {path}: is empty")
    return secret


@asynccontextmanager
async def watching(
    cameras: Cameras, sinks: Sequence[Sink], ending: threading.Event
) -> AsyncIterator[None]:
    """Watch cameras and send their events while the server runs.

    Args:
        sinks: where events are sent.
        ending: set when the server is asked to end.
    """
    for hub in cameras.hubs.values():
        for sink in sinks:
            hub.add(sink.take)
    sending = [asyncio.create_task(_keep_sending(sink, cameras.say)) for sink in sinks]
    try:
        await cameras.start(ending)
        yield
    finally:
        await cameras.close()
        for task in sending:
            task.cancel()
        for task in sending:
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _keep_sending(sink: Sink, say: Callable[[str], None], pause: float = _PAUSE) -> None:
    """Send until cancelled, whatever happens: nobody waits for a task that has failed."""
    while True:
        try:
            await sink.run()
        except Exception as error:  # noqa: BLE001  (what failed is tried again)
            told = without_path(f"failed: {error!r}")
            say(f"{type(sink).__name__.lower()}: {told}; trying again")
        await asyncio.sleep(pause)
        pause = min(2 * pause, _MAX_BACKOFF)
