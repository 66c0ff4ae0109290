"""CompreFace's face collection: subjects, and the examples of each."""

from __future__ import annotations

import math
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field, TypeAdapter

from facerec.serving.answers import answer
from facerec.serving.callers import ADMIN, ENROL, READ
from facerec.serving.compreface import schema
from facerec.serving.compreface.lookups import known_name, page_of_entries
from facerec.serving.compreface.options import (
    LeastScore,
    json_schema,
    photo_schema,
    read_json,
    read_photos,
)
from facerec.serving.directory import usable_name
from facerec.serving.failures import RequestError, too_busy
from facerec.serving.service import Service

_MOST_BYTES = 1 << 17
"""Bytes of a body without photos."""
_MOST_EMPTY = 10_000
_SUBJECT = TypeAdapter(schema.SubjectName)
_IDS = TypeAdapter(Annotated[list[str], Field(max_length=1000)])
Subject = Annotated[str, Query(description="The subject's name.", examples=["Grace Hopper"])]
Page = Annotated[int, Query(ge=0, le=10**9)]
PageSize = Annotated[int, Query(ge=1, le=10_000)]


class Subjects:
    """Subjects by their names, in any case of letters.

    A gallery holds people with faces. A subject without any is remembered by this process until
    one is added.

    Attributes:
        empty: those without faces.
    """

    def __init__(self, service: Service) -> None:
        self.empty: set[str] = set()
        self._service = service

    async def find(self, name: str) -> str | None:
        """The name as it is known; None if unknown."""
        return known_name(dict.fromkeys(self.empty, 0) | await self._service.people(), name)


def subject_routes(router: APIRouter, service: Service, subjects: Subjects) -> None:
    """Add the routes of subjects to CompreFace's router."""
    empty = subjects.empty

    async def named(subject: str) -> str:
        """The name as it is known, or RequestError."""
        known = await subjects.find(subject)
        if known is None:
            raise RequestError(404, "unknown_person", f"Subject {subject} not found")
        return known

    async def list_subjects() -> Response:
        people = await service.people()
        empty.difference_update(people)
        return answer({"subjects": [*people, *sorted(empty)]})

    # CompreFace's documentation writes it with a slash, its SDKs without.
    router.get(
        "/recognition/subjects",
        dependencies=READ,
        response_model=schema.Subjects,
        summary="List subjects",
    )(list_subjects)
    router.get("/recognition/subjects/", dependencies=READ, include_in_schema=False)(list_subjects)

    @router.post(
        "/recognition/subjects",
        dependencies=ENROL,
        response_model=schema.SubjectName,
        status_code=201,
        openapi_extra=json_schema(_SUBJECT),
        summary="Add a subject without faces",
    )
    async def add_subject(request: Request) -> Response:
        body = await read_json(request, _SUBJECT, _MOST_BYTES)
        name = usable_name(body.subject)
        if await subjects.find(name) is not None:
            raise RequestError(409, "name_taken", "Subject already exists")
        if len(empty) >= _MOST_EMPTY:
            raise too_busy(f"{_MOST_EMPTY} subjects without faces are remembered; add faces")
        empty.add(name)
        return answer({"subject": name}, 201)

    @router.put(
        "/recognition/subjects/{subject}",
        dependencies=ADMIN,
        response_model=schema.Updated,
        openapi_extra=json_schema(_SUBJECT),
        summary="Rename a subject, or merge it",
    )
    async def rename_subject(subject: str, request: Request) -> Response:
        body = await read_json(request, _SUBJECT, _MOST_BYTES)
        old, new = await named(subject), usable_name(body.subject)
        if new == old:
            return answer({"updated": False})
        into = await subjects.find(new)
        people = await service.people()
        if old not in people:
            empty.discard(old)
            if into is None or into == old:
                empty.add(new)
        elif into is None or into == old:
            await service.rename(old, new)
        elif into not in people:
            await service.rename(old, into)
            empty.discard(into)
        else:
            await service.merge(old, into)
        return answer({"updated": True})

    @router.delete(
        "/recognition/subjects/{subject}",
        dependencies=ADMIN,
        response_model=schema.SubjectName,
        summary="Delete a subject and its faces",
    )
    async def delete_subject(subject: str) -> Response:
        name = await named(subject)
        if name in await service.people():
            await service.delete_person(name)
        empty.discard(name)
        return answer({"subject": name})

    @router.delete(
        "/recognition/subjects",
        dependencies=ADMIN,
        response_model=schema.Deleted,
        summary="Delete all subjects",
    )
    async def delete_subjects() -> Response:
        deleted = len(empty.union(await service.delete_everybody()))
        empty.clear()
        return answer({"deleted": deleted})


