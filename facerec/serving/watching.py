"""What a server does beside answering: it watches cameras and tells of them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from facerec.serving.cameras import Cameras
from facerec.serving.mqtt import Mqtt
from facerec.serving.webhooks import Webhook

Sink = Webhook | Mqtt


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
    sending = [asyncio.create_task(sink.run()) for sink in sinks]
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
