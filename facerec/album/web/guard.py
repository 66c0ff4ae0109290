"""Who is answered: this machine's browser, or who has the token; and changes from the page alone.

A page listens where any site that the user visits can send requests to. Three checks keep these
out: the `Host` header must be a name of this machine (DNS rebinding), a request that a browser says
another site caused is refused (`Origin`, `Sec-Fetch-Site`: CSRF), and off the loopback address a
cookie is needed, which the token of the printed address gives.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facerec.listening import host_of, is_address, is_loopback

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    # Faces of a person who is forgotten must not stay in a browser's cache.
    "Cache-Control": "no-store",
}
_SAFE = ("GET", "HEAD")


class Guard:
    """ASGI middleware that refuses what is not the page's own, and sends the headers of all.

    Args:
        names: host names that are answered, beside `localhost`.
        token: that a browser must have shown, by whatever address it came; None: on the loopback
            address none is asked for, and only that address is answered.
        cookie: name of the cookie that keeps it.
    """

    def __init__(
        self, app: ASGIApp, *, names: frozenset[str], token: str | None, cookie: str
    ) -> None:
        self._app = app
        self._names = names
        self._token = token
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # Nothing here speaks WebSocket, and the server runs without `lifespan`.
            return
        answer = self._refuse(scope) or self._admit(scope)
        await (answer or self._app)(scope, receive, _with_headers(send))

    def _refuse(self, scope: Scope) -> Response | None:
        """A refusal of what another site caused."""
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        host = host_of(hosts[0]) if len(hosts) == 1 else None
        if host is None or not self._is_own(host):
            return _refusal("this page is not of that host")
        if any(origin != f"http://{hosts[0]}" for origin in origins):
            return _refusal("the request comes from another site")
        changes = scope["method"] not in _SAFE
        if changes and not origins:
            return _refusal("changes are made by the page alone; see facerec album --help")
        if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            # Following a link to the page is no harm; there is nothing in it to be embedded.
            kind = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
            if changes or kind != ("navigate", "document"):
                return _refusal("the request comes from another site")
        return None

    def _is_own(self, host: str) -> bool:
        if host in self._names or is_loopback(host):
            return True
        # Whoever rebinds a name has no address; the cookie is needed anyhow.
        return self._token is not None and is_address(host)

    def _admit(self, scope: Scope) -> Response | None:
        """None for who has the cookie; the cookie for who has the token; a refusal for others."""
        request = Request(scope)
        if self._token is None or self._is_token(request.cookies.get(self._cookie, "")):
            return None
        given = request.query_params.get("token", "")
        if scope["path"] != "/" or scope["method"] not in _SAFE or not self._is_token(given):
            return _refusal("the address with the token, as facerec printed it, is needed")
        answer = RedirectResponse("/", 303)
        # Lax: with Strict a link in a message would arrive without it. Changes ask for `Origin`.
        answer.set_cookie(self._cookie, self._token, httponly=True, samesite="lax")
        return answer

    def _is_token(self, given: str) -> bool:
        # As bytes: of text, only ASCII can be compared in constant time.
        return hmac.compare_digest((self._token or "").encode(), given.encode(errors="replace"))


def _refusal(reason: str) -> Response:
    return PlainTextResponse(f"refused: {reason}\n", 403)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers: Any = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
        await send(message)

    return sending
