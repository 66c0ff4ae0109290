"""Who asks: the key of a request and what it allows; which hosts and origins are answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader
from starlette.datastructures import Headers

from facerec.listening import host_of, is_loopback
from facerec.serving.failures import RequestError
from facerec.serving.keys import SCOPES, Key, Keys


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request.

    Attributes:
        key: the name of their key; None: no key is asked for.
        address: their IP address.
    """

    key: str | None
    address: str | None


_HEADER = APIKeyHeader(
    name="X-API-Key",
    scheme_name="key",
    description="Where the server asks for keys; or as Authorization: Bearer.",
    auto_error=False,
)
Described = Annotated[str | None, Security(_HEADER)]
"""Tells the OpenAPI description of the header; `given_key` reads it."""
_NOBODY = Caller(None, None)
CALLER: ContextVar[Caller] = ContextVar("caller", default=_NOBODY)
"""Who sent the request that is being answered."""


def check_host(headers: Headers) -> None:
    """Refuse what other sites' pages send to this machine's own address, where no key is asked for:
    requests whose `Host` does not name it (DNS rebinding), or whose `Origin` is another site's.

    Raises:
        RequestError: this is such a request.
    """
    host = host_of(headers.get("host", ""))
    if host is None or not is_loopback(host):
        raise RequestError(403, "wrong_host", "the Host header does not name this machine")
    origin = headers.get("origin")
    if origin is not None:
        named = host_of(origin.partition("://")[2])
        if named is None or not is_loopback(named):
            raise RequestError(403, "wrong_origin", "pages of other sites are not answered")


def given_key(headers: Headers) -> str | None:
    """The key of `X-API-Key`, or of `Authorization: Bearer`."""
    key = headers.get("x-api-key")
    if key is None:
        kind, _, token = headers.get("authorization", "").partition(" ")
        key = token.strip() if kind.lower() == "bearer" else None
    return key


def requires(scope: str) -> Callable[..., Awaitable[None]]:
    """A dependency of routes: the request's key must allow what `scope` allows.

    It takes the keys from `app.state.keys`; where these are None everything is allowed.
    """

    async def check(request: Request, _: Described = None) -> None:
        keys: Keys | None = request.app.state.keys
        if keys is None:
            return
        found: Key | None = request.scope.get("facerec.key")
        if found is None:
            raise RequestError(
                401, "no_key", "a valid key is needed: X-API-Key, or Authorization: Bearer",
                {"WWW-Authenticate": "Bearer"},
            )  # fmt: skip
        if not found.allows(scope):
            told = f"the key {found.name} has the scope {found.scope}; {scope} is needed"
            raise RequestError(403, "scope", told)

    return check


def is_still_allowed(request: Request) -> bool:
    """Whether the key of a request that `requires` let pass was not removed since."""
    keys: Keys | None = request.app.state.keys
    return keys is None or keys.holds(request.scope["facerec.key"])


READ, ENROL, ADMIN = ([Depends(requires(scope))] for scope in SCOPES)
"""Dependencies of routes, by what their requests need."""
