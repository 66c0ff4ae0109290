"""Kinds of input, cases of them, and how a case ended."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from facerec.errors import FacerecError
from tests.fuzz.mutations import BINARY, Mutation, mutate
from tests.fuzz.watch import Watch, watching

MOST_SECONDS = 20.0
"""Of CPU; the slowest right answer takes a tenth of it."""
MOST_MEMORY = 1024.0
"""MiB beyond what the process had."""
MOST_LINES, LONGEST_LINE = 12, 2000
REGRESSIONS = Path(__file__).parent / "regressions"
_CODES = {0: "done", 1: "no", 2: "refused", 3: "passed over", 4: "damaged"}
RIGHT = tuple(_CODES.values())
"""Outcomes that are right, whatever the file."""

Pack = Callable[[bytes], bytes]
Action = list[object] | Callable[[], object]
"""Arguments of the command line, or a call."""


@dataclass(frozen=True)
class Seed:
    """A file to mutate.

    Attributes:
        data: its bytes, or those of the part that is mutated.
        pack: makes the file of that part, such as a zip of a member or a PNG with right checksums.
        hostile: also run as it is.
    """

    data: bytes
    pack: Pack | None = None
    hostile: bool = False
    whole: bool = True
    """Whether the packed file is mutated too."""


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    Attributes:
        name: as `--kind` takes it.
        seeds: makes the files, by name, in a folder of their own.
        act: what to do with a file; the folder is the current one, and is thrown away.
        mutations: see `mutate`.
        stage: puts further files beside it.
    """

    name: str
    seeds: Callable[[Path], Mapping[str, Seed]]
    act: Callable[[Path, Random], Action]
    mutations: Sequence[Mutation] = BINARY
    stage: Callable[[Path], object] = field(default=lambda _: None)


@dataclass(frozen=True)
class Ended:
    """How a case ended: one of `_CODES`, or what was wrong."""

    outcome: str
    wrong: str
    err: str = ""

    @property
    def key(self) -> str:
        """Equal for cases that probably have one cause."""
        return f"{self.outcome} {self.wrong.rpartition(' at ')[2]}"


class Fuzzer:
    """Makes and runs the cases of one kind.

    Args:
        kind: whose.
        root: a folder for everything; nothing may be written outside.
        seed: of all random choices.
    """

    def __init__(self, kind: Kind, root: Path, seed: int) -> None:
        self.kind, self.root, self._seed = kind, root.resolve(), seed

    @cached_property
    def seeds(self) -> dict[str, Seed]:
        folder = self.root / "seeds"
        folder.mkdir(parents=True)
        return dict(self.kind.seeds(folder))

    @cached_property
    def _staged(self) -> Path:
        folder = self.root / "staged"
        folder.mkdir(parents=True)
        self.kind.stage(folder)
        return folder

    @property
    def hostile(self) -> int:
        """Cases that are hostile seeds as they are; they come first."""
        return sum(seed.hostile for seed in self.seeds.values())

    def case(self, number: int) -> tuple[str, bytes]:
        """Name and content of a case."""
        hostile = [name for name, seed in self.seeds.items() if seed.hostile]
        dice = self._dice(number)
        if number < len(hostile):
            name = hostile[number]
        else:
            whole = sorted(self.seeds.keys() - set(hostile))
            name = dice.choice(hostile if hostile and dice.random() < 0.2 else whole)
        seed = self.seeds[name]
        data = seed.data
        if number >= len(hostile):
            others = [other.data for other in self.seeds.values() if other is not seed]
            data = mutate(data, others, self.kind.mutations, dice)
        inside = number < len(hostile) or not seed.whole or dice.random() < 0.8
        if seed.pack is not None and inside:
            data = seed.pack(data)
        elif seed.pack is not None:
            data = mutate(seed.pack(seed.data), (), self.kind.mutations, dice)
        return name, data

    def run(self, number: int, name: str, data: bytes) -> Ended:
        """Run one case."""
        folder = self.root / "cases" / f"{number}"
        shutil.copytree(self._staged, folder)
        path = folder / name
        path.write_bytes(data)
        outside = self.root / "untouched"
        outside.mkdir(exist_ok=True)
        (outside / "file").write_text("mine")
        before = self._outside()
        action = self.kind.act(path, self._dice(number))
        with _at_home(self.root, folder), watching(self.root / "cases") as watch:
            watch.root = self.root
            code, error = _perform(action)
        if self._outside() != before:
            watch.broken.append("files outside of the case's folder changed")
        shutil.rmtree(folder, ignore_errors=True)
        return _judge(code, error, watch)

    def _outside(self) -> list[tuple[str, int]]:
        found = [p for p in self.root.rglob("*") if p.is_file()]
        inside = tuple(
            f"{self.root / name}/" for name in ("cases", "home", "tmp", "seeds", "staged")
        )
        return sorted(
            (str(p), p.stat().st_mtime_ns) for p in found if not str(p).startswith(inside)
        )

    def _dice(self, number: int) -> Random:
        return Random(f"{self.kind.name} {self._seed} {number}")


