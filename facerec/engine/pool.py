"""Processes that take batches of a long stream off an engine's hands.

The steps between the networks are Python's, and threads of one process hand its interpreter to and
fro: on small pictures two are hardly quicker than one. Processes do not wait for each other.

They run `facerec.engine.worker`, talk over their pipes, and end when these close: at the end of the
stream, when it is given up, and when the process that wanted them is killed.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any, NamedTuple

from facerec.faces import Face, Frame, Image
from facerec.parallel.ahead import map_ahead
from facerec.profile.loading import Profile

Batch = list[tuple[Frame, list[Face]]]
Batches = Iterator[list[Frame]]
Select = Callable[[Image, list[Face]], list[Face]]

_PATIENCE_SECONDS, _PATIENCE_FRAMES = 4.0, 64
"""A stream that has lasted as long as helpers take to start is worth starting them."""


class Order(NamedTuple):
    """What helpers do.

    Attributes:
        profile: of their engines.
        whole: whether vectors must come out the same to the bit however the work is divided.
        described: the engine that they help; see `Engine.described`.
        select: picks which of a picture's faces count; None: all.
        embed: whether the faces are embedded.
    """

    profile: Profile
    whole: bool
    described: tuple[str, str]
    select: Select | None
    embed: bool


class Helpers:
    """Processes that each run an engine of their own.

    Args:
        order: what they do, pickled.
        count: how many.

    Attributes:
        closed: whether they have been ended.
    """

    def __init__(self, order: bytes, count: int) -> None:
        self._order = order
        self._processes = [_start() for _ in range(count)]
        self._idle: SimpleQueue[subprocess.Popen[bytes] | None] = SimpleQueue()
        self._ready = threading.Event()
        self.closed = False
        for process in self._processes:
            threading.Thread(target=self._prepare, args=(process,), daemon=True).start()

    @property
    def ready(self) -> bool:
        """Whether one of them has begun to work, or has ended."""
        return self._ready.is_set()

    def work(self, frames: Sequence[Frame]) -> list[list[Face]] | None:
        """The faces of each frame; None from a helper that has ended.

        As many threads as there are helpers may call this at a time.

        Raises:
            Exception: what was raised there.
        """
        process = self._idle.get()
        answer = None if process is None else _ask(process, pickle.dumps(frames, protocol=5))
        self._idle.put(None if answer is None else process)
        if isinstance(answer, Exception):
            raise answer
        faces: list[list[Face]] | None = answer
        return faces

    def close(self) -> None:
        """End them."""
        self.closed = True
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None, "both are pipes"
                with contextlib.suppress(OSError):  # what it did not take any more
                    pipe.close()

    def _prepare(self, process: subprocess.Popen[bytes]) -> None:
        self._idle.put(process if _ask(process, self._order) is True else None)
        self._ready.set()


def divide(
    batches: Batches, alone: Callable[[Batches], Iterator[Batch]], order: Order, count: int
) -> Iterator[Batch]:
    """Batches with their faces, in order: found by this process, and by helpers if it takes long.

    Args:
        batches: of frames.
        alone: finds the faces in this process.
        order: what helpers do, which gives the same faces.
        count: of helpers; with fewer than two, or an order that no other process understands (a
            function that is not a module's), there are none.
    """
    try:
        pickled = pickle.dumps(order)
    except (pickle.PicklingError, AttributeError, TypeError):
        count = 0
    if count < 2 or not sys.executable or getattr(sys, "frozen", False):
        yield from alone(batches)
        return
    helpers: Helpers | None = None
    one_at_a_time = threading.Lock()

    def until_helped() -> Batches:
        nonlocal helpers
        frames, began, wanted = 0, time.monotonic(), True
        for batch in batches:
            yield batch
            frames += len(batch)
            if helpers is not None and helpers.ready:
                return
            lasts = frames >= _PATIENCE_FRAMES and time.monotonic() - began >= _PATIENCE_SECONDS
            if wanted and lasts:
                wanted = False
                with contextlib.suppress(OSError):  # of memory, or too many processes
                    helpers = Helpers(pickled, count)

    def have_done(batch: list[Frame]) -> Batch:
        assert helpers is not None, "there is no batch left otherwise"
        pictures = [frame for frame in batch if frame.image is not None]
        answer = helpers.work(pictures) if pictures else []
        if answer is None:
            if helpers.closed:
                return []  # nobody waits for it
            with one_at_a_time:
                return next(alone(iter([batch])))
        found = iter(answer)
        return [(frame, [] if frame.image is None else next(found)) for frame in batch]

    try:
        yield from alone(until_helped())
        yield from map_ahead(batches, have_done, workers=count)
    finally:
        if helpers is not None:
            helpers.close()


def _start() -> subprocess.Popen[bytes]:
    # As `multiprocessing` starts its own, but the caller's script is not run again.
    # Collecting garbage among all that is imported would take a sixth of the start.
    program = (
        f"import gc, sys; gc.disable(); sys.path[:] = {sys.path!r}; "
        "from facerec.engine.worker import main; main()"
    )
    # Ctrl-C in a terminal is told to a whole group; this process ends its helpers itself.
    apart: dict[str, Any] = (
        {"start_new_session": True}
        if os.name == "posix"
        else {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    )
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        **apart,
    )


def _ask(process: subprocess.Popen[bytes], message: bytes) -> Any:
    """The answer to a pickled message; None where the process has ended."""
    assert process.stdin is not None and process.stdout is not None, "both are pipes"
    try:
        process.stdin.write(message)
        process.stdin.flush()
        return pickle.load(process.stdout)
    except (OSError, EOFError, ValueError, pickle.UnpicklingError):
        return None
