"""The API of people and their faces: `/v1/people`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator

from facerec.files.parsing import parse_json
from facerec.files.text import readable
from facerec.gallery.records import enrolment_record
from facerec.imaging.photos import normalise_person
from facerec.serving import schema
from facerec.serving.answers import FAILURES, answer
from facerec.serving.bodies import Content, Fetch, read_body, read_content
from facerec.serving.callers import ADMIN, ENROL, READ
from facerec.serving.failures import RequestError
from facerec.serving.service import Service

_MOST_FIELDS = 1 << 16
"""Bytes of a body without photos."""
Person = Annotated[str, AfterValidator(normalise_person)]
"""A name in a path, as it is stored: macOS sends it decomposed."""


def create_router(service: Service, fetch: Fetch | None) -> APIRouter:
    """The routes.

    Args:
        fetch: gets photos by URL; None: these are refused.
    """
    router = APIRouter(prefix="/v1/people", tags=["people"], responses=FAILURES)

    @router.get("", response_model=schema.PeopleList, dependencies=READ)
    async def people() -> Response:
        """Everybody, and how many faces each has, as `facerec gallery list --json`."""
        counts = await service.people()
        return answer({"people": [{"person": name, "faces": n} for name, n in counts.items()]})

    @router.get("/{person}", response_model=schema.Person, dependencies=READ)
    async def show(person: Person) -> Response:
        """A person's faces, as `facerec gallery show --json`, with their ids."""
        entries = await service.faces_of(person)
        return answer({"person": person, "faces": [entry.to_record() for entry in entries]})

    @router.post(
        "/{person}/faces",
        status_code=201,
        response_model=schema.Enrolment,
        responses={200: {"model": schema.Enrolment, "description": "Enrolled already"}},
        dependencies=ENROL,
        openapi_extra=schema.photo_body(meta="Metadata of the faces: a JSON object of texts."),
    )
    async def enrol(person: Person, request: Request) -> Response:
        """Enrol photos of a person, as `facerec embed --name`; they are on disk when this is
        answered. A photo that is enrolled already is skipped."""
        content = await read_content(request, fetch)
        if not content.uploads:
            raise RequestError(422, "no_image", "send a photo as the body, or as image")
        done = await service.enrol(person, content.uploads, _meta(content))
        counts = {done.person: done.faces} if done.ids else {}
        record = enrolment_record(service.gallery or "", counts, done.report)
        return answer({**record, "ids": done.ids}, 201 if done.report.enrolled else 200)

    @router.patch(
        "/{person}",
        response_model=schema.Renamed,
        dependencies=ADMIN,
        openapi_extra=schema.field_body("name", "The new name."),
    )
    async def rename(person: Person, request: Request) -> Response:
        """Give a person another name."""
        name = await service.rename(person, await _field(request, "name"))
        return answer({"person": name})

    @router.post(
        "/{person}/merge",
        response_model=schema.Renamed,
        dependencies=ADMIN,
        openapi_extra=schema.field_body("into", "The person whose faces they become."),
    )
    async def merge(person: Person, request: Request) -> Response:
        """Make all faces of a person another's."""
        into = normalise_person(await _field(request, "into"))
        await service.merge(person, into)
        return answer({"person": into})

    @router.delete("/{person}", response_model=schema.Removed, dependencies=ADMIN)
    async def delete(person: Person) -> Response:
        """Remove a person and all their faces."""
        return answer({"person": person, "faces": await service.delete_person(person)})

    @router.delete("/{person}/faces/{face}", response_model=schema.Removed, dependencies=ADMIN)
    async def delete_face(person: Person, face: str) -> Response:
        """Remove what one photo gave, by its id; a person without faces is gone."""
        _, faces = await service.delete_face(face, person)
        return answer({"person": person, "faces": faces})

    return router


def _meta(content: Content) -> dict[str, str] | None:
    """The metadata of an enrolment: a JSON object of texts."""
    given: Any = content.texts.get("meta")
    if isinstance(given, str):
        try:
            given = parse_json(given)
        except ValueError as error:
            raise RequestError(422, "invalid_meta", f"meta: no JSON: {error}") from error
    if given is None:
        return None
    texts = isinstance(given, dict) and all(isinstance(one, str) for one in given.values())
    if not texts or len(str(given)) > _MOST_FIELDS:
        raise RequestError(422, "invalid_meta", "meta: give a JSON object of short texts")
    return {readable(name): readable(text) for name, text in given.items()}


async def _field(request: Request, name: str) -> str:
    """A text of a JSON body."""
    try:
        fields = parse_json(await read_body(request, _MOST_FIELDS))
    except ValueError as error:
        raise RequestError(400, "damaged_json", f"the body is no JSON: {error}") from error
    value = fields.get(name) if isinstance(fields, dict) else None
    if not isinstance(value, str):
        raise RequestError(422, "invalid", f"send a JSON object with the text {name}")
    return value
