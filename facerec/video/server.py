"""HTTP server of the live page: MJPEG stream and people seen (`facerec recognize cam --serve`)."""

from __future__ import annotations

import hmac
import json
import secrets
import socket
import threading
from collections.abc import Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlsplit

import cv2

from facerec.errors import UsageError
from facerec.faces import Image
from facerec.listening import host_of, is_loopback, url_of
from facerec.video.recognizer import Event

_JPEG_QUALITY = 80
_MAX_TRACKS = 500
_BOUNDARY = "facerec-frame"
_KEEP_ALIVE_SECONDS = 5.0
"""Seconds without a new frame after which the last one is sent again, which detects closed
connections."""
_POLL_SECONDS = 0.05
"""How long closing may wait for the server to notice."""


class LivePage:
    """Serves the page in threads of its own.

    On the loopback address only requests whose Host header names it are answered, against DNS
    rebinding by other sites; elsewhere a token is required, which is part of `address`.

    Args:
        place: `HOST:PORT` or `PORT`; port 0: any free one.

    Attributes:
        address: URL of the page, with its token.

    Raises:
        UsageError: the place is invalid, or cannot be bound.
    """

    def __init__(self, place: str) -> None:
        host, port = _parse(place)
        self._token = None if is_loopback(host) else secrets.token_urlsafe(16)
        self._changed = threading.Condition()
        self._frame = b""
        self._shown = 0
        self._viewers = 0
        self._closed = False
        self._seen: dict[int, dict[str, Any]] = {}
        try:
            self._server = (_Server6 if ":" in host else _Server)((host, port), _handler(self))
        except OSError as error:
            raise UsageError(f"--serve {place}: {error.strerror or error}") from error
        query = "" if self._token is None else f"?token={self._token}"
        self.address = f"{url_of(host, self._server.server_port)}{query}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), daemon=True
        )
        self._thread.start()

    def show(self, frame: Image) -> None:
        """Publish a frame, `(H, W, 3) uint8` RGB; encoded only while there are viewers."""
        if not self._viewers:
            return
        flags = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        encoded = cv2.imencode(".jpg", frame[:, :, ::-1], flags)[1].tobytes()
        with self._changed:
            self._frame = encoded
            self._shown += 1
            self._changed.notify_all()

    def tell(self, events: Iterable[Event]) -> None:
        """Publish events."""
        with self._changed:
            for event in events:
                track = self._seen.setdefault(
                    event.track, {"track": event.track, "first": event.seconds}
                )
                track.update(name=event.name, last=event.seconds, here=event.kind != "left")
                if event.similarity is not None:
                    track["similarity"] = event.similarity
            for number in list(self._seen)[: max(0, len(self._seen) - _MAX_TRACKS)]:
                del self._seen[number]

    def close(self) -> None:
        """Stop serving."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def allows(self, host: str, token: str) -> bool:
        """Whether a request with this `Host` header and token is answered."""
        if self._token is not None:
            return hmac.compare_digest(self._token.encode(), token.encode())
        return is_loopback(host_of(host) or "")

    def seen(self) -> list[dict[str, Any]]:
        """One record per track, newest first."""
        with self._changed:
            return [dict(track) for track in reversed(self._seen.values())]

    def frames(self) -> Iterable[bytes]:
        """Encoded JPEG frames as they come, for one viewer."""
        shown = 0
        with self._changed:
            self._viewers += 1
        try:
            while (newest := self._after(shown)) is not None:
                frame, shown = newest
                if frame:
                    yield frame
        finally:
            with self._changed:
                self._viewers -= 1

    def _after(self, shown: int) -> tuple[bytes, int] | None:
        """Wait for a frame newer than `shown`: the frame and its number; None after `close`."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._shown != shown or self._closed, timeout=_KEEP_ALIVE_SECONDS
            )
            return None if self._closed else (self._frame, self._shown)


class _Server(ThreadingHTTPServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


def _handler(page: LivePage) -> type[BaseHTTPRequestHandler]:
    document = files("facerec.video").joinpath("page.html").read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            token = parse_qs(asked.query).get("token", [""])[0]
            if not page.allows(self.headers.get("Host", ""), token):
                self.send_error(HTTPStatus.FORBIDDEN, "the token of the printed address is needed")
            elif asked.path == "/":
                self._send("text/html; charset=utf-8", document)
            elif asked.path == "/people":
                self._send("application/json", json.dumps(page.seen()).encode())
            elif asked.path == "/stream":
                self._stream()
            else:
                self.send_error(HTTPStatus.NOT_FOUND)

        def _send(self, kind: str, body: bytes) -> None:
            self._begin(kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def _stream(self) -> None:
            self._begin(f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
            self.end_headers()
            if self.command == "HEAD":
                return
            try:
                for frame in page.frames():
                    head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\n"
                    self.wfile.write(f"{head}Content-Length: {len(frame)}\r\n\r\n".encode())
                    self.wfile.write(frame + b"\r\n")
            except OSError:
                # The viewer closed the connection.
                self.close_connection = True

        def _begin(self, kind: str) -> None:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", kind)
            self.send_header("Cache-Control", "no-store")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("X-Frame-Options", "DENY")
            self.send_header("Cross-Origin-Resource-Policy", "same-origin")

        def log_message(self, format: str, *args: object) -> None:
            """No access log on stderr."""

    return Handler


def _parse(place: str) -> tuple[str, int]:
    host, _, port = place.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise UsageError(f"--serve {place}: give HOST:PORT, as in 127.0.0.1:8080")
    return host.strip("[]") or "127.0.0.1", int(port)
