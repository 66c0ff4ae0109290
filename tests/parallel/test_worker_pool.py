"""Worker processes that share a long stream: the same faces, even if workers are killed."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from facerec.engine import pool
from facerec.engine.engine import Engine
from facerec.errors import InputError
from facerec.faces import Face, Frame, Image
from facerec.imaging.decode import read_image
from facerec.profile.loading import Profile
from tests.conftest import noise

pytestmark = [pytest.mark.usefixtures("impatient"), pytest.mark.numeric]

_LONGEST = 120  # seconds that workers may take to start
_SCRIPT = """
import sys
from facerec.engine import pool
from facerec.engine.engine import Engine
from facerec.faces import Frame
from facerec.profile.loading import Profile
import numpy as np

pool._MIN_SECONDS = pool._MIN_FRAMES = 0
pool.FORKS = FORKS
workers = None
start = pool.WorkerPool.__init__
def remember(self, *args):
    global workers
    start(self, *args)
    workers = self
pool.WorkerPool.__init__ = remember

def frames():
    while True:
        yield Frame("", np.zeros((60, 60, 3), np.uint8))

engine = Engine.from_profile(Profile.load(settings=["runtime.processes=2", "runtime.threads=1"]))
told = False
try:
    for number, _ in enumerate(engine.faces(frames())):
        if not told and number >= 2000 and len(workers.pids) == 2:
            told = True
            for pid in workers.pids:
                print(pid, flush=True)
            print("going", flush=True)
except BaseException as error:
    # Ctrl-C in the midst of Python's own `threading.Condition.wait` finds its lock released, which
    # raises another error in its place; the command line goes by the context as well.
    if not isinstance(error, KeyboardInterrupt) and type(error.__context__) != KeyboardInterrupt:
        raise
    print("interrupted", flush=True)
