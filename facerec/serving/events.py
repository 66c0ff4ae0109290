"""What happens at cameras, told to many: listeners of a stream, and outboxes that are sent."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

Record = Mapping[str, Any]
"""An event as JSON values: `camera`, `at` (UTC, ISO 8601), and those of `recognize cam`."""
TOLD = ("identified", "unknown")
"""Events that leave the server by themselves, by webhook and MQTT."""

_WAITING = 256
_LISTENERS = 100
_OUTBOX = 1000


class Hub:
    """Publishes records to listeners. All methods are called in the event loop's thread.

    A listener that does not keep up is dropped, so that nobody waits for it and memory is bounded.
    """

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[Record | None]] = set()
        self._takers: list[Callable[[Record], None]] = []

    def __len__(self) -> int:
        """Number of listeners."""
        return len(self._listeners)

    @property
    def full(self) -> bool:
        """Whether there are as many listeners as may be."""
        return len(self._listeners) >= _LISTENERS

    def add(self, take: Callable[[Record], None]) -> None:
        """Call `take` with each record; it must not wait."""
        self._takers.append(take)

    def publish(self, record: Record) -> None:
        """Tell everybody."""
        for take in self._takers:
            take(record)
        for listener in list(self._listeners):
            try:
                listener.put_nowait(record)
            except asyncio.QueueFull:
                self._drop(listener)

    def close(self) -> None:
        """End all streams, after what waits in them."""
        for listener in list(self._listeners):
            if listener.full():
                self._drop(listener)
            else:
                self._listeners.discard(listener)
                listener.put_nowait(None)

    async def listen(self, heartbeat: float) -> AsyncGenerator[Record | None, None]:
        """Records as they come; None after `heartbeat` seconds without one.

        Ends when the listener was too slow, or at `close`.
        """
        waiting: asyncio.Queue[Record | None] = asyncio.Queue(_WAITING)
        self._listeners.add(waiting)
        try:
            while True:
                try:
                    record = await asyncio.wait_for(waiting.get(), heartbeat)
                except (asyncio.TimeoutError, TimeoutError):
                    yield None
                    continue
                if record is None:
                    return
                yield record
        finally:
            self._listeners.discard(waiting)

    def _drop(self, listener: asyncio.Queue[Record | None]) -> None:
        self._listeners.discard(listener)
        while not listener.empty():
            listener.get_nowait()
        listener.put_nowait(None)


class Outbox:
    """Records to send, in order, bounded: the oldest is dropped for the newest.

    Attributes:
        dropped: how many were.
    """

    def __init__(self, most: int = _OUTBOX) -> None:
        self.dropped = 0
        self._records: deque[Record] = deque()
        self._most = most
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._records)

    def put(self, record: Record) -> None:
        """Add a record."""
        if len(self._records) >= self._most:
            self._records.popleft()
            self.dropped += 1
        self._records.append(record)
        self._filled.set()

    async def first(self) -> Record:
        """Wait for the oldest record, which stays until `remove`."""
        await self._filled.wait()
        return self._records[0]

    def remove(self, record: Record) -> None:
        """Remove a record that was sent, or given up, unless it was dropped meanwhile."""
        if self._records and self._records[0] is record:
            self._records.popleft()
        if not self._records:
            self._filled.clear()
