"""Dynamic batching: what comes together is computed together, and nothing waits for nobody."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from facerec.errors import InputError
from facerec.faces import Face
from facerec.serving import batching
from facerec.serving.batching import Batcher
from facerec.serving.failures import RequestError


def png(side: int = 8) -> bytes:
    file = BytesIO()
    Pillow.new("RGB", (side, side), "white").save(file, "png")
    return file.getvalue()


class FakeEngine:
    """One face per photo; waits in `locate` while `gate` is closed.

    Attributes:
        batches: the sizes of those located.
        embedded: how many faces got a vector.
    """

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.embedded = 0
        self.gate = threading.Event()
        self.gate.set()
        self.inside = threading.Event()

    def reduction(self, height: int, width: int) -> int:
        return 1

    def locate(self, frames: Sequence[Any], select: object = None) -> list[Any]:
        self.inside.set()
        self.gate.wait(10)
        self.batches.append(len(frames))
        if any(frame.source == "bad" for frame in frames):
            raise RuntimeError("a bug")
        face = Face(np.array([0, 0, 4, 4], np.float32), 0.9, np.zeros((5, 2), np.float32))
        return [(frame, [face]) for frame in frames]

    def complete(self, located: Sequence[Any], *, embed: bool) -> list[list[Face]]:
        self.embedded += embed * len(located)
        return [faces for _, faces in located]


@pytest.fixture
def batcher() -> Iterator[Batcher]:
    made = Batcher(batch=8, workers=2, max_pixels=10_000)
    yield made
    made.close()


async def ask(batcher: Batcher, engine: Any, count: int, *, embed: bool = True) -> list[Any]:
    asked = (batcher.analyse(str(n), png(), engine, embed=embed) for n in range(count))
    return await asyncio.gather(*asked, return_exceptions=True)


def test_photos_that_come_together_are_located_together(batcher: Batcher) -> None:
    engine = FakeEngine()
    done = asyncio.run(ask(batcher, engine, 24))
    assert [found.image for found in done] == [str(n) for n in range(24)]
    assert all(len(found.faces) == 1 for found in done)
    assert sum(engine.batches) == 24
    assert max(engine.batches) <= 8 and len(engine.batches) <= 12


def test_a_lone_photo_waits_for_nobody(batcher: Batcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_DEADLINE", 5.0)
    start = time.monotonic()
    asyncio.run(ask(batcher, FakeEngine(), 1))
    assert time.monotonic() - start < 2


def test_photos_that_need_no_vectors_get_none(batcher: Batcher) -> None:
    engine = FakeEngine()

    async def mixed() -> None:
        await asyncio.gather(ask(batcher, engine, 3, embed=False), ask(batcher, engine, 2))

    asyncio.run(mixed())
    assert (sum(engine.batches), engine.embedded) == (5, 2)


def test_a_photo_that_makes_the_engine_fail_spoils_no_other(batcher: Batcher) -> None:
    engine = FakeEngine()

    async def run() -> list[Any]:
        names = ("a", "bad", "b")
        asked = (batcher.analyse(name, png(), engine, embed=True) for name in names)
        return await asyncio.gather(*asked, return_exceptions=True)

    first, bad, second = asyncio.run(run())
    assert (first.image, second.image) == ("a", "b")
    assert isinstance(bad, RuntimeError)


def test_what_is_no_image_is_told_and_leaves_no_trace(batcher: Batcher) -> None:
    async def run() -> None:
        with pytest.raises(InputError, match="no image: is not an image"):
            await batcher.analyse("no image", b"x", FakeEngine(), embed=True)
        with pytest.raises(InputError, match="at most 10,000 are read"):
            await batcher.analyse("large", png(200), FakeEngine(), embed=True)

    asyncio.run(run())
    assert batcher.admitted == 0


def test_beyond_the_bound_photos_are_refused_with_a_time(
    batcher: Batcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "_MOST_WAITING", 4)
    engine = FakeEngine()
    done = asyncio.run(ask(batcher, engine, 9))
    refused = [one for one in done if isinstance(one, RequestError)]
    assert (len(refused), sum(engine.batches)) == (5, 4)
    assert {(one.status, one.headers["Retry-After"]) for one in refused} == {(429, "1")}


def test_who_hangs_up_costs_no_work(batcher: Batcher) -> None:
    engine = FakeEngine()
    engine.gate.clear()

    async def run() -> None:
        first = asyncio.create_task(batcher.analyse("0", png(), engine, embed=True))
        await asyncio.to_thread(engine.inside.wait, 5)
        later = [
            asyncio.create_task(batcher.analyse(str(n), png(), engine, embed=True))
            for n in range(1, 6)
        ]
        while len(batcher._waiting) < 5:
            await asyncio.sleep(0.005)
        for task in later[:4]:
            task.cancel()
        await asyncio.sleep(0)
        engine.gate.set()
        await first
        await later[4]

    asyncio.run(run())
    assert engine.batches == [1, 1]
    assert batcher.admitted == 0


def test_decoded_pixels_that_wait_are_bounded(
    batcher: Batcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "_MOST_PIXELS", 3 * 64)
    engine = FakeEngine()
    engine.gate.clear()

    async def run() -> None:
        asked = asyncio.create_task(ask(batcher, engine, 40))
        await asyncio.to_thread(engine.inside.wait, 5)
        await asyncio.sleep(0.2)
        # Three fit; the next of each of two threads comes on top.
        assert len(batcher._waiting) <= 5
        engine.gate.set()
        await asked

    asyncio.run(run())
    assert sum(engine.batches) == 40


def test_a_choice_that_fails_spoils_no_other(batcher: Batcher) -> None:
    """Those of its batch that were located before it are located once more."""
    engine = FakeEngine()
    engine.gate.clear()

    def fail(image: object, faces: object) -> Any:
        raise RuntimeError("a bug")

    async def run() -> list[Any]:
        first = asyncio.create_task(batcher.analyse("0", png(), engine, embed=True))
        await asyncio.to_thread(engine.inside.wait, 5)
        asked = [
            asyncio.create_task(batcher.analyse(name, png(), engine, embed=True, select=select))
            for name, select in (("a", None), ("b", None), ("bad", fail))
        ]
        while len(batcher._waiting) < 3:
            await asyncio.sleep(0.005)
        engine.gate.set()
        return await asyncio.wait_for(asyncio.gather(first, *asked, return_exceptions=True), 5)

    *good, bad = asyncio.run(run())
    assert [found.image for found in good] == ["0", "a", "b"]
    assert isinstance(bad, RuntimeError)
    assert all(lane.is_alive() for lane in batcher._lanes)
