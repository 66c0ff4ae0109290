"""Events sent to a URL, signed, and sent again while it does not answer."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable

from facerec.errors import InputError, UsageError, without_path
from facerec.serving.client import parse_url, send
from facerec.serving.events import TOLD, Outbox, Record

_ATTEMPTS = 6
_SECONDS = 10.0
_MOST_BYTES = 1 << 16
_AGAIN = {408, 425, 429}
"""Statuses below 500 that ask for another attempt."""


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """`sha256=` and the HMAC-SHA256, in hex, of the timestamp, a full stop and the body."""
    signed = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret, signed, hashlib.sha256).hexdigest()


class Webhook:
    """Posts *identified* and *unknown* events as JSON.

    Args:
        url: of the receiver, which may be a private address: the operator named it.
        secret: shared with the receiver; None: not signed.
        say: told in a line of what could not be delivered.
        pause: seconds before the second attempt; doubled for each further one.

    Attributes:
        outbox: what waits.
        sent: events delivered.
        failed: events given up.

    Raises:
        UsageError: the URL is none.
    """

    def __init__(
        self, url: str, secret: bytes | None, say: Callable[[str], None], *, pause: float = 1.0
    ) -> None:
        try:
            self._target = parse_url(url)
        except InputError as error:
            raise UsageError(without_path(f"--webhook {error}")) from error
        self._secret, self._say, self._pause = secret, say, pause
        self.outbox = Outbox()
        self.sent = self.failed = 0

    def take(self, record: Record) -> None:
        """Put an event into the outbox."""
        if record["event"] in TOLD:
            self.outbox.put(record)

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            record = await self.outbox.first()
            problem = await self._deliver(record)
            self.outbox.remove(record)
            if problem is None:
                self.sent += 1
            else:
                self.failed += 1
                told = without_path(f"webhook: an event was not delivered: {problem}")
                self._say(told)

    async def _deliver(self, record: Record) -> str | None:
        """Send an event, several times if need be; why it was given up, or None."""
        # One id for all attempts, so that a receiver knows an event that it has had already.
        delivery = str(uuid.uuid4())
        body = json.dumps({"id": delivery, **record}, ensure_ascii=False).encode()
        problem = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(self._pause * 2 ** (attempt - 1))
            status, problem = await self._post(delivery, body)
            if 200 <= status < 300:
                return None
            if 300 <= status < 500 and status not in _AGAIN:
                return problem
        return f"{problem} ({_ATTEMPTS} attempts)"

    async def _post(self, delivery: str, body: bytes) -> tuple[int, str]:
        """The answer's status, 0 without an answer, and what was wrong with it."""
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "facerec",
            "X-Facerec-Delivery": delivery,
            "X-Facerec-Timestamp": timestamp,
        }
        if self._secret is not None:
            headers["X-Facerec-Signature"] = signature(self._secret, timestamp, body)
        try:
            answer = await send(
                self._target, "POST", headers=headers, body=body, most_bytes=_MOST_BYTES,
                seconds=_SECONDS,
            )  # fmt: skip
        except InputError as error:
            return 0, str(error)
        return answer.status, f"{self._target.host} answers with status {answer.status}"
