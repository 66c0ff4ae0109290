"""Serve an album's page until Ctrl-C."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from facerec.album.web.app import make_app
from facerec.album.web.library import Library
from facerec.listening import is_loopback, listen, names_of, url_of

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


def serve_album(path: str | Path, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Show an album at an address until Ctrl-C, which is no error.

    Args:
        port: 0: any free one.
        ready: is given the page's URL; off the loopback address with a token of its own.

    Raises:
        MissingError: there is no such album.
        UsageError: it cannot be written, or the address cannot be listened on.
    """
    with closing(Library(path)) as library, closing(listen(host, port)) as listening:
        address, bound = listening.getsockname()[:2]
        token = None if is_loopback(address) else secrets.token_urlsafe(16)
        # A name of this machine that others hear, such as `.local`, could be rebound to loopback.
        names = frozenset((host.lower(),)) if token is None else names_of(host)
        # Browsers keep one set of cookies for all ports of a host.
        app = make_app(library, names=names, token=token, cookie=f"facerec-album-{bound}")
        ready(url_of(host.strip("[]"), bound) + ("" if token is None else f"?token={token}"))
        # After it has ended, uvicorn raises the signal again that ended it.
        with suppress(KeyboardInterrupt):
            make_server(app).run(sockets=[listening])
