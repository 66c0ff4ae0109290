"""Starting and ending worker processes.

On Linux one process imports PyTorch and the rest, which takes 1.5 s of a core, and forks the
workers before it computes anything. Elsewhere each imports by itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import IO, Any, NamedTuple

FORKS = sys.platform == "linux"
_PATIENCE = 2.0
"""Seconds in which a process that has forked must have ended its workers."""
_KEPT_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}
"""Has glibc keep a worker's freed memory for its next batch. Else each image causes a hundred page
faults, which take 2 % of its time."""


class Pipes(NamedTuple):
    """The engine's ends of a worker's pipes."""

    requests: IO[bytes]
    answers: IO[bytes]


class Spawned:
    """A process that is a worker, or has forked some.

    Attributes:
        process: as it was started.
        workers: the pipes of each.
    """

    def __init__(self, process: subprocess.Popen[bytes], workers: Sequence[Pipes]) -> None:
        self.process = process
        self.workers = workers

    def end(self, pids: Sequence[int]) -> None:
        """Kill the workers and close their pipes.

        Args:
            pids: of the workers that have answered; without any, the process still imports.
        """
        assert self.process.stdin is not None, "it is a pipe"
        if len(self.workers) > 1:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
            if pids:
                # Only their own parent can leave no zombies.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(_PATIENCE)
            if self.process.poll() is None:
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        for worker in self.workers:
            for pipe in worker:
                with contextlib.suppress(OSError):  # unsent data of a killed worker
                    pipe.close()


def spawn(count: int) -> Spawned:
    """Start a process that is, or forks, so many workers.

    Raises:
        OSError: out of memory, or too many processes or open files.
    """
    if count == 1:
        process = _start("main()", stdout=subprocess.PIPE)
        assert process.stdin is not None and process.stdout is not None, "both are pipes"
        return Spawned(process, [Pipes(process.stdin, process.stdout)])
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        workers, ends = [], []
        for _ in range(count):
            their_requests, requests = _open_pipe(theirs, ours)
            answers, their_answers = _open_pipe(ours, theirs)
            workers.append(Pipes(requests, answers))
            ends.append((their_requests.fileno(), their_answers.fileno()))
        passed = [end for pair in ends for end in pair]
        process = _start(f"fork({ends})", stdout=subprocess.DEVNULL, pass_fds=passed)
        ours.pop_all()
        return Spawned(process, workers)


def _open_pipe(
    reader: contextlib.ExitStack, writer: contextlib.ExitStack
) -> tuple[IO[bytes], IO[bytes]]:
    """A pipe's two ends, each closed with its stack."""
    reading, writing = os.pipe()
    return (
        reader.enter_context(os.fdopen(reading, "rb")),
        writer.enter_context(os.fdopen(writing, "wb")),
    )


def _start(call: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start a process that makes a call to `facerec.engine.worker`."""
    # Like multiprocessing's spawn, without importing the caller's script again. Garbage collection
    # during the imports would take a sixth of the start-up.
    program = (
        f"import gc, sys; gc.disable(); sys.path[:] = {sys.path!r}; "
        f"from facerec.engine import worker; worker.{call}"
    )
    # A terminal sends Ctrl-C to the whole process group; this process ends its workers itself.
    own_group: dict[str, Any] = (
        {"start_new_session": True}
        if os.name == "posix"
        else {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    )
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program],
        stdin=subprocess.PIPE,
        env=_KEPT_MEMORY | os.environ,
        **own_group,
        **options,
    )
