"""Errors as CompreFace tells them: a number and a message."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from facerec.errors import FacerecError
from facerec.serving.answers import answer
from facerec.serving.callers import given_key
from facerec.serving.compreface.options import invalid
from facerec.serving.failures import RequestError, to_request_error

# CompreFace's `CommonExceptionCode`, by our code: its status and number.
_NUMBERS = {
    "no_face": (400, 28),
    "several_faces": (400, 31),
    "unknown_person": (404, 42),
    "name_taken": (400, 43),
    "unknown_face": (404, 44),
    "unreadable_image": (400, 21),
    "no_base64": (400, 21),
    "no_image": (400, 34),
    "no_form": (400, 34),
    "damaged_form": (400, 34),
    "damaged_json": (400, 0),
    "unusable_name": (400, 36),
    "refused": (400, 36),
    "invalid": (400, 26),
    "missing_parameter": (400, 33),
    "no_gallery": (404, 10),
    "missing_key": (400, 20),
    "no_key": (401, 20),
    "scope": (403, 1),
    "gallery_read_only": (405, 32),
}
_MESSAGES = {
    28: "No face is found in the given image",
    31: "More than one face in the source image",
}
_UNDEFINED = 0


class CompreFaceRoute(APIRoute):
    """A route whose errors have CompreFace's shape."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except FacerecError as error:
                told = to_request_error(error)
                if told.code == "no_key" and given_key(request.headers) is None:
                    told = RequestError(400, "missing_key", "Missing header: x-api-key")
                return fault(told)
            except RequestValidationError as error:
                return fault(invalid(error.errors()[0]))
            except HTTPException as error:
                return fault(RequestError(error.status_code, "refused", str(error.detail)))

        return handle


def fault(error: RequestError) -> Response:
    """The response to an error."""
    status, number = _NUMBERS.get(error.code, (error.status, _UNDEFINED))
    message = _MESSAGES.get(number, str(error))
    response = answer({"message": message, "code": number}, status)
    response.headers.update(error.headers)
    return response
