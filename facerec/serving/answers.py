"""Responses: JSON as the command line writes it, and errors in one shape."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from facerec.errors import FacerecError, without_user
from facerec.files.text import to_json
from facerec.serving.failures import RequestError, to_request_error
from facerec.serving.schema import Failed

FAILURES: dict[int | str, dict[str, Any]] = {"default": {"model": Failed, "description": "Refused"}}
"""What the description says of all refusals."""
log = logging.getLogger("facerec.serving")
_CODES = {404: "not_found", 405: "method_not_allowed"}


def answer(record: Any, status: int = 200) -> Response:
    """A JSON response."""
    return Response(without_user(to_json(record)), status, media_type="application/json")


def refusal(error: RequestError) -> Response:
    """The response to a request that cannot be answered."""
    response = answer(error.to_record(), error.status)
    response.headers.update(error.headers)
    return response


def map_errors(app: FastAPI) -> None:
    """Let every error become a `refusal`."""

    @app.exception_handler(FacerecError)
    async def on_facerec(_: Request, error: FacerecError) -> Response:
        return refusal(to_request_error(error))

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return refusal(RequestError(422, "invalid", f"{where}: {first['msg']}"))

    @app.exception_handler(HTTPException)
    async def on_http(_: Request, error: HTTPException) -> Response:
        code = _CODES.get(error.status_code, "refused")
        return refusal(RequestError(error.status_code, code, str(error.detail), error.headers))

    @app.exception_handler(MemoryError)
    async def on_memory(_: Request, error: MemoryError) -> Response:
        return refusal(RequestError(413, "out_of_memory", "this takes more memory than there is"))
