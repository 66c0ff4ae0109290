"""What the OpenAPI description says of Immich's requests and answers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

_ENTRIES = (
    '{"facial-recognition": {"detection": {"modelName": "any", "options": {"minScore": 0.7}}, '
    '"recognition": {"modelName": "any"}}}'
)
PREDICT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "entries": {
                            "type": "string",
                            "description": "Tasks as JSON.",
                            "examples": [_ENTRIES],
                        },
                        "image": {"type": "string", "format": "binary"},
                        "text": {"type": "string"},
                    },
                    "required": ["entries"],
                }
            }
        },
    }
}
"""The body of `/predict`."""


class BoundingBox(BaseModel):
    """Where a face is, in pixels."""

    x1: int
    y1: int
    x2: int
    y2: int


class ImmichFace(BaseModel):
    """A face."""

    boundingBox: BoundingBox
    score: Annotated[float, Field(ge=0, le=1)]
    embedding: Annotated[str, Field(description="512 values as JSON.")] = ""


class Prediction(BaseModel):
    """What a task found; the upstream server's tasks have keys of their own."""

    model_config = ConfigDict(extra="allow")

    faces: Annotated[list[ImmichFace], Field(alias="facial-recognition")] = []
    imageHeight: int = 0
    imageWidth: int = 0


class Greeting(BaseModel):
    """Who answers."""

    message: str
