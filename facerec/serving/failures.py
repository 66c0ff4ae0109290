"""What can go wrong with a request, as HTTP status and a code that programs can read."""

from __future__ import annotations

import errno
from collections.abc import Mapping

from facerec.errors import (
    FacerecError,
    IncompatibleError,
    InputError,
    MissingError,
    UsageError,
)

_FULL = {errno.ENOSPC, errno.EDQUOT}


class RequestError(FacerecError):
    """A request cannot be answered.

    Args:
        status: the HTTP status.
        code: a word for programs, such as `no_face`.
        message: one line for people.
        headers: further headers of the response.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})

    def to_record(self) -> dict[str, dict[str, str]]:
        """The JSON object of the response."""
        return {"error": {"code": self.code, "message": str(self)}}


def too_busy(message: str) -> RequestError:
    """More requests than are answered in time."""
    return RequestError(429, "too_many_requests", message, {"Retry-After": "1"})


def unavailable(code: str, message: str, *, seconds: int = 5) -> RequestError:
    """Something that may work again later."""
    return RequestError(503, code, message, {"Retry-After": str(seconds)})


def to_request_error(error: FacerecError) -> RequestError:
    """The response to an error of facerec."""
    if isinstance(error, RequestError):
        return error
    message = str(error)
    if isinstance(error, InputError):
        return RequestError(422, "unreadable_image", message)
    if isinstance(error, IncompatibleError):
        return RequestError(409, "another_model", message)
    if isinstance(error, MissingError):
        return unavailable("missing", message)
    cause = error.__cause__
    if isinstance(error, UsageError) and isinstance(cause, BlockingIOError):
        return unavailable("gallery_busy", message)
    if isinstance(error, UsageError) and isinstance(cause, OSError):
        if cause.errno in _FULL:
            return unavailable("disk_full", message, seconds=60)
        return RequestError(409, "gallery_read_only", message)
    return RequestError(422, "refused", message)
