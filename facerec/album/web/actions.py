"""What the page decides: the functions of the command line, one step each, and undo."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from facerec.album import decisions
from facerec.album.journal import last_step, undo_step
from facerec.album.people import find_person, label_of
from facerec.album.records import lasting_id
from facerec.album.store import Album
from facerec.album.web.answers import describe_step, library_of
from facerec.errors import UsageError

_LONGEST_BODY = 4 << 20
"""Bytes; a quarter of a million faces."""

Number = Annotated[int, Field(ge=1, lt=1 << 63, strict=True)]
Numbers = Annotated[
    list[Number], Field(min_length=1), AfterValidator(lambda given: [*dict.fromkeys(given)])
]
Name = Annotated[str, Field(min_length=1, max_length=1000, strict=True)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class OfPerson(_Body):
    """A person by number."""

    person: Number


class OfFaces(_Body):
    """Faces by number."""

    faces: Numbers


class FacesOfPerson(OfFaces, OfPerson):
    """Faces, and who they are or are not."""


class Naming(OfPerson):
    """A person's new name."""

    name: Name


class Moving(OfFaces):
    """Faces, and who they are, by name or lasting id; an unknown name is a new person's."""

    name: Name


class Merging(_Body):
    """People who become another."""

    people: Numbers
    into: Number


class TellingApart(_Body):
    """Two people who are not one."""

    person: Number
    other: Number


class Undoing(_Body):
    """The step that the page saw: another one is not taken back unseen."""

    step: Number


B = TypeVar("B", bound=_Body)
Told = dict[str, Any]


def _action(
    body: type[B], act: Callable[[Album, B], Told]
) -> Callable[[Request], Awaitable[Response]]:
    """A route's function: reads the body, acts in a thread, answers with the step to undo."""

    async def answer(request: Request) -> Response:
        values = await _read(request, body)
        library = library_of(request)

        def change() -> Told:
            with library.changing() as album:
                told = act(album, values)
                return {**told, "step": describe_step(album)}

        return JSONResponse(await run_in_threadpool(change))

    return answer


async def _read(request: Request, body: type[B]) -> B:
    """The body of a request.

    Raises:
        HTTPException: 415, 413 or 400: it is no JSON, too long, or says something else.
    """
    # No form of another site can send this type.
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "send application/json")
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > _LONGEST_BODY:
            raise HTTPException(413, f"more than {_LONGEST_BODY:,} bytes")
    try:
        return body.model_validate_json(bytes(data))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        raise HTTPException(400, f"{where}: {first['msg']}") from error


def _name(album: Album, values: Naming) -> Told:
    _require(album, values.person)
    decisions.name_person(album, values.person, values.name)
    return {"person": label_of(album, values.person)}


def _merge(album: Album, values: Merging) -> Told:
    _require(album, *values.people, values.into)
    decisions.merge_people(album, values.people, values.into)
    return {"person": label_of(album, values.into)}


def _split(album: Album, values: OfFaces) -> Told:
    return {"person": label_of(album, decisions.split_faces(album, values.faces))}


def _move(album: Album, values: Moving) -> Told:
    try:
        person = find_person(album, values.name)
    except UsageError:
        # As the command line makes somebody new.
        person = decisions.split_faces(album, values.faces, values.name)
    else:
        decisions.confirm_faces(album, values.faces, person)
    return {"person": label_of(album, person)}


def _reject(album: Album, values: FacesOfPerson) -> Told:
    _require(album, values.person)
    decisions.reject_faces(album, values.faces, values.person)
    return {"person": label_of(album, values.person)}


def _confirm(album: Album, values: FacesOfPerson) -> Told:
    _require(album, values.person)
    decisions.confirm_faces(album, values.faces, values.person)
    return {"person": label_of(album, values.person)}


def _confirm_all(album: Album, values: OfPerson) -> Told:
    _require(album, values.person)
    faces = decisions.faces_of(album, values.person)
    decisions.confirm_faces(album, faces, values.person)
    return {"person": label_of(album, values.person)}


def _tell_apart(album: Album, values: TellingApart) -> Told:
    _require(album, values.person, values.other)
    decisions.tell_apart(album, values.person, values.other)
    return {"person": label_of(album, values.person)}


def _undo(album: Album, values: Undoing) -> Told:
    with album.transaction():
        last = last_step(album)
        if last is None or last.id != values.step:
            raise UsageError("the album was changed meanwhile; nothing was taken back")
        if last.undo is not None:
            raise UsageError(f"{last.command}: changed files too; facerec album undo takes it back")
        undo_step(album)
    return {"undone": last.command}


def _require(album: Album, *people: int) -> None:
    """Refuse people who are nobody, or somebody else by now.

    Raises:
        UsageError: names the first.
    """
    for person in people:
        known = album.row("SELECT 1 FROM people WHERE id = ? AND merged IS NULL", (person,))
        if known is None:
            raise UsageError(f"there is no {lasting_id(person)} any more")


def _route(body: type[B], name: str, act: Callable[[Album, B], Told]) -> Route:
    return Route(f"/api/{name}", _action(body, act), methods=["POST"])


ACTIONS = (
    _route(Naming, "name", _name),
    _route(Merging, "merge", _merge),
    _route(OfFaces, "split", _split),
    _route(Moving, "move", _move),
    _route(FacesOfPerson, "reject", _reject),
    _route(FacesOfPerson, "confirm", _confirm),
    _route(OfPerson, "confirm-all", _confirm_all),
    _route(TellingApart, "apart", _tell_apart),
    _route(Undoing, "undo", _undo),
)
