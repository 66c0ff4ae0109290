"""A web server on 127.0.0.1 that misbehaves as its paths say."""

from __future__ import annotations

import gzip
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DRIVE_CONFIRMATION = """<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title>
</head><body><form id="download-form" action="{address}" method="get">
<input type="submit" value="Download anyway"/><input type="hidden" name="id" value="X">
<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="u-1">
</form></body></html>"""
DRIVE_QUOTA = """<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head>
<body><p>Sorry, you can't view or download this file at this time.</p><p>Too many users have viewed
or downloaded this file recently.</p></body></html>"""


class FaultServer(ThreadingHTTPServer):
    """Serves `content` at every path; the path's first part names the fault."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.etag = '"one"'
        self.asked: list[tuple[str, str | None]] = []
        self.sent = 0

    def url(self, fault: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{fault}/file.bin"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news here."""


STAND_INS = {
    "untyped-html": b"\n<!DOCTYPE html><html><title>Sign in</title></html>",
    "lfs-pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 300000\n",
    "nothing": b"",
    "json": b'{"error": {"code": 403, "message": "dailyLimitExceeded"}}',
    "xml": b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>',
}
"""What comes in the place of a file with 200 and a file's type."""


class _Handler(BaseHTTPRequestHandler):
    server: FaultServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        range_ = self.headers.get("Range")
        self.server.asked.append((self.path, range_))
        fault = self.path.strip("/").split("/")[0]
        first = sum(path == self.path for path, _ in self.server.asked) == 1
        if fault.isdigit():
            self._send(int(fault), b"no", "text/plain")
        elif fault.startswith("once-"):
            code = int(fault.removeprefix("once-"))
            self._send(code, b"no", "text/plain") if first else self._file()
        elif fault == "html":
            self._send(200, b"<html><title>Sign in</title></html>", "text/html; charset=utf-8")
        elif fault in STAND_INS:
            self._send(200, STAND_INS[fault])
        elif fault == "quota":
            self._send(200, DRIVE_QUOTA.encode(), "text/html")
        elif fault == "drive":
            page = DRIVE_CONFIRMATION.format(address="/drive-confirmed/file.bin")
            self._send(200, page.encode(), "text/html; charset=utf-8")
        elif fault == "drive-confirmed":
            good = "confirm=t" in self.path and "uuid=u-1" in self.path
            self._file() if good else self._send(403, b"no", "text/plain")
        elif fault == "loop":
            self.send_response(302)
            self.send_header("Location", self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif fault == "reset":
            self._file(stop=len(self.server.content) // 2 if first else None, reset=True)
        elif fault == "truncated":
            self._file(stop=len(self.server.content) // 2 if first else None)
        elif fault == "always-truncated":
            self._file(stop=(self._start() or 0) + 10, ranges=False)
        elif fault == "no-range":
            self._file(stop=len(self.server.content) // 2 if first else None, ranges=False)
        elif fault == "wrong-range":
            self._file(stop=len(self.server.content) // 2 if first else None, shift=not first)
        elif fault == "changed":
            self._file(stop=len(self.server.content) // 2 if first else None)
            self.server.etag = '"two"'
        elif fault == "lies-short":
            self._send(200, self.server.content, length=len(self.server.content) - 7)
        elif fault == "lies-long":
            self._send(200, self.server.content, length=len(self.server.content) + 7)
        elif fault == "wrong":
            self._send(200, bytes(len(self.server.content)))
        elif fault == "silent":
            time.sleep(1.5) if first else self._file()
        elif fault in ("gzip", "x-gzip"):
            self._file(encoding=fault)
        elif fault == "compressing":
            self._send(200, gzip.compress(self.server.content), encoding="gzip")
        elif fault == "compressing-badly":
            self._send(200, gzip.compress(self.server.content)[:-9], encoding="gzip")
        elif fault == "slow":
            self._file(step=len(self.server.content) // 10 + 1, wait=0.05)
        else:
            self._file()

    def _start(self) -> int | None:
        range_ = self.headers.get("Range")
        condition = self.headers.get("If-Range")
        if range_ is None or (condition is not None and condition != self.server.etag):
            return None
        return int(range_.removeprefix("bytes=").partition("-")[0])

    def _file(
        self,
        stop: int | None = None,
        *,
        reset: bool = False,
        ranges: bool = True,
        shift: bool = False,
        step: int = 1 << 14,
        wait: float = 0.0,
        encoding: str | None = None,
    ) -> None:
        content = self.server.content
        start = self._start() if ranges else None
        self.send_response(200 if start is None else 206)
        self.send_header("Content-Length", str(len(content) - (start or 0)))
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("ETag", self.server.etag)
        if encoding is not None:
            self.send_header("Content-Encoding", encoding)
        if start is not None:
            begin = start + 1 if shift else start
            span = f"bytes {begin}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", span)
        self.end_headers()
        end = len(content) if stop is None else stop
        for position in range(start or 0, end, step):
            block = content[position : min(position + step, end)]
            self.wfile.write(block)
            self.server.sent += len(block)
            time.sleep(wait)
        self.close_connection = stop is not None
        if reset and stop is not None:
            # Lingering for no time turns the close into a TCP reset.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            time.sleep(0.1)
            self.connection.close()

    def _send(
        self,
        status: int,
        body: bytes,
        kind: str = "application/octet-stream",
        length: int | None = None,
        encoding: str | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.send_header("Content-Type", kind)
        if encoding is not None:
            self.send_header("Content-Encoding", encoding)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True


@contextmanager
def serving(content: bytes) -> Iterator[FaultServer]:
    """A server for the length of the block."""
    server = FaultServer(content)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
