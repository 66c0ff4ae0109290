"""Dynamic batching: requests in flight are detected and embedded together.

Photos are decoded in threads of their own. Two further threads take turns at the networks: while
one embeds its batch, the other takes what has come meanwhile and detects. So a batch is as large as
the load makes it. An idle engine waits, at most `_DEADLINE`, only for photos that are being decoded
already: a lone request does not wait at all.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from facerec.engine.engine import Engine
from facerec.engine.pool import Select
from facerec.faces import Face, Frame
from facerec.imaging.reader import decode_frame
from facerec.serving.failures import too_busy

Key = TypeVar("Key", bound=Hashable)
_DEADLINE = 0.005
"""Seconds that a photo waits for others which are being decoded."""
_LANES = 2
"""Batches in work: one detected, one embedded."""
_MOST_WAITING = 256
"""Photos admitted at once; beyond, requests are refused."""
_BATCH_PIXELS = 16_000_000
"""Pixels of a batch, beyond its first photo."""
_MOST_PIXELS = 64_000_000
"""Decoded pixels that wait for the engine; beyond, decoding pauses."""


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """A photo and its faces.

    Attributes:
        image: the photo's name.
        sha256: hex hash of its bytes.
        height: in pixels, upright.
        width: in pixels, upright.
        faces: with embeddings, if these were asked for.
    """

    image: str
    sha256: str
    height: int
    width: int
    faces: list[Face]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width


@dataclass(slots=True, eq=False)
class _Job:
    """A photo that waits for its faces: its bytes, then, decoded, the frame."""

    name: str
    data: bytes
    engine: Engine
    embed: bool
    select: Select | None
    frame: Frame
    faces: Future[list[Face]] = field(default_factory=Future)

    @property
    def pixels(self) -> int:
        return 0 if self.frame.image is None else self.frame.image.size // 3

    def fail(self, error: Exception) -> None:
        """Raise an error where the faces are waited for, if they still are."""
        if self.faces.running() or self.faces.set_running_or_notify_cancel():
            self.faces.set_exception(error)


class Batcher:
    """Detects and embeds the faces of photos that are asked for at the same time.

    Args:
        batch: most photos detected together.
        workers: threads that decode.
        max_pixels: photos with more are refused before they are decoded.
        observe: called with the size of each batch.
    """

    def __init__(
        self,
        *,
        batch: int,
        workers: int,
        max_pixels: int,
        observe: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._batch = batch
        self._max_pixels = max_pixels
        self._observe = observe
        self._decoders = ThreadPoolExecutor(workers, thread_name_prefix="decode")
        self._changed = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._pixels = 0
        self._arriving = 0
        self._closed = False
        self._admitted = 0
        self._locating, self._completing = threading.Lock(), threading.Lock()
        self._lanes = [
            threading.Thread(target=self._work, name=f"engine-{number}", daemon=True)
            for number in range(_LANES)
        ]
        for lane in self._lanes:
            lane.start()

    @property
    def admitted(self) -> int:
        """Photos that are being answered."""
        return self._admitted

    async def analyse(
        self, name: str, data: bytes, engine: Engine, *, embed: bool, select: Select | None = None
    ) -> Analysis:
        """The faces of one photo.

        Args:
            name: what errors call it.
            data: its encoded bytes.
            engine: finds them; engines that share a detector or a network may take turns.
            embed: whether the faces are embedded.
            select: picks which of them count.

        Raises:
            InputError: it is no image, damaged, or has too many pixels.
            RequestError: too many photos are waiting.
        """
        if self._admitted >= _MOST_WAITING:
            raise too_busy(f"{self._admitted} photos are waiting; try again in a second")
        self._admitted += 1
        job = _Job(name, data, engine, embed, select, Frame(name, None))
        try:
            with self._changed:
                self._arriving += 1
            self._decoders.submit(self._decode, job)
            faces = await asyncio.wrap_future(job.faces)
            height, width = job.frame.size
            return Analysis(name, job.frame.sha256, height, width, faces)
        finally:
            # One that was cancelled waits on in the queue, without its bytes.
            job.data = b""
            self._admitted -= 1

    def close(self) -> None:
        """End the threads, after the photos that are waiting."""
        self._decoders.shutdown()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for lane in self._lanes:
            lane.join()

    def _decode(self, job: _Job) -> None:
        """Decode a photo once there is room for its pixels, and let it wait for its faces."""
        # The decoders wait here: what is not decoded yet waits for one of them.
        with self._changed:
            self._changed.wait_for(lambda: self._pixels <= _MOST_PIXELS)
        try:
            if not job.faces.cancelled():
                reduction = job.engine.reduction
                job.frame = decode_frame(job.name, job.data, self._max_pixels, None, reduction)
                if job.frame.error is not None:
                    job.fail(job.frame.error)
        except Exception as error:  # noqa: BLE001  (raised where the photo is waited for)
            job.fail(error)
        job.data = b""
        with self._changed:
            self._arriving -= 1
            if job.frame.image is not None:
                self._waiting.append(job)
                self._pixels += job.pixels
            self._changed.notify_all()

    def _work(self) -> None:
        """One lane: batch after batch until the end."""
        while True:
            with self._locating:
                jobs = self._take()
                if jobs is None:
                    return
                located = _locate(jobs)
            with self._completing:
                _complete(located)
            self._observe(len(jobs))
            del jobs, located

    def _take(self) -> list[_Job] | None:
        """The next batch; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return None
            self._changed.wait_for(
                lambda: not self._arriving or len(self._waiting) >= self._batch, _DEADLINE
            )
            jobs: list[_Job] = []
            pixels = 0
            while (
                self._waiting and len(jobs) < self._batch and (not jobs or pixels < _BATCH_PIXELS)
            ):
                job = self._waiting.popleft()
                self._pixels -= job.pixels
                if job.faces.set_running_or_notify_cancel():
                    pixels += job.pixels
                    jobs.append(job)
            self._changed.notify_all()
            return jobs


