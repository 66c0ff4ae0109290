"""The FastAPI application of `facerec serve`."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI, Response

from facerec import __version__
from facerec.serving.answers import answer, log, map_errors
from facerec.serving.bodies import Fetch
from facerec.serving.camera_routes import camera_router
from facerec.serving.cameras import Cameras
from facerec.serving.compreface.routes import compreface_router
from facerec.serving.failures import unavailable
from facerec.serving.immich import Upstream, immich_router
from facerec.serving.service import Service
from facerec.serving.v1 import create_router
from facerec.serving.watching import Sink


@dataclass(frozen=True, slots=True)
class Settings:
    """How the server answers.

    Attributes:
        fetch: gets photos by URL; None: these are refused.
        upstream: does Immich's tasks that are not ours; None: these are refused.
        sinks: where the cameras' events are sent.
        say: told in a line how the cameras are.
    """

    fetch: Fetch | None = None
    upstream: Upstream | None = None
    sinks: Sequence[Sink] = ()
    say: Callable[[str], None] = log.warning


def create_app(service: Service, settings: Settings) -> FastAPI:
    """The application, which closes the service when it ends.

    `app.state.ending` is a `threading.Event`, set when the server is asked to end: a response
    without an end stops then.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="facerec",
        version=__version__,
        description="Detect, embed, compare and recognise faces.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.ending = threading.Event()
    map_errors(app)

    @app.get("/healthz")
    async def healthz() -> Response:
        """Whether the process lives."""
        return answer({"status": "ok"})

    @app.get("/readyz")
    async def readyz() -> Response:
        """Whether requests are answered: the server does not end, and its gallery can be read."""
        if app.state.ending.is_set():
            raise unavailable("ending", "the server ends")
        if service.gallery is not None:
            await service.people()
        return answer({"status": "ready"})

    app.include_router(create_router(service, settings.fetch))
    app.include_router(compreface_router(service))
    app.include_router(immich_router(service, settings.upstream))
    cameras = Cameras(service.profile, settings.say)
    app.include_router(camera_router(cameras, settings.sinks))
    return app
