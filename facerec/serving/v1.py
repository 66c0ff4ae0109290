"""The API: `/v1/detect`, `/v1/embed`, `/v1/recognize`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from facerec.errors import FacerecError
from facerec.gallery.records import detection_record, recognition_record
from facerec.serving.answers import answer
from facerec.serving.bodies import Fetch, read_content
from facerec.serving.failures import RequestError, to_request_error
from facerec.serving.service import Service, Upload

Record = Mapping[str, Any]


def create_router(service: Service, fetch: Fetch | None) -> APIRouter:
    """The routes.

    Args:
        fetch: gets photos by URL; None: these are refused.
    """
    router = APIRouter(prefix="/v1")

    @router.post("/detect")
    async def detect(request: Request) -> Response:
        """Find faces: boxes, scores and landmarks, as `facerec detect --json`."""
        return await _of_each(request, fetch, detected)

    @router.post("/embed")
    async def embed(request: Request) -> Response:
        """Find faces, with the vector of each."""
        return await _of_each(request, fetch, embedded)

    @router.post("/recognize")
    async def recognize(request: Request) -> Response:
        """Recognise the gallery's people, as `facerec recognize image --json`."""
        return await _of_each(request, fetch, recognized)

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
            return {"image": upload.name, **to_request_error(error).to_record()}

    return answer({"images": await asyncio.gather(*map(attempt, uploads))})