def _locate(jobs: Sequence[_Job]) -> list[tuple[_Job, list[Face]]]:
    """The jobs with faces in pixels of the decoded images, without those that failed."""
    located: list[tuple[_Job, list[Face]]] = []
    for engine, group in _grouped(jobs, lambda job: job.engine):

        def locate(some: Sequence[_Job], engine: Engine = engine) -> None:
            batch = engine.locate([job.frame for job in some])
            done = []
            for job, (frame, faces) in zip(some, batch, strict=True):
                picked = faces
                if faces and job.select is not None and frame.image is not None:
                    picked = job.select(frame.image, faces)
                done.append((job, picked))
            # All or none: a failure lets each be located again.
            located.extend(done)

        _attempt(locate, group)
    return located


def _complete(located: Sequence[tuple[_Job, list[Face]]]) -> None:
    """Resolve the jobs."""
    faces_of = {id(job): faces for job, faces in located}
    jobs = [job for job, _ in located]
    for (engine, embed), group in _grouped(jobs, lambda job: (job.engine, job.embed)):

        def complete(some: Sequence[_Job], engine: Engine = engine, embed: bool = embed) -> None:
            batch = [(job.frame, faces_of[id(job)]) for job in some]
            for job, faces in zip(some, engine.complete(batch, embed=embed), strict=True):
                job.faces.set_result(faces)

        _attempt(complete, group)


def _attempt(function: Callable[[Sequence[_Job]], None], jobs: Sequence[_Job]) -> None:
    """Do all jobs together; where that fails each alone, so that a photo spoils no other."""
    try:
        function(jobs)
    except Exception as error:  # noqa: BLE001  (raised where the photo is waited for)
        if len(jobs) == 1:
            jobs[0].fail(error)
            return
        for job in jobs:
            _attempt(function, [job])


def _grouped(jobs: Sequence[_Job], key: Callable[[_Job], Key]) -> list[tuple[Key, list[_Job]]]:
    groups: dict[Key, list[_Job]] = {}
    for job in jobs:
        groups.setdefault(key(job), []).append(job)
    return list(groups.items())
