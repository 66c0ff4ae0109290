"""`facerec serve` as a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def serving(*arguments: object) -> Iterator[tuple[str, list[str]]]:
    """A server on a free port of 127.0.0.1: its URL, and the lines it says, which grow."""
    command = [sys.executable, "-m", "facerec", "serve", "--port", "0", *map(str, arguments)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said: list[str] = []
    for line in process.stderr:
        said.append(line)
        if found := re.search(r"(http://127\.0\.0\.1:\d+)/? answers", line):
            break
    else:
        raise AssertionError("".join(said))
    reader = threading.Thread(target=said.extend, args=(process.stderr,), daemon=True)
    reader.start()
    try:
        yield found[1], said
    finally:
        process.terminate()
        code = process.wait(40)
        reader.join(5)
        assert code == 0, "".join(said)
        assert "Traceback" not in "".join(said)