@contextmanager
def _at_home(root: Path, folder: Path) -> Iterator[None]:
    """The case's folder is the current one; caches and temporary files lie below `root`."""
    home, temporary = root / "home", root / "tmp"
    for place in (home, temporary):
        place.mkdir(exist_ok=True)
    before = Path.cwd()
    changed = {"FACEREC_HOME": str(home), "TMPDIR": str(temporary), "FACEREC_DEBUG": ""}
    with (
        mock.patch.dict(os.environ, changed),
        mock.patch.object(tempfile, "tempdir", str(temporary)),
    ):
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def _perform(action: Action) -> tuple[object, BaseException | None]:
    """Exit code, and the error that the command line could not explain."""
    from facerec.cli import app

    if callable(action):
        try:
            action()
        except FacerecError as error:
            sys.stderr.write(f"facerec: {error}\n")
            return error.exit_code, None
        except Exception as error:  # noqa: BLE001  (what this looks for)
            return "internal error", error
        return 0, None
    caught: list[BaseException] = []
    real = app._render

    def render(error: BaseException, message: str, code: int) -> int:
        if message.startswith(("internal error", "out of memory")):
            caught.append(error)
        return real(error, message, code)

    arguments = ["facerec", *map(str, action)]
    with mock.patch.object(sys, "argv", arguments), mock.patch.object(app, "_render", render):
        try:
            code: object = app.run()
        except SystemExit as error:
            code = error.code
        except BaseException as error:  # noqa: BLE001  (what this looks for)
            return "traceback", error
    return code, caught[0] if caught else None


def _judge(code: object, error: BaseException | None, watch: Watch) -> Ended:
    lines = list(dict.fromkeys(watch.err.splitlines()))
    if error is not None:
        where = traceback.extract_tb(error.__traceback__)
        ours = [f"{Path(f.filename).name}:{f.lineno}" for f in where if "/facerec/" in f.filename]
        told = f"{type(error).__name__}: {error!s:.200} at {' '.join(ours[-3:])}"
        return Ended("internal error", told, watch.err)
    for wrong, outcome in (
        (watch.broken[:1], "broke out"),
        ([f"exit code {code}"] if code not in _CODES else [], "another exit code"),
        ([line for line in lines if line.startswith("Traceback")], "traceback"),
        ([f"{watch.seconds:.1f} s"] if watch.seconds > MOST_SECONDS else [], "too slow"),
        ([f"{watch.grown:.0f} MiB"] if watch.grown > MOST_MEMORY else [], "too much memory"),
        ([line for line in lines if not line.startswith("facerec: ")], "spew"),
        ([f"{len(lines)} lines"] if len(lines) > MOST_LINES else [], "too many lines"),
        ([line[:300] for line in lines if len(line) > LONGEST_LINE], "too long a line"),
        (["nothing said"] if code in (2, 3, 4) and not lines else [], "nothing said"),
    ):
        if wrong:
            return Ended(outcome, wrong[0], watch.err)
    assert isinstance(code, int)
    return Ended(_CODES[code], "", watch.err)


def keep(kind: str, name: str, data: bytes) -> Path:
    """Save a case that failed, for `test_fuzz.py` to replay."""
    digest = hashlib.sha256(data).hexdigest()[:10]
    path = REGRESSIONS / kind / f"{digest}-{name}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def saved_regressions() -> list[tuple[str, Path]]:
    """Kind and file of each saved case."""
    return [(path.parent.name, path) for path in sorted(REGRESSIONS.glob("*/*-*"))]


def engines_once() -> Any:
    """Let equal profiles share an engine: loading one takes longer than most cases."""
    from facerec.engine.engine import Engine

    made: dict[str, Engine] = {}
    real = Engine.from_profile.__func__  # type: ignore[attr-defined]

    def from_profile(cls: type[Engine], profile: Any = "default") -> Engine:
        from facerec.profile.loading import Profile

        resolved = profile if isinstance(profile, Profile) else Profile.load(profile)
        key = resolved.model_dump_json(include={"detector", "model", "runtime"})
        if key not in made:
            made[key] = real(cls, resolved)
        return made[key]

    return mock.patch.object(Engine, "from_profile", classmethod(from_profile))
