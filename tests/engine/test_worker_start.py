"""Worker processes are started where they pay off."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from facerec.engine import pool
from facerec.engine.pool import Batch, Batches
from facerec.faces import Frame

_IMAGE = np.zeros((8, 8, 3), np.uint8)


class Clock:
    """Seconds, as the frames of a stream take them."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


def started_at(
    monkeypatch: pytest.MonkeyPatch, seconds: list[float], expected: int | None, known: int = 0
) -> float | None:
    """When workers are started in a stream of batches of 16, which take `seconds`; None: never.

    Args:
        known: frames before these that need not be decoded, in a second each.
    """
    clock, begin, starts = Clock(), Clock.now + known, []

    def spawn(_: int) -> None:
        starts.append(clock.now - begin)
        raise OSError("not here")

    def batches() -> Iterator[list[Frame]]:
        for _ in range(known):
            yield [Frame("", None)]
            clock.now += 1
        for second in seconds:
            yield [Frame("", _IMAGE)] * 16
            clock.now += second

    def local(batches: Batches) -> Iterator[Batch]:
        for batch in batches:
            yield [(frame, []) for frame in batch]

    monkeypatch.setattr(pool, "time", clock)
    monkeypatch.setattr(pool, "spawn", spawn)
    config: pool.WorkerConfig = None  # type: ignore[assignment]
    stream = pool.map_in_workers(batches(), local, config, 2, expected)
    assert len(list(stream)) == known + len(seconds)
    assert len(starts) <= 1
    return starts[0] if starts else None


def test_of_unknown_length_after_four_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert started_at(monkeypatch, [0.5] * 100, None) == 4.0
    assert started_at(monkeypatch, [3.0] * 100, None) == 9.0
    assert started_at(monkeypatch, [0.5] * 7, None) is None


def test_a_long_stream_after_one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    assert started_at(monkeypatch, [0.25] * 400, 6400) == 1.0


def test_not_where_little_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    assert started_at(monkeypatch, [0.5] * 18, 16 * 18) is None


def test_where_it_becomes_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    started = started_at(monkeypatch, [0.0625] * 20 + [1.0] * 60, 16 * 80)
    assert started is not None and 2 < started < 6


def test_frames_that_are_known_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert started_at(monkeypatch, [0.25] * 400, 6450, known=50) == 1.0
    assert started_at(monkeypatch, [0.25] * 3, 53, known=50) is None
    assert started_at(monkeypatch, [0.25] * 100, None, known=50) == 4.0


def test_a_worker_keeps_freed_memory_unless_the_user_decides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environments = []

    def start(*_: object, env: dict[str, str], **__: object) -> None:
        environments.append(env)
        raise OSError("not here")

    monkeypatch.setattr("subprocess.Popen", start)
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "131072")
    with pytest.raises(OSError, match="not here"):
        pool.spawn(2)
    (env,) = environments
    assert env["MALLOC_TRIM_THRESHOLD_"] == str(64 << 20)
    assert env["MALLOC_MMAP_THRESHOLD_"] == "131072"
    assert env["PATH"]
