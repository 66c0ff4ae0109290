"""`/v1/cameras`: which there are, and their events as they happen (server-sent events)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from facerec.serving.answers import FAILURES
from facerec.serving.callers import READ, is_still_allowed
from facerec.serving.cameras import Cameras
from facerec.serving.events import Hub, Record
from facerec.serving.failures import RequestError, unavailable
from facerec.serving.watching import Sink, watching

_HEARTBEAT = 15.0
"""Seconds without an event after which a comment is sent: proxies close what is silent."""


class CameraState(BaseModel):
    """A camera that the server watches."""

    name: str = Field(examples=["front"])
    state: str = Field(examples=["live"], description="connecting, live, away or ended")


class CameraList(BaseModel):
    """The cameras of this server."""

    cameras: list[CameraState]


def camera_router(
    cameras: Cameras, sinks: Sequence[Sink] = (), *, heartbeat: float = _HEARTBEAT
) -> APIRouter:
    """The routes below `/v1/cameras`; while the server runs the cameras are watched.

    Args:
        sinks: where events are sent.
        heartbeat: seconds between signs of life.
    """

    @asynccontextmanager
    async def watch(app: FastAPI) -> AsyncIterator[None]:
        async with watching(cameras, sinks, app.state.ending):
            yield

    router = APIRouter(
        prefix="/v1/cameras",
        tags=["cameras"],
        dependencies=READ,
        responses=FAILURES,
        lifespan=watch,
    )

    @router.get("", summary="Cameras and whether they are live")
    async def list_cameras() -> CameraList:
        states = cameras.states().items()
        return CameraList(cameras=[CameraState(name=name, state=state) for name, state in states])

    @router.get(
        "/{camera}/events",
        summary="Events of a camera as they happen",
        description="Server-sent events `appeared`, `identified`, `changed`, `left` and `unknown`; "
        "`data` is `recognize cam`'s JSON with `camera` and `at`. A listener that does not keep up "
        "is disconnected.",
        response_class=StreamingResponse,
        responses={
            200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
        },
    )
    async def camera_events(camera: str, request: Request) -> StreamingResponse:
        hub = cameras.hubs.get(camera)
        if hub is None:
            raise RequestError(404, "unknown_camera", f"{camera[:64]}: no such camera")
        if hub.full:
            raise unavailable("too_many_listeners", f"{camera}: too many listeners", seconds=10)
        return StreamingResponse(
            _stream(hub, heartbeat, lambda: is_still_allowed(request)),
            media_type="text/event-stream",
            # nginx would collect events before it sends them on.
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    return router


async def _stream(
    hub: Hub, heartbeat: float, is_allowed: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """The stream, until the listener may not hear more."""
    number = 0
    # So that the headers arrive, and a browser knows that it is connected.
    yield b": facerec\n\n"
    async with aclosing(hub.listen(heartbeat)) as records:
        async for record in records:
            if not is_allowed():
                return
            if record is None:
                yield b": still here\n\n"
                continue
            number += 1
            yield event_text(record, number)


def event_text(record: Record, number: int) -> bytes:
    """An event as a server-sent event (WHATWG HTML, 9.2)."""
    data = json.dumps(dict(record), ensure_ascii=False)
    return f"id: {number}\nevent: {record['event']}\ndata: {data}\n\n".encode()
