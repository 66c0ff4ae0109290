"""The command line as a process that `kill -9` ends at a counted point, however fast it runs.

The processes are forks of one that has imported what they need, which takes longer than their work.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TypedDict

_SPARED = 5
"""Operations that what a killed run left may spare the next one: which, depends on where it was."""

_SERVER = """
import itertools, json, os, signal, sys, tempfile

import openvino, torch
import facerec.cleanup.examine, facerec.cli.cleanup_inputs, facerec.cli.embed
import facerec.engine.engine
from facerec.cli.app import main

for line in sys.stdin:
    folder, last, *arguments = json.loads(line)
    errors = tempfile.TemporaryFile("w+")
    child = os.fork()
    if child == 0:
        break
    _, status = os.waitpid(child, 0)
    errors.seek(0)
    code = os.waitstatus_to_exitcode(status)
    print(json.dumps({"code": code, "errors": errors.read()}), flush=True)
else:
    sys.exit()

nothing = os.open(os.devnull, os.O_RDWR)
for stream, number in ((nothing, 0), (nothing, 1), (errors.fileno(), 2)):
    os.dup2(stream, number)
sys.argv = ["facerec", *arguments]
count = itertools.count(1)

def seen(event, arguments):
    if event.startswith(("open", "os.")) and any(folder in str(part) for part in arguments):
        if next(count) == last:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(seen)
try:
    main()
finally:
    print(next(count) - 1, file=sys.stderr)
"""


class _Ended(TypedDict):
    code: int
    errors: str


def random_operations(count: int, folder: Path, *arguments: object) -> list[int]:
    """So many times at which a run opens, makes, renames, links or removes something below a
    folder, counted from its start. Every run gets that far: they are those of a second run, which
    finds all done, but for the last few."""
    for _ in range(2):
        ended = _run(folder, 0, arguments)
        assert ended["code"] == 0, ended["errors"]
    fewest = int(ended["errors"].split()[-1])
    return random.Random(0).sample(range(1, fewest - _SPARED + 1), count)


def kill_before(operation: int, folder: Path, *arguments: object) -> None:
    """Run it until it is about to do so for the nth time, and kill it there."""
    ended = _run(folder, operation, arguments)
    assert ended["code"] == -signal.SIGKILL, ended["errors"]


@cache
def _server() -> subprocess.Popen[str]:
    """Ends with its input, when this process does."""
    command = [sys.executable, "-c", _SERVER]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _run(folder: Path, last: int, arguments: tuple[object, ...]) -> _Ended:
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    print(json.dumps([str(folder), last, *map(str, arguments)]), file=server.stdin, flush=True)
    ended: _Ended = json.loads(server.stdout.readline())
    return ended
