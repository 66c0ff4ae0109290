"""The command line as a process that `kill -9` ends at a counted point, however fast it runs."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

_SPARED = 5
"""Operations that what a killed run left may spare the next one: which, depends on where it was."""

_CODE = """
import itertools, os, signal, sys

folder, last = sys.argv.pop(1), int(sys.argv.pop(1))
count = itertools.count(1)

def seen(event, arguments):
    if event.startswith(("open", "os.")) and any(folder in str(part) for part in arguments):
        if next(count) == last:
            os.kill(os.getpid(), signal.SIGKILL)

from facerec.cli.app import main

sys.addaudithook(seen)
try:
    main()
finally:
    print(next(count) - 1, file=sys.stderr)
"""


def random_operations(count: int, folder: Path, *arguments: object) -> list[int]:
    """So many times at which a run opens, makes, renames, links or removes something below a
    folder, counted from its start. Every run gets that far: they are those of a second run, which
    finds all done, but for the last few."""
    for _ in range(2):
        process = _run(folder, 0, arguments)
        assert process.returncode == 0, process.stderr
    fewest = int(process.stderr.split()[-1])
    return random.Random(0).sample(range(1, fewest - _SPARED + 1), count)


def kill_before(operation: int, folder: Path, *arguments: object) -> None:
    """Run it until it is about to do so for the nth time, and kill it there."""
    process = _run(folder, operation, arguments)
    assert process.returncode == -signal.SIGKILL, process.stderr


def _run(
    folder: Path, last: int, arguments: tuple[object, ...]
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _CODE, str(folder), str(last), *map(str, arguments)]
    return subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=120
    )
