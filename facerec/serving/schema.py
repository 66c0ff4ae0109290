"""What the OpenAPI description says of bodies and answers; the records themselves are made by
`facerec.gallery.records`, and a test holds that they are of these shapes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[float, Field(examples=[0.0346])]
Box = Annotated[
    list[float],
    Field(
        min_length=4,
        max_length=4,
        description="x1, y1, x2, y2 in pixels of the upright photo; may reach beyond it.",
        examples=[[528.4, 124.79, 887.59, 633.44]],
    ),
]
Landmarks = Annotated[
    list[list[float]],
    Field(
        min_length=5,
        max_length=5,
        description="Left eye, right eye, nose, left and right mouth corner, as the viewer sees "
        "them: x, y in pixels.",
        examples=[[[673.92, 329.03], [828.42, 316.29], [794.33, 411.48],
                   [705.98, 509.17], [832.8, 498.06]]],
    ),
]  # fmt: skip


Probability = Annotated[
    float | None,
    Field(ge=0, le=1, description="Null: the model's card tells none.", examples=[0.999958]),
]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FoundFace(_Answer):
    """A face."""

    box: Box
    score: Annotated[float, Field(ge=0, le=1, examples=[0.9999])]
    landmarks: Landmarks
    turn: Annotated[
        Literal[90, 180, 270] | None,
        Field(description="Degrees by which the photo was turned clockwise to find it."),
    ] = None
    quality: Annotated[
        float | None, Field(ge=0, le=1, description="Where it was measured.", examples=[0.93])
    ] = None
    norm: Annotated[
        float | None,
        Field(
            ge=0,
            description="Of the vector before normalisation, where the model's card says what it "
            "means.",
            examples=[27.31],
        ),
    ] = None


class EmbeddedFace(FoundFace):
    """A face with its vector."""

    embedding: Annotated[list[float], Field(description="A unit vector.")]


class Candidate(_Answer):
    """A person of the gallery, and how near."""

    name: Annotated[str, Field(examples=["ann"])]
    similarity: Annotated[float, Field(ge=-1, le=1, examples=[0.965396])]
    distance: Number


class RecognizedFace(FoundFace):
    """A face, and who it is."""

    name: Annotated[str | None, Field(description="Null: a stranger.", examples=["ann"])]
    similarity: float | None
    distance: float | None
    probability: Probability
    candidates: list[Candidate]


class _Photo(_Answer):
    image: Annotated[str, Field(description="The photo's name.", examples=["party.jpg"])]
    width: Annotated[int, Field(examples=[1480])]
    height: Annotated[int, Field(examples=[832])]


class Detected(_Photo):
    """The faces of a photo."""

    faces: list[FoundFace]


class Embedded(_Photo):
    """The faces of a photo, with vectors."""

    faces: list[EmbeddedFace]


class Recognized(_Photo):
    """The faces of a photo, and who they are."""

    faces: list[RecognizedFace]


class Problem(_Answer):
    """What is wrong."""

    code: Annotated[str, Field(description="A word for programs.", examples=["unreadable_image"])]
    message: Annotated[str, Field(examples=["party.jpg: is empty"])]


class Failed(_Answer):
    """A request that was not answered."""

    error: Problem


class FailedPhoto(Failed):
    """A photo of a list that could not be read."""

    image: str


class DetectedList(_Answer):
    """The answers to a list of photos, in order."""

    images: list[Detected | FailedPhoto]


class EmbeddedList(_Answer):
    """The answers to a list of photos, in order."""

    images: list[Embedded | FailedPhoto]


class RecognizedList(_Answer):
    """The answers to a list of photos, in order."""

    images: list[Recognized | FailedPhoto]


class Compared(_Answer):
    """Two faces."""

    a: str
    b: str
    same: bool
    similarity: Annotated[float, Field(ge=-1, le=1, examples=[0.965396])]
    distance: Number
    probability: Probability
    threshold: Annotated[float, Field(description="Largest distance of the same person.")]
    metric: Literal["cosine", "euclidean"]


class PersonCount(_Answer):
    """A person."""

    person: Annotated[str, Field(examples=["ann"])]
    faces: Annotated[int, Field(ge=0, examples=[3])]


class PeopleList(_Answer):
    """Everybody, in the gallery's order."""

    people: list[PersonCount]