def example_routes(router: APIRouter, service: Service, subjects: Subjects) -> None:
    """Add the routes of subjects' faces to CompreFace's router."""

    @router.post(
        "/recognition/faces",
        dependencies=ENROL,
        response_model=schema.Example,
        status_code=201,
        summary="Add a face to a subject",
        openapi_extra=photo_schema("file"),
    )
    async def add_face(
        request: Request, subject: Subject, det_prob_threshold: LeastScore = None
    ) -> Response:
        (upload,) = await read_photos(request, "file")
        name = usable_name(subject)
        name = await subjects.find(name) or name
        enrolled = await service.enrol(name, [upload], alone_from=det_prob_threshold or 0.0)
        subjects.empty.discard(name)
        return answer({"image_id": enrolled.ids[0], "subject": name}, 201)

    @router.get(
        "/recognition/faces",
        dependencies=READ,
        response_model=schema.Examples,
        summary="List faces",
    )
    async def list_faces(
        page: Page = 0, size: PageSize = 20, subject: Subject | None = None
    ) -> Response:
        shown, count = await service.read(
            lambda store: page_of_entries(store, page, size, subject or None)
        )
        return answer(
            {
                "faces": [_example(face, person) for face, person in shown],
                "page_number": page,
                "page_size": size,
                "total_pages": math.ceil(count / size),
                "total_elements": count,
            }
        )

    @router.delete(
        "/recognition/faces",
        dependencies=ADMIN,
        response_model=schema.Deleted,
        summary="Delete the faces of a subject, or all",
    )
    async def delete_faces(subject: Subject | None = None) -> Response:
        if subject is None:
            return answer({"deleted": sum((await service.delete_everybody()).values())})
        # A client that has lost a name does not mean everybody.
        if not subject.strip():
            raise RequestError(400, "invalid", "Subject name is empty")
        known = known_name(await service.people(), subject)
        return answer({"deleted": await service.delete_person(known) if known else 0})

    @router.delete(
        "/recognition/faces/{image_id}",
        dependencies=ADMIN,
        response_model=schema.Example,
        summary="Delete a face",
    )
    async def delete_face(image_id: str) -> Response:
        entry, _ = await service.delete_face(image_id)
        return answer(_example(entry.id, entry.person))

    @router.post(
        "/recognition/faces/delete",
        dependencies=ADMIN,
        response_model=list[schema.Example],
        openapi_extra=json_schema(_IDS),
        summary="Delete several faces; unknown ids count not",
    )
    async def delete_several(request: Request) -> Response:
        deleted = []
        for image_id in await read_json(request, _IDS, _MOST_BYTES):
            try:
                entry, _ = await service.delete_face(image_id)
            except RequestError as error:
                if error.code != "unknown_face":
                    raise
            else:
                deleted.append(_example(entry.id, entry.person))
        return answer(deleted)

    @router.get(
        "/recognition/faces/{image_id}/img",
        dependencies=READ,
        summary="The photo of a face: empty, as photos are not kept",
        response_class=Response,
        responses={200: {"content": {"application/octet-stream": {}}}},
    )
    async def image(image_id: str) -> Response:
        await service.face(image_id)
        return Response(b"", media_type="application/octet-stream")


def _example(face: str, person: str) -> dict[str, Any]:
    return {"image_id": face, "subject": person}
