"""Requests' values and answers' JSON, shared by all routes."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from facerec.album.journal import last_step
from facerec.album.records import lasting_id
from facerec.album.store import Album
from facerec.album.web.library import Library, Shown
from facerec.album.web.suggesting import Asker
from facerec.errors import FacerecError, InputError

_LONGEST_PAGE = 500


def library_of(request: Request) -> Library:
    """The album that the application shows."""
    library: Library = request.app.state.library
    return library


def asker_of(request: Request) -> Asker:
    """What finds suggestions in it."""
    asker: Asker = request.app.state.asker
    return asker


def number_of(request: Request, name: str, default: int | None = None) -> int | None:
    """A number of the query, 0 to 10^18 - 1.

    Raises:
        HTTPException: 400, it is none.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    number = _number(text)
    if number is None:
        raise HTTPException(400, f"{name}: not a number")
    return number


def id_of(request: Request, name: str) -> int:
    """A number of the path.

    Raises:
        HTTPException: 404, it is none, or longer than any in an album.
    """
    number = _number(request.path_params[name])
    if number is None:
        raise HTTPException(404, "there is no such number")
    return number


def _number(text: str) -> int | None:
    """0 to 10^18 - 1; None for all else. Python refuses to read digits by the thousand."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def page_of(request: Request) -> tuple[int, int]:
    """Offset and length of the page that is asked for."""
    offset, limit = number_of(request, "offset", 0), number_of(request, "limit", 100)
    return offset or 0, min(limit or 0, _LONGEST_PAGE)


def person_of(request: Request) -> Shown:
    """The person of the path; of somebody merged, whom they became.

    Raises:
        HTTPException: 404, there is none with faces.
    """
    label = lasting_id(id_of(request, "person"))
    shown = library_of(request).find_one(label)
    if shown is None:
        raise HTTPException(404, f"there is no {label} with faces")
    return shown


def describe(shown: Shown) -> dict[str, Any]:
    """A person as JSON."""
    person = shown.person
    return {
        "id": person.id,
        "person": lasting_id(person.id),
        "name": person.name,
        "faces": person.faces,
        "photos": person.photos,
        "confirmed": shown.confirmed,
        "face": shown.cover,
        "first": person.first,
        "last": person.last,
    }


def describe_step(album: Album) -> dict[str, Any] | None:
    """The step that undo would take back."""
    step = last_step(album)
    return None if step is None else {"id": step.id, "command": step.command}


def tell_failure(request: Request, error: Exception) -> Response:
    """An error as JSON with the status that fits it; it does not say where the album lies."""
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code)
    assert isinstance(error, FacerecError), "the application registers these two"
    # What is asked for does not fit the album as it is, or is not there.
    status = 404 if isinstance(error, InputError) else 409
    told = str(error).removeprefix(f"{library_of(request).path}: ")
    return JSONResponse({"error": told}, status)
