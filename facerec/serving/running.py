"""Runs an application by uvicorn until SIGTERM or Ctrl-C, and answers what was asked before."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.auto import AutoHTTPProtocol

_DRAIN_SECONDS = 30
"""Seconds in which requests are answered after the signal."""
_BACKLOG = 512
_IDLE_SECONDS = 30.0
"""Seconds after which a connection without a request is closed; a request's head has to come within
twice these, and one that takes nothing of its answer for as long is aborted."""
_LAST_IDLE_SECONDS = 2.0
"""The same once the server is asked to end."""
_PROXIES = "FORWARDED_ALLOW_IPS"
"""Environment variable that names to uvicorn the proxies whose `X-Forwarded-For` is believed."""


class _Server(uvicorn.Server):
    """A server that ends as a command does: uvicorn's own raises the signal again.

    Args:
        started: called once requests are answered.
        ending: called when the server is asked to end.
    """

    def __init__(
        self, config: uvicorn.Config, started: Callable[[], None], ending: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._on_start, self._on_end = started, ending

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._on_end()
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.signal(number, self.handle_exit)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Protocol(AutoHTTPProtocol):  # type: ignore[misc,valid-type]
    """Closes connections that ask nothing, and aborts those that take nothing of their answer.

    uvicorn's own waits for ever for a first request, for a head that comes byte by byte, and for a
    client that does not read."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._asked: Any = None
        self._unsent = 0
        self._look_again(_IDLE_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        self._unsent = 0
        super().resume_writing()

    def shutdown(self) -> None:
        super().shutdown()
        self._timer.cancel()
        self._look_again(_LAST_IDLE_SECONDS)

    def _look(self, seconds: float) -> None:
        if self._is_stuck():
            self.transport.abort()
            return
        asked: Any = self.cycle
        if asked is self._asked and (asked is None or asked.response_complete):
            # What waits to be sent is sent before, if it is taken.
            self.transport.close()
        self._asked = asked
        self._look_again(seconds)

    def _is_stuck(self) -> bool:
        """Whether the client has taken nothing since the last look of what waits for it. Nothing is
        added to that while writing is paused, or once the connection is to be closed."""
        waits = self.flow.write_paused or self.transport.is_closing()
        before, self._unsent = self._unsent, self.transport.get_write_buffer_size() if waits else 0
        return 0 < before <= self._unsent

    def _look_again(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look, seconds)


def run(app: FastAPI, bound: socket.socket, started: Callable[[], None], **options: Any) -> None:
    """Serve until SIGTERM or Ctrl-C, answer what was asked before, and return; a second one ends at
    once.

    Args:
        bound: a socket that listens.
        started: called once requests are answered.
        options: further ones of `uvicorn.Config`.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
        backlog=_BACKLOG,
        http=_Protocol,
        # Any process of this machine could else name an address that is not its own.
        proxy_headers=_PROXIES in os.environ,
        **options,
    )
    # What a stranger's broken request makes uvicorn say is no news.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    server = _Server(config, started, app.state.ending.set)
    with bound:
        server.run(sockets=[bound])
