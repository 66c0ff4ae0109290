"""One HTTP/1.1 request over asyncio: no proxy, no cookie, no redirect, a bounded answer."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlsplit

from facerec.errors import InputError, without_credentials

if TYPE_CHECKING:
    import h11

T = TypeVar("T")
_BLOCK = 1 << 16
_PORTS = {"http": 80, "https": 443}
# What a URL may hold unquoted: RFC 3986's reserved characters, and the quotes that are there.
_SAFE = "!#$%&'()*+,/:;=?@[]~"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL points to.

    Attributes:
        scheme: `http` or `https`.
        host: name or address, ASCII, in lower case, without brackets.
        port: in 1..65535.
        path: path and query, percent-encoded.
    """

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer in full.

    Attributes:
        status: 200 to 599.
        headers: by lower-case name.
        body: as sent, without the transfer encoding.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


def parse_url(url: str) -> Target:
    """Parse an http or https URL.

    Raises:
        InputError: it is none, holds a name and password, or a control character.
    """
    shown = without_credentials(url)[:200]
    if any(not sign.isprintable() for sign in url) or " " in url or "\\" in url:
        raise InputError(f"{shown!r}: is no URL: it holds a blank or a control character")
    try:
        parts = urlsplit(url)
        scheme, port = parts.scheme.lower(), parts.port
        host = ascii_host(parts.hostname or "")
    except ValueError as error:
        raise InputError(f"{shown}: is no URL") from error
    if scheme not in _PORTS:
        raise InputError(f"{shown}: only http:// and https:// are fetched")
    if parts.username is not None or parts.password is not None:
        raise InputError(f"{shown}: a URL with a name or password is not fetched")
    if not host or port == 0:
        raise InputError(f"{shown}: names no host")
    path = quote(parts.path or "/", safe=_SAFE)
    query = f"?{quote(parts.query, safe=_SAFE)}" if parts.query else ""
    return Target(scheme, host, port or _PORTS[scheme], path + query)


def ascii_host(name: str) -> str:
    """A host's name as it is resolved; an address stays as it is.

    Raises:
        ValueError: it is none: a part of it is empty or too long.
    """
    name = name.rstrip(".")
    return name if ":" in name else name.encode("idna").decode()


async def send(
    target: Target,
    method: str = "GET",
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    address: str | None = None,
    most_bytes: int,
    seconds: float,
) -> Answer:
    """Send a request and read its answer.

    Args:
        address: connect to this IP address, whatever the host's name resolves to.
        most_bytes: of the answer's body.
        seconds: for all of it.

    Raises:
        InputError: no connection, no HTTP, too long or too slow.
    """
    exchange = _send(target, method, dict(headers or {}), body, address, most_bytes)
    try:
        return await within(seconds, target, exchange)
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise InputError(f"{_shown(target)}: cannot be reached: {reason}") from error


async def within(seconds: float, target: Target, work: Awaitable[T]) -> T:
    """The result of `work`, which is cancelled after some seconds.

    Raises:
        InputError: it took longer.
    """
    try:
        return await asyncio.wait_for(work, seconds)
    except (asyncio.TimeoutError, TimeoutError) as error:
        raise InputError(f"{_shown(target)}: no answer within {seconds:g} s") from error


async def _send(
    target: Target, method: str, headers: dict[str, str], body: bytes, address: str | None,
    most_bytes: int,
) -> Answer:  # fmt: skip
    import h11

    secure = target.scheme == "https"
    reader, writer = await asyncio.open_connection(
        address or target.host,
        target.port,
        ssl=ssl.create_default_context() if secure else None,
        # The certificate is the name's, whichever address was connected to.
        server_hostname=target.host if secure else None,
    )
    try:
        connection = h11.Connection(h11.CLIENT)
        named = {"Host": target.authority, "Connection": "close", **headers}
        if body or method in ("POST", "PUT"):
            named["Content-Length"] = str(len(body))
        request = h11.Request(method=method, target=target.path, headers=list(named.items()))
        writer.write(connection.send(request) or b"")
        writer.write(connection.send(h11.Data(data=body)) or b"")
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        await writer.drain()
        return await _read(connection, reader, target, most_bytes)
    except h11.ProtocolError as error:
        raise InputError(f"{_shown(target)}: the answer is no HTTP") from error
    finally:
        writer.transport.abort()


async def _read(
    connection: h11.Connection, reader: asyncio.StreamReader, target: Target, most_bytes: int
) -> Answer:
    import h11

    status, headers, body = 0, {}, bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_BLOCK))
        elif isinstance(event, h11.Response):
            status = event.status_code
            headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
            if int(headers.get("content-length", 0)) > most_bytes:
                raise _too_long(target, most_bytes)
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > most_bytes:
                raise _too_long(target, most_bytes)
        elif isinstance(event, h11.EndOfMessage):
            return Answer(status, headers, bytes(body))
        elif isinstance(event, h11.ConnectionClosed):
            raise InputError(f"{_shown(target)}: the connection was closed without an answer")


def _too_long(target: Target, most_bytes: int) -> InputError:
    return InputError(f"{_shown(target)}: the answer has more than {most_bytes} bytes")


def _shown(target: Target) -> str:
    """A target for messages, without its query, which may hold a token."""
    return without_credentials(target.url)
