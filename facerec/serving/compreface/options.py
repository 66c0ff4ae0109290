"""What a request of CompreFace's API asks for: its query parameters and its photos."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query, Request
from pydantic import TypeAdapter, ValidationError

from facerec.files.parsing import parse_json
from facerec.serving.bodies import read_body, read_content
from facerec.serving.failures import RequestError
from facerec.serving.service import Upload

Value = TypeVar("Value")
Limit = Annotated[
    int, Query(ge=0, le=10_000, description="Largest faces that count; 0 for all.", examples=[0])
]
LeastScore = Annotated[
    float | None,
    Query(ge=0, le=1, description="Minimum score of a face; the detector's own is a lower bound."),
]
Plugins = Annotated[
    str,
    Query(
        description="Comma-separated: `landmarks`, `calculator` (the embedding). There is nothing "
        "to tell of `age`, `gender`, `pose` and `mask`.",
        examples=["landmarks,calculator"],
    ),
]
Status = Annotated[bool, Query(description="Add execution_time and plugins_versions.")]
Predictions = Annotated[
    int, Query(ge=1, le=1000, description="Most similar subjects per face, at most.")
]


@dataclass(frozen=True, slots=True)
class Options:
    """Which faces count, and what is told of them.

    Attributes:
        limit: number of faces; 0 for all.
        least: minimum score.
        plugins: what is told beside the box.
        status: whether times and versions are told.
    """

    limit: int
    least: float
    plugins: Sequence[str]
    status: bool


def _options(
    limit: Limit = 0, det_prob_threshold: LeastScore = None, face_plugins: Plugins = "",
    status: Status = False,
) -> Options:  # fmt: skip
    plugins = [name.strip() for name in face_plugins.split(",")]
    return Options(limit, det_prob_threshold or 0.0, plugins, status)


WithOptions = Annotated[Options, Depends(_options)]


async def read_photos(request: Request, *names: str) -> list[Upload]:
    """The photos of a request's fields, multipart or base64 in JSON.

    Raises:
        RequestError: one is missing, or the body is damaged.
    """
    content = await read_content(request, None, photos=names)
    photos = []
    for name in names:
        given = content.photos.get(name, [])
        if len(given) != 1:
            raise RequestError(400, "no_image", f"Required part {name} is missing")
        photos.append(given[0])
    return photos


async def read_json(request: Request, wanted: TypeAdapter[Value], most: int) -> Value:
    """A JSON body.

    Args:
        most: bytes that are read.

    Raises:
        RequestError: it is no JSON, has too many bytes, or is of another form.
    """
    body = await read_body(request, most)
    try:
        return await asyncio.to_thread(lambda: wanted.validate_python(parse_json(body)))
    except ValidationError as error:
        raise invalid(error.errors()[0]) from error
    except ValueError as error:
        raise RequestError(400, "damaged_json", "the body is no JSON") from error


def invalid(problem: Mapping[str, Any]) -> RequestError:
    """The error for what pydantic says of a parameter or field."""
    name = str(problem["loc"][-1]) if problem["loc"] else "the body"
    if problem["type"] == "missing":
        return RequestError(400, "missing_parameter", f"Required parameter {name} is missing")
    return RequestError(400, "invalid", f"{name}: {problem['msg']}")


def json_schema(wanted: TypeAdapter[Value]) -> dict[str, object]:
    """OpenAPI's description of a request with this JSON."""
    content = {"application/json": {"schema": wanted.json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


def photo_schema(*names: str) -> dict[str, object]:
    """OpenAPI's description of a request with these photos."""
    fields = {name: {"type": "string", "format": "binary"} for name in names}
    encoded = {name: {"type": "string", "format": "byte"} for name in names}
    required = list(names)
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {"type": "object", "properties": fields, "required": required}
                },
                "application/json": {
                    "schema": {"type": "object", "properties": encoded, "required": required}
                },
            },
        }
    }
