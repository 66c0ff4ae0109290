"""CI's share of the fuzzing, and every input that once broke something."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.cases import RIGHT, Fuzzer, engines_once, saved_regressions
from tests.fuzz.kinds import KINDS

CASES = 200
_SLOW = ("models", "videos", "archives", "indexes")
"""Kinds whose files take seconds to make, or hold bombs that take seconds to refuse."""


@pytest.fixture(scope="module", autouse=True)
def _one_engine() -> Iterator[None]:
    with engines_once():
        yield


def _kinds() -> list[object]:
    return [pytest.param(n, marks=pytest.mark.slow) if n in _SLOW else n for n in KINDS]


@pytest.mark.parametrize("name", _kinds())
def test_no_file_breaks_anything(name: str, tmp_path: Path) -> None:
    fuzzer = Fuzzer(KINDS[name], tmp_path, seed=1)
    first = fuzzer.hostile
    wrong = {}
    for number in range(first, first + CASES // len(KINDS)):
        case, data = fuzzer.case(number)
        ended = fuzzer.run(number, case, data)
        if ended.outcome not in RIGHT:
            wrong[number, case] = ended
    assert not wrong


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_no_hostile_file_breaks_anything(name: str, tmp_path: Path) -> None:
    fuzzer = Fuzzer(KINDS[name], tmp_path, seed=1)
    ended = {}
    for number in range(fuzzer.hostile):
        case, data = fuzzer.case(number)
        ended[case] = fuzzer.run(number, case, data)
    assert {case: end for case, end in ended.items() if end.outcome not in RIGHT} == {}


@pytest.mark.parametrize(
    ("name", "file"), saved_regressions(), ids=lambda value: getattr(value, "name", value)
)
def test_what_once_broke_something_does_so_no_more(name: str, file: Path, tmp_path: Path) -> None:
    fuzzer = Fuzzer(KINDS[name], tmp_path, seed=1)
    case = file.name.partition("-")[2]
    for number in range(10):
        ended = fuzzer.run(number, case, file.read_bytes())
        assert ended.outcome in RIGHT, ended
