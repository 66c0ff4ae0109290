"""A pool of worker processes that take over a long stream from the engine's own process.

The steps between the networks are Python's and hold the GIL: on small images two threads are hardly
faster than one. Worker processes do not wait for each other.

Each runs `facerec.engine.worker`, answers pickled batches over its pipes, and ends when these
close: at the end of the stream, when the consumer stops, and when the engine's process is killed.
See `facerec.engine.spawning` for how they are started.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any, NamedTuple

from facerec.engine.messages import Parts, pack
from facerec.engine.spawning import FORKS, Pipes, spawn
from facerec.faces import Face, Frame, Image
from facerec.parallel.ahead import map_ahead
from facerec.profile.loading import Profile

Batch = list[tuple[Frame, list[Face]]]
Batches = Iterator[list[Frame]]
Select = Callable[[Image, list[Face]], list[Face]]

_MIN_SECONDS, _MIN_FRAMES = 4.0, 64
"""Spawn workers once a stream of unknown length has taken this long for this many images."""
_SOON, _MIN_LEFT = 1.0, 10.0
"""Seconds after which the speed is known, and that at this speed must be left of a stream of known
length: two workers take 2 to 4 s of a core to start, and save two fifths of the time."""


class WorkerConfig(NamedTuple):
    """What a worker process is sent first.

    Attributes:
        profile: the worker's engine is built from it.
        whole_batches: see `Engine.in_whole_batches`.
        apart: see `Engine.apart`.
        described: see `Engine.described`; a worker whose engine differs ends.
        select: picks which of an image's faces count; None: all.
        embed: whether faces are embedded.
    """

    profile: Profile
    whole_batches: bool
    apart: bool
    described: tuple[str, str]
    select: Select | None
    embed: bool


class WorkerPool:
    """Worker processes with an engine each.

    Args:
        config: a pickled `WorkerConfig`.
        count: of processes.

    Attributes:
        closed: whether `close` was called.
        pids: process ids of the workers that have started.
    """

    def __init__(self, config: bytes, count: int) -> None:
        self._config = config
        self._spawned = [spawn(count)] if FORKS else [spawn(1) for _ in range(count)]
        self._idle: SimpleQueue[Pipes | None] = SimpleQueue()
        self._ready = threading.Event()
        self.closed = False
        self.pids: list[int] = []
        for spawned in self._spawned:
            for worker in spawned.workers:
                threading.Thread(target=self._configure, args=(worker,), daemon=True).start()

    @property
    def ready(self) -> bool:
        """Whether the first worker has started, or failed to."""
        return self._ready.is_set()

    def detect(self, frames: Sequence[Frame]) -> list[list[Face]] | None:
        """Faces of each frame, from an idle worker; None if that worker has ended.

        Thread-safe for as many threads as there are workers.

        Raises:
            Exception: what the worker raised.
        """
        worker, answer = self._idle.get(), None
        try:
            answer = None if worker is None else _request(worker, pack(frames))
        finally:
            self._idle.put(None if answer is None else worker)
        if isinstance(answer, Exception):
            raise answer
        faces: list[list[Face]] | None = answer
        return faces

    def close(self) -> None:
        """Kill the processes and close their pipes."""
        self.closed = True
        for spawned in self._spawned:
            spawned.end(self.pids)

    def _configure(self, worker: Pipes) -> None:
        pid = _request(worker, [])
        if pid is not None:
            self.pids.append(pid)
        configured = pid is not None and _request(worker, [self._config]) is True
        self._idle.put(worker if configured else None)
        self._ready.set()


def map_in_workers(
    batches: Batches, local: Callable[[Batches], Iterator[Batch]], config: WorkerConfig, count: int,
    expected: int | None = None,
) -> Iterator[Batch]:  # fmt: skip
    """Batches with their faces, in order: from this process, and from workers once they are ready.

    Args:
        batches: of frames.
        local: finds the faces in this process.
        config: makes workers find the same faces.
        count: of workers; below 2, or with a config that cannot be pickled (`select` is not a
            module's function), there are none.
        expected: frames in the stream, if known.
    """
    try:
        pickled = pickle.dumps(config)
    except (pickle.PicklingError, AttributeError, TypeError):
        count = 0
    if count < 2 or not sys.executable or getattr(sys, "frozen", False):
        yield from local(batches)
        return
    pool: WorkerPool | None = None
    local_lock = threading.Lock()
    pace = _Pace(expected)

    def until_ready() -> Batches:
        nonlocal pool
        tried = False
        for batch in batches:
            pace.begin(batch)
            yield batch
            if pool is not None and pool.ready:
                return
            if not tried and pace.lasts():
                tried = True
                with contextlib.suppress(OSError):  # out of memory, or too many processes
                    pool = WorkerPool(pickled, count)

    def detect(batch: list[Frame]) -> Batch:
        assert pool is not None, "`until_ready` takes all batches otherwise"
        readable = [frame for frame in batch if frame.image is not None]
        answer = pool.detect(readable) if readable else []
        if answer is None:
            if pool.closed:
                return []  # the consumer has stopped
            with local_lock:
                return next(local(iter([batch])))
        found = iter(answer)
        return [(frame, [] if frame.image is None else next(found)) for frame in batch]

    try:
        for done in local(until_ready()):
            pace.end(done)
            yield done
        yield from map_ahead(batches, detect, workers=count)
    finally:
        if pool is not None:
            pool.close()


class _Pace:
    """Whether a stream lasts long enough for workers, by the images it has had so far.

    Args:
        expected: frames in the stream, if known.
    """

    def __init__(self, expected: int | None) -> None:
        self._left = expected
        self._begun = self._done = 0
        self._start: float | None = None

    def begin(self, batch: list[Frame]) -> None:
        """Note frames that are next."""
        images = _images(batch)
        # What is known already, and not decoded, takes no time.
        if images and self._start is None:
            self._start = time.monotonic()
        self._begun += images
        if self._left is not None:
            self._left -= len(batch)

    def end(self, batch: Batch) -> None:
        """Note frames whose faces are found."""
        self._done += _images(frame for frame, _ in batch)

    def lasts(self) -> bool:
        """Whether it is worth starting workers now."""
        if self._start is None:
            return False
        seconds = time.monotonic() - self._start
        if self._left is None:
            return self._begun >= _MIN_FRAMES and seconds >= _MIN_SECONDS
        if not self._done or seconds < _SOON:
            return False
        return self._left * seconds / self._done >= _MIN_LEFT


def _images(frames: Iterable[Frame]) -> int:
    return sum(frame.image is not None for frame in frames)


def _request(worker: Pipes, message: Parts) -> Any:
    """The answer to a message; None if the worker has ended."""
    try:
        for part in message:
            worker.requests.write(part)
        worker.requests.flush()
        return pickle.load(worker.answers)
    except (OSError, EOFError, ValueError, pickle.UnpicklingError):
        return None