"""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_MIN_SECONDS", 0)
    monkeypatch.setattr(pool, "_MIN_FRAMES", 0)


@pytest.fixture(params=[True, False], ids=["forked", "spawned"])
def forks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether workers are forked by a process that has imported what they need."""
    forks: bool = request.param
    if forks and not pool.FORKS:
        pytest.skip("forks on Linux only")
    monkeypatch.setattr(pool, "FORKS", forks)
    return forks


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[pool.WorkerPool]:
    """The pools of workers that the test started."""
    start, pools = pool.WorkerPool.__init__, []

    def remember(self: pool.WorkerPool, config: bytes, count: int) -> None:
        start(self, config, count)
        pools.append(self)

    monkeypatch.setattr(pool.WorkerPool, "__init__", remember)
    return pools


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What workers answered, or raised."""
    detect, noted = pool.WorkerPool.detect, []

    def note(self: pool.WorkerPool, images: list[Image]) -> object:
        try:
            answer: object = detect(self, images)
        except Exception as error:
            noted.append(error)
            raise
        noted.append(answer)
        return answer

    monkeypatch.setattr(pool.WorkerPool, "detect", note)
    return noted


@pytest.fixture(scope="module")
def shared() -> Iterator[Engine]:
    threads = torch.get_num_threads()
    yield Engine.from_profile(Profile.load(settings=["runtime.processes=2", "runtime.batch=4"]))
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def photo(portraits: dict[str, Path]) -> Image:
    return np.ascontiguousarray(read_image(portraits["grace_hopper"], 10**7)[:300])


def pictures(photo: Image, until: Callable[[], bool]) -> Iterator[Frame]:
    """All kinds of frames, until something has happened, and some after that."""
    number = left = 0
    end = time.monotonic() + _LONGEST
    while left < 12 and time.monotonic() < end:
        yield [
            Frame(f"{number} a", np.ascontiguousarray(photo[number % 9 :])),
            Frame(f"{number} b", None, error=InputError("no")),
            Frame(f"{number} c", noise(60, 40)),
        ][number % 3]
        number += 1
        left += until()


def refuse(image: Image, faces: list[Face]) -> list[Face]:
    raise InputError("seen")


def assert_as_alone(engine: Engine, found: list[tuple[Frame, list[Face]]]) -> None:
    """In order, and to the bit what one process finds."""
    numbers = [frame.source.split()[0] for frame, _ in found]
    assert numbers == [str(number) for number in range(len(found))]
    alone = Engine(engine._detector, engine._vectors._embedder, batch=1).in_whole_batches()
    expected = list(alone.faces(frame for frame, _ in found))
    assert any(faces for _, faces in found)
    for (_, some), (_, others) in zip(found, expected, strict=True):
        for one, other in zip(some, others, strict=True):
            for name in ("box", "score", "landmarks", "embedding"):
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.usefixtures("forks")
def test_the_faces_are_those_of_one_process(
    shared: Engine, photo: Image, started: list[pool.WorkerPool], answers: list[object]
) -> None:
    stream = shared.in_whole_batches().faces(pictures(photo, lambda: len(answers) > 3))
    found = list(stream)
    assert len(answers) > 3
    assert all(isinstance(answer, list) for answer in answers)
    (workers,) = started
    assert [_exists(pid) for pid in workers.pids] == [False, False]
    assert_as_alone(shared, found)


@pytest.mark.usefixtures("forks")
def test_a_killed_worker_loses_nothing(
    shared: Engine, photo: Image, started: list[pool.WorkerPool], answers: list[object]
) -> None:
    killed = 0

    def kill_one_after_the_other() -> bool:
        nonlocal killed
        if killed < 2 and len(answers) > 3 * (killed + 1):
            os.kill(started[0].pids[killed], getattr(signal, "SIGKILL", signal.SIGTERM))
            killed += 1
        return killed == 2 and answers.count(None) > 2

    stream = shared.in_whole_batches().faces(pictures(photo, kill_one_after_the_other))
    assert_as_alone(shared, list(stream))
    assert killed == 2


def test_without_memory_for_workers_the_stream_goes_on(
    shared: Engine, photo: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def fail(_: int) -> None:
        tried.append(1)
        raise OSError("Cannot allocate memory")

    monkeypatch.setattr(pool, "spawn", fail)
    found = list(shared.detections(pictures(photo, lambda: True)))
    assert tried == [1]
    assert sum(len(faces) for _, faces in found) == 4


def test_what_fails_in_a_worker_fails_here(
    shared: Engine, photo: Image, answers: list[object]
) -> None:
    # faces, of which something is selected, come only when workers have the stream
    end = time.monotonic() + _LONGEST
    numbers = itertools.takewhile(lambda _: time.monotonic() < end, itertools.count())
    frames = (Frame("", photo if answers else noise(30, 30)) for _ in numbers)
    with pytest.raises(InputError, match="seen"):
        for _ in shared.faces(frames, select=refuse):
            pass
    assert any(isinstance(answer, InputError) for answer in answers)


def test_a_function_that_cannot_be_pickled_is_called_here(
    shared: Engine, started: list[pool.WorkerPool], photo: Image
) -> None:
    seen = []

    def select(image: Image, faces: list[Face]) -> list[Face]:
        seen.append(image)
        return faces

    found = list(shared.faces(pictures(photo, lambda: True), select=select))
    assert len(seen) == 4 == sum(len(faces) for _, faces in found)
    assert not started


@pytest.mark.usefixtures("forks")
def test_a_model_that_has_changed_meanwhile_is_not_used(
    photo: Image, started: list[pool.WorkerPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine.from_profile(Profile.load(settings=["runtime.processes=2"]))
    monkeypatch.setattr(Engine, "described", ("another", "torch fp32"))

    def ended() -> bool:
        pids = started[0].pids if started else []
        return len(pids) == 2 and not any(map(_runs, pids))

    found = list(engine.faces(pictures(photo, ended)))
    assert any(faces for _, faces in found)
    assert {spawned.process.returncode for spawned in started[0]._spawned} == {0}


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(how: signal.Signals, tmp_path: Path, forks: bool) -> None:
    """Ctrl-C, as a terminal sends it, and kill -9."""
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT.replace("FORKS = FORKS", f"FORKS = {forks}"))
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        # A shell that starts the tests in the background has them ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stdout is not None
    children = [int(process.stdout.readline()) for _ in range(2)]
    assert process.stdout.readline() == "going\n"
    os.killpg(process.pid, how)
    try:
        rest, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (rest, errors) == ("interrupted\n" if how == signal.SIGINT else "", "")
    end = time.monotonic() + 20
    while any(_runs(child) for child in children):
        assert time.monotonic() < end
        time.sleep(0.1)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _runs(pid: int) -> bool:
    if not _exists(pid):
        return False
    # An orphan that has ended stays until somebody asks after it, in a container perhaps for ever.
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")
