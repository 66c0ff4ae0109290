"""What a request of CompreFace's API asks for: its query parameters and its photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request

from facerec.serving.bodies import read_content
from facerec.serving.failures import RequestError
from facerec.serving.service import Upload

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
ImageId = Annotated[str, "an enrolled face"]


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
