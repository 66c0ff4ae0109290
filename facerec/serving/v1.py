"""The API of photos: `/v1/detect`, `/v1/embed`, `/v1/recognize`, `/v1/compare`, `/v1/model`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from facerec.errors import FacerecError
from facerec.gallery.records import comparison_record, detection_record, recognition_record
from facerec.imaging.photos import normalise_person
from facerec.serving import schema
from facerec.serving.answers import FAILURES, answer
from facerec.serving.bodies import Content, Fetch, read_content
from facerec.serving.callers import READ
from facerec.serving.failures import RequestError, to_request_error
from facerec.serving.service import Service, Upload

Record = Mapping[str, Any]


def create_router(service: Service, fetch: Fetch | None) -> APIRouter:
    """The routes.

    Args:
        fetch: gets photos by URL; None: these are refused.
    """
    router = APIRouter(prefix="/v1", tags=["photos"], dependencies=READ, responses=FAILURES)

    @router.post(
        "/detect",
        response_model=schema.Detected | schema.DetectedList,
        openapi_extra=schema.photo_body(),
    )
    async def detect(request: Request) -> Response:
        """Find faces: boxes, scores and landmarks, as `facerec detect --json`."""
        return await _of_each(request, fetch, detected)

    @router.post(
        "/embed",
        response_model=schema.Embedded | schema.EmbeddedList,
        openapi_extra=schema.photo_body(),
    )
    async def embed(request: Request) -> Response:
        """Find faces, with the vector of each."""
        return await _of_each(request, fetch, embedded)

    @router.post(
        "/recognize",
        response_model=schema.Recognized | schema.RecognizedList,
        openapi_extra=schema.photo_body(),
    )
    async def recognize(request: Request) -> Response:
        """Recognise the gallery's people, as `facerec recognize image --json`."""
        return await _of_each(request, fetch, recognized)

    @router.post("/compare", response_model=schema.Compared, openapi_extra=schema.pair_body())
    async def compare(request: Request) -> Response:
        """Compare two photos, or a photo with a person, as `facerec compare --json`. Of several
        faces in a photo the largest and most central counts."""
        content = await read_content(request, fetch, photos=("a", "b"), people=True)
        a, b = _side(content, "a"), _side(content, "b")
        found = await service.compare(a, b)
        first, second = (one if isinstance(one, str) else one.name for one in (a, b))
        return answer(comparison_record(first, second, *found))

    @router.get("/model", response_model=schema.Model)
    async def model() -> Response:
        """The model's card, and the threshold that decides."""
        return answer(await service.model_record())

    async def detected(upload: Upload) -> Record:
        found = await service.faces(upload, embed=False)
        return detection_record(found.image, found.size, found.faces)

    async def embedded(upload: Upload) -> Record:
        found = await service.faces(upload, embed=True)
        record = detection_record(found.image, found.size, found.faces)
        for face, told in zip(found.faces, record["faces"], strict=True):
            assert face.embedding is not None, "it was asked for"
            told["embedding"] = face.embedding.tolist()
        return record

    async def recognized(upload: Upload) -> Record:
        found, matches = await service.recognize(upload)
        return recognition_record(found.image, found.size, found.faces, matches)

    return router


async def _of_each(
    request: Request, fetch: Fetch | None, record_of: Callable[[Upload], Awaitable[Record]]
) -> Response:
    """The record of the photo that was sent, or of each of a list."""
    content = await read_content(request, fetch)
    uploads = content.uploads
    if not content.several:
        if len(uploads) != 1:
            raise RequestError(422, "no_image", "send a photo as the body, or as image")
        return answer(await record_of(uploads[0]))

    async def attempt(upload: Upload) -> Record:
        try:
            return await record_of(upload)
        except FacerecError as error:
            problem = to_request_error(error)
            if problem.status != 422:
                raise
            return {"image": upload.name, **problem.to_record()}

    return answer({"images": await asyncio.gather(*map(attempt, uploads))})


def _side(content: Content, name: str) -> Upload | str:
    """One side of a comparison: a photo, or a person's name."""
    uploads = content.photos.get(name, [])
    if len(uploads) == 1:
        return uploads[0]
    given = content.texts.get(name)
    person = given.get("person") if isinstance(given, dict) else given
    if uploads or not isinstance(person, str):
        raise RequestError(422, "no_image", f"{name}: give a photo, or a person's name")
    return normalise_person(person)
