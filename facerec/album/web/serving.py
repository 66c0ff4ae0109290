"""Serve an ASGI application until Ctrl-C."""

from __future__ import annotations

import contextlib
import socket

import uvicorn
from starlette.types import ASGIApp

_GRACE_SECONDS = 2
"""Seconds that requests in flight get after Ctrl-C."""


def make_server(app: ASGIApp) -> uvicorn.Server:
    """A server without log and proxies."""
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        # Nobody stands before it; else a client could name its own address.
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        # Of browsers and phones of one household.
        limit_concurrency=200,
    )
    return uvicorn.Server(config)


def serve(app: ASGIApp, listening: socket.socket) -> None:
    """Answer requests on a socket until Ctrl-C, which is no error."""
    # After it has ended, uvicorn raises the signal again that ended it.
    with contextlib.suppress(KeyboardInterrupt):
        make_server(app).run(sockets=[listening])
