"""Servers as processes of their own."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_SECONDS = 90


class Server:
    """A running `facerec serve` on a free port.

    Attributes:
        process: it.
        url: where it answers, without a slash at the end.
        told: what it has said on stderr.
    """

    def __init__(self, *arguments: object, env: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "facerec", "serve", "--port", "0", *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
        )  # fmt: skip
        self.told: list[str] = []
        self._ready = threading.Event()
        self.url = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._ready.wait(_SECONDS) and self.url, "".join(self.told)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def end(self) -> int:
        """Ask it to end, as an init system does; returns its exit code."""
        self.process.terminate()
        return self.wait()

    def wait(self) -> int:
        """Its exit code, once it has ended and all it said is read."""
        code = self.process.wait(_SECONDS)
        self._reader.join(_SECONDS)
        return code

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.told.append(line)
            if found := re.search(r"(https?://\S+?)/? answers", line):
                self.url = found[1]
                self._ready.set()
        self._ready.set()


@contextmanager
def serving(*arguments: object, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server while the block runs."""
    server = Server(*arguments, env=env)
    try:
        yield server
    finally:
        server.process.kill()
        server.wait()
