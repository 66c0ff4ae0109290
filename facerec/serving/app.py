"""The FastAPI application of `facerec serve`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse, PlainTextResponse

from facerec import __version__
from facerec.serving import people_routes, schema, v1
from facerec.serving.answers import answer, log, map_errors
from facerec.serving.bodies import Fetch
from facerec.serving.callers import READ
from facerec.serving.camera_routes import camera_router
from facerec.serving.cameras import Cameras
from facerec.serving.compreface.routes import compreface_router
from facerec.serving.failures import unavailable
from facerec.serving.guard import Guard
from facerec.serving.immich import Upstream, immich_router
from facerec.serving.keys import Keys
from facerec.serving.metrics import Metrics
from facerec.serving.retention import keep_faces
from facerec.serving.service import Service
from facerec.serving.watching import Sink

_DESCRIPTION = (
    "Detect, embed, compare and recognise faces. A photo is the body itself, a part of a form, "
    "base64 in JSON, or, where the server allows it, a URL."
)
_POLICY = "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; "
_POLICY += "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True, slots=True)
class Settings:
    """How the server answers.

    Attributes:
        keys: API keys that are accepted; None: none is asked for.
        local: the server listens on this machine's own address alone.
        fetch: gets photos by URL; None: these are refused.
        keep: how long faces are kept that were enrolled over HTTP; None: for ever.
        upstream: does Immich's tasks that are not ours; None: these are refused.
        sinks: where the cameras' events are sent.
        say: told in a line how the cameras are.
    """

    keys: Keys | None = None
    local: bool = True
    fetch: Fetch | None = None
    keep: timedelta | None = None
    upstream: Upstream | None = None
    sinks: Sequence[Sink] = ()
    say: Callable[[str], None] = log.warning


def create_app(service: Service, settings: Settings, metrics: Metrics | None = None) -> FastAPI:
    """The application, which closes the service when it ends.

    `app.state.ending` is a `threading.Event`, set when the server is asked to end: a response
    without an end stops then. `app.state.keys` is what `callers.requires` checks.
    """
    metrics = metrics or Metrics()
    metrics.watch(lambda: service.waiting)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        keeping = None
        if settings.keep is not None and service.gallery is not None:
            keeping = asyncio.create_task(keep_faces(service, settings.keep))
        yield
        if keeping is not None:
            keeping.cancel()
        service.close()

    app = FastAPI(
        title="facerec",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.ending = threading.Event()
    app.state.keys = settings.keys
    map_errors(app)
    _add_health(app, service)

    @app.get("/metrics", tags=["server"], dependencies=READ, response_class=PlainTextResponse)
    async def figures() -> Response:
        """Requests, latencies, batches and memory, for Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    page = files("facerec.serving").joinpath("page.html").read_text("utf-8")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY})

    app.include_router(v1.create_router(service, settings.fetch))
    app.include_router(people_routes.create_router(service, settings.fetch))
    app.include_router(compreface_router(service))
    app.include_router(immich_router(service, settings.upstream))
    cameras = Cameras(service.profile, settings.say)
    app.include_router(camera_router(cameras, settings.sinks))
    app.add_middleware(Guard, keys=settings.keys, local=settings.local, observe=metrics.note_answer)
    return app


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", tags=["server"], response_model=schema.State)
    async def healthz() -> Response:
        """Whether the process lives."""
        return answer({"status": "ok"})

    @app.get("/readyz", tags=["server"], response_model=schema.State)
    async def readyz() -> Response:
        """Whether requests are answered: the server does not end, and its gallery can be read."""
        if app.state.ending.is_set():
            raise unavailable("ending", "the server ends")
        if service.gallery is not None:
            await service.read(lambda _: None)
        return answer({"status": "ready"})
