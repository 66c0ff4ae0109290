"""The command line as a process that `kill -9` ends at a counted point, however fast it runs."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

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


def operations(folder: Path, *arguments: object) -> int:
    """How often a run opens, makes, renames, links or removes something below a folder."""
    process = _run(folder, 0, arguments)
    assert process.returncode == 0, process.stderr
    return int(process.stderr.split()[-1])


def kill_before(operation: int, folder: Path, *arguments: object) -> None:
    """Run it until it is about to do so for the nth time, and kill it there."""
    process = _run(folder, operation, arguments)
    assert process.returncode == -signal.SIGKILL, process.stderr


def _run(
    folder: Path, last: int, arguments: tuple[object, ...]
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _CODE, str(folder), str(last), *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