class EnrolledFace(_Answer):
    """What one photo gave."""

    id: Annotated[str, Field(examples=["6f1c1e0e-6f0b-4c57-9b1c-0a1f8f6f3a52"])]
    person: str
    source: str
    distance: Annotated[float, Field(description="From the person's mean vector.")]
    quality: float | None
    score: float | None
    enrolled: Annotated[str | None, Field(examples=["2026-11-28T12:00:00+00:00"])]
    meta: dict[str, str]


class Person(_Answer):
    """A person and their faces."""

    person: str
    faces: list[EnrolledFace]


class Enrolment(_Answer):
    """What an enrolment did, as `facerec embed --json` tells it, and the ids."""

    gallery: str
    people: dict[str, int]
    enrolled: int
    replaced: int
    skipped: int
    faces: int
    no_face: list[str]
    several_faces: list[str]
    failed: dict[str, str]
    removed: int
    quality: dict[str, float] | None
    low_quality: dict[str, list[float]]
    warnings: list[dict[str, Any]]
    ids: Annotated[list[str], Field(description="Of each photo that is enrolled now, in order.")]


class Removed(_Answer):
    """What was removed."""

    person: str
    faces: int


class Renamed(_Answer):
    """Who a person is now."""

    person: str


class Model(_Answer):
    """The model, and what decides."""

    name: str
    arithmetic: str
    fingerprint: str
    detector: str
    metric: str
    threshold: float | None
    card: dict[str, Any]


class State(_Answer):
    """How the server is."""

    status: str


_URL = {"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]}
_ENCODED = {"type": "string", "contentEncoding": "base64", "description": "A photo in base64."}
_JSON_PHOTO = {"anyOf": [_ENCODED, _URL]}
_FILE = {"type": "string", "contentMediaType": "application/octet-stream"}
_EXAMPLE = "/9j/4AAQSkZJRg…"


def photo_body(**texts: str) -> dict[str, Any]:
    """The body of a request with photos.

    Args:
        texts: further fields and their descriptions.
    """
    more = {name: {"type": "string", "description": told} for name, told in texts.items()}
    objects = {name: {"type": "object", "description": told} for name, told in texts.items()}
    raw = {"schema": _FILE}
    return _body(
        {
            "multipart/form-data": _form(
                {"image": _FILE, "images": {"type": "array", "items": _FILE}, **more}
            ),
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "image": _JSON_PHOTO,
                        "images": {"type": "array", "items": _JSON_PHOTO},
                        **objects,
                    },
                },
                "example": {"image": _EXAMPLE},
            },
            "image/jpeg": raw,
            "application/octet-stream": raw,
        }
    )


def pair_body() -> dict[str, Any]:
    """The body of a comparison."""
    person = {"type": "object", "properties": {"person": {"type": "string"}},
              "required": ["person"]}  # fmt: skip
    side = {"anyOf": [_ENCODED, _URL, person]}
    return _body(
        {
            "multipart/form-data": _form({"a": _FILE, "b": _FILE}, required=["a", "b"]),
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"a": side, "b": side},
                    "required": ["a", "b"],
                },
                "example": {"a": _EXAMPLE, "b": {"person": "ann"}},
            },
        }
    )


def field_body(name: str, told: str) -> dict[str, Any]:
    """A JSON object of one text."""
    schema = {
        "type": "object",
        "properties": {name: {"type": "string", "description": told}},
        "required": [name],
    }
    return _body({"application/json": {"schema": schema, "example": {name: "ann"}}})


def _form(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    return {"schema": {**schema, "required": required} if required else schema}


def _body(content: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": content}}
