"""What happens around every request, whatever it asks: ASGI middleware.

The host is checked, the key looked up, the bytes of all bodies in work are bounded, a request whose
client hangs up is cancelled, HEAD is answered as GET without a body, and the answer gets its
headers and is counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facerec.serving.answers import log, refusal
from facerec.serving.callers import CALLER, Caller, check_host, given_key
from facerec.serving.failures import RequestError, too_busy
from facerec.serving.keys import Keys

_MOST_BYTES = 512 << 20
"""Bytes of all bodies in work; a request that is alone may have as many as its route reads."""
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}

Observe = Callable[[Scope, int, float], None]
"""Told of each answer: the request's scope, the status, and the seconds it took."""


class Guard:
    """The middleware.

    Args:
        keys: those that are accepted; None: none is asked for.
        local: the server listens on this machine's own address.
        observe: told of each answer.
    """

    def __init__(self, app: ASGIApp, *, keys: Keys | None, local: bool, observe: Observe) -> None:
        self._app = app
        self._keys = keys
        self._check_host = local and keys is None
        self._observe = observe
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0
        bare = scope["method"] == "HEAD"
        if bare:
            # A copy: the server has to know that no body follows.
            scope = {**scope, "method": "GET"}

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                _shorten_location(headers, Headers(scope=scope))
            elif bare:
                message = {**message, "body": b""}
            await send(message)

        try:
            headers = Headers(scope=scope)
            if self._check_host:
                check_host(headers)
            self._identify(scope, headers)
            await self._run(scope, receive, answer, bare)
        except RequestError as error:
            await refusal(error)(scope, receive, answer)
        except Exception as error:  # noqa: BLE001  (the last resort of a server)
            log.exception("%s %s: %s", scope["method"], scope["path"], type(error).__name__)
            if not status:
                failed = RequestError(500, "internal", "facerec failed; its log says how")
                await refusal(failed)(scope, receive, answer)
        finally:
            self._observe(scope, status or 499, time.perf_counter() - start)

    def _identify(self, scope: Scope, headers: Headers) -> None:
        """Look the key up, and keep who asks."""
        key = given_key(headers)
        found = self._keys.find(key) if self._keys is not None and key is not None else None
        scope["facerec.key"] = found
        client = scope.get("client")
        CALLER.set(Caller(found.name if found else None, client[0] if client else None))

    async def _run(self, scope: Scope, receive: Receive, send: Send, bare: bool) -> None:
        """Run the application until it has answered, or the client has hung up.

        Args:
            bare: the body's first part ends it: a stream's would never come to an end.
        """
        held = 0
        answered = False
        complete, gone = asyncio.Event(), asyncio.Event()

        def hold(size: int) -> None:
            """Count bytes until the request has ended."""
            nonlocal held
            held += size
            self._bytes += size
            if self._bytes > _MOST_BYTES and held < self._bytes:
                raise too_busy("too many bytes are being answered; try again in a second")

        async def noted(message: Message) -> None:
            nonlocal answered
            more = message.get("more_body", False)
            if bare and more:
                message = {**message, "more_body": False}
            await send(message)
            answered = message["type"] == "http.response.body" and not message.get("more_body")
            if bare and more:
                application.cancel()

        async def counted() -> Message:
            """The request's messages; beyond the body `watch` alone takes them."""
            if complete.is_set():
                await gone.wait()
                return {"type": "http.disconnect"}
            message = await receive()
            if message["type"] == "http.disconnect":
                complete.set()
                gone.set()
                if not answered:
                    # Nobody reads an answer: what follows is cancelled.
                    await asyncio.get_running_loop().create_future()
                return message
            hold(len(message.get("body", b"")))
            if not message.get("more_body", False):
                complete.set()
            return message

        async def watch() -> None:
            await complete.wait()
            while not gone.is_set():
                if (await receive())["type"] == "http.disconnect":
                    gone.set()

        scope["facerec.hold"] = hold
        application = asyncio.ensure_future(self._app(scope, counted, noted))
        watcher = asyncio.ensure_future(watch())
        try:
            await asyncio.wait({application, watcher}, return_when=asyncio.FIRST_COMPLETED)
            if not application.done() and not answered:
                application.cancel()
            await asyncio.wait({application})
            if not application.cancelled():
                application.result()
        finally:
            for task in (application, watcher):
                task.cancel()
            self._bytes -= held


def _shorten_location(answer: MutableHeaders, request: Headers) -> None:
    """Leave out scheme and host of a redirect to this server: before it may stand a proxy that is
    asked by others."""
    place = urlsplit(answer.get("location", ""))
    # A path of two slashes would name a host.
    if place.netloc and place.netloc == request.get("host") and not place.path.startswith("//"):
        answer["location"] = place._replace(scheme="", netloc="").geturl()
