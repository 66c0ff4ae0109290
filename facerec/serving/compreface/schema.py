"""What the OpenAPI description says of CompreFace's bodies and answers; see `shapes`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1, examples=[0.99])]
Pixel = Annotated[int, Field(ge=0)]
Vectors = Annotated[list[list[float]], Field(min_length=1, max_length=1000)]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Fault(_Answer):
    """A request that was not answered."""

    message: Annotated[str, Field(examples=["No face is found in the given image"])]
    code: Annotated[int, Field(examples=[28], description="CompreFace's number of the error.")]


FAULTS: dict[int | str, dict[str, Any]] = {
    status: {"model": Fault} for status in (400, 401, 403, 404, 405, 408, 409, 413, 415, 429, 503)
}
"""Descriptions of the errors that a route may answer."""


class Box(_Answer):
    """Where a face is, in pixels of the upright photo."""

    probability: Share
    x_max: Pixel
    y_max: Pixel
    x_min: Pixel
    y_min: Pixel


class Times(_Answer):
    """Milliseconds, of detection and embedding together."""

    detector: float


class Versions(_Answer):
    """What found and embedded the faces."""

    detector: str
    calculator: str


class DetectedFace(_Answer):
    """A face."""

    box: Box
    landmarks: list[list[int]] | None = None
    embedding: list[float] | None = None
    execution_time: Times | None = None


Probability = Annotated[
    Share | None,
    Field(description="Of the right name; only where the gallery's card knows strangers."),
]


class Likeness(_Answer):
    """A subject, and how similar: 0.5 at the threshold."""

    subject: str
    similarity: Share
    probability: Probability = None


class RecognizedFace(DetectedFace):
    """A face, and the most similar subjects."""

    subjects: list[Likeness]


class VerifiedFace(DetectedFace):
    """A face, compared with an example."""

    subject: str
    similarity: Share
    probability: Probability = None


class MatchedFace(DetectedFace):
    """A face, compared with the source's."""

    similarity: Share
    probability: Probability = None


class Detected(_Answer):
    """The faces of a photo, the largest first."""

    result: list[DetectedFace]
    plugins_versions: Versions | None = None


class Recognized(_Answer):
    """The faces of a photo, the largest first, and who they are like."""

    result: list[RecognizedFace]
    plugins_versions: Versions | None = None


class Verified(_Answer):
    """The faces of a photo, compared with an example."""

    result: list[VerifiedFace]
    plugins_versions: Versions | None = None


class Match(_Answer):
    """The one face of a photo, and the faces of another."""

    source_image_face: DetectedFace
    face_matches: list[MatchedFace]
    plugins_versions: Versions | None = None


class Matches(_Answer):
    """One comparison."""

    result: list[Match]


class RecognizedEmbedding(_Answer):
    """An embedding, and the most similar subjects."""

    embedding: list[float]
    similarities: list[Likeness]


class RecognizedEmbeddings(_Answer):
    """Embeddings in the order given."""

    result: list[RecognizedEmbedding]


class ComparedEmbedding(_Answer):
    """An embedding that was compared."""

    embedding: list[float]
    similarity: Share
    probability: Probability = None


class ComparedEmbeddings(_Answer):
    """Embeddings, the most similar first."""

    result: list[ComparedEmbedding]


class Embeddings(BaseModel):
    """Embeddings to look up."""

    embeddings: Vectors


class Verification(BaseModel):
    """Embeddings to compare with one."""

    source: Annotated[list[float], Field(min_length=1)]
    targets: Vectors


class SubjectName(BaseModel):
    """A subject by name."""

    subject: Annotated[str, Field(examples=["Grace Hopper"])]


class Subjects(_Answer):
    """All subjects."""

    subjects: list[str]


class Updated(_Answer):
    """Whether a subject has another name now."""

    updated: bool


class Deleted(_Answer):
    """How many were deleted."""

    deleted: Annotated[int, Field(ge=0)]


class Example(_Answer):
    """A face of a subject."""

    image_id: Annotated[str, Field(examples=["6b135f5b-a365-4522-b1f1-4c9ac2dd0728"])]
    subject: str


class Examples(_Answer):
    """A page of faces."""

    faces: list[Example]
    page_number: int
    page_size: int
    total_pages: int
    total_elements: int
