"""The page as an ASGI application: static files, pages of JSON, pictures, decisions."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import PurePath

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from facerec.album.web.actions import ACTIONS
from facerec.album.web.answers import tell_failure
from facerec.album.web.guard import Guard
from facerec.album.web.library import Library
from facerec.album.web.reading import READING
from facerec.album.web.suggesting import Asker
from facerec.errors import FacerecError

_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


def make_app(library: Library, *, names: frozenset[str], token: str | None, cookie: str) -> ASGIApp:
    """The application of one album; see `Guard` for the other arguments."""
    app = Starlette(
        routes=[*_static(), *READING, *ACTIONS],
        exception_handlers={FacerecError: tell_failure, HTTPException: tell_failure},
        middleware=[Middleware(Guard, names=names, token=token, cookie=cookie)],
    )
    app.router.redirect_slashes = False
    app.state.library = library
    app.state.asker = Asker(library)
    return app


def _static() -> list[Route]:
    """A route for each file of the page: what else a request names is nowhere."""
    folder = files("facerec.album.web").joinpath("static")
    routes = []
    for file in folder.iterdir():
        place = "" if file.name == "index.html" else file.name
        kind = f"{_TYPES[PurePath(file.name).suffix]}; charset=utf-8"
        routes.append(Route(f"/{place}", _fixed(file.read_bytes(), kind)))
    return routes


def _fixed(body: bytes, kind: str) -> Callable[[Request], Response]:
    def send(_: Request) -> Response:
        return Response(body, media_type=kind)

    return send
