"""What killed writers leave is removed by the next; what live ones write is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from facerec.files import temporary
from facerec.files.locking import locked
from facerec.files.temporary import name_beside, remove_leftovers
from facerec.files.writing import replacing

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="elsewhere only age tells"
)
WRITER = """
import sys
from facerec.files.writing import replacing
with replacing(sys.argv[1]) as temporary:
    print(temporary, flush=True)
    sys.stdin.read()
"""


def writer(target: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that is writing a file, and its temporary file."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdout is not None
    return process, Path(process.stdout.readline().rstrip())


@pytest.fixture(autouse=True)
def afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has written nothing yet."""
    monkeypatch.setattr(temporary, "_swept", set())


@pytest.mark.parametrize("reaped", [True, False])
def test_a_killed_writers_file_goes_with_the_next_write(tmp_path: Path, reaped: bool) -> None:
    process, left = writer(tmp_path / "g.h5")
    assert left.exists()
    process.send_signal(signal.SIGKILL)
    if reaped:
        process.wait()
    else:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    with replacing(tmp_path / "other.txt") as new:
        new.write_text("x")
    process.wait()
    assert [path.name for path in tmp_path.iterdir()] == ["other.txt"]


def test_a_live_writers_file_stays(tmp_path: Path) -> None:
    process, left = writer(tmp_path / "g.h5")
    os.utime(left, (0, 0))
    with locked(tmp_path / "g.h5"), replacing(tmp_path / "g.h5") as new:
        new.write_text("x")
    assert left.exists()
    process.communicate("")
    assert (process.returncode, left.exists()) == (0, False)


def test_another_machines_file_goes_after_a_day(tmp_path: Path) -> None:
    mine = name_beside(tmp_path / "g.h5").name
    machine = mine.split(".facerec-")[1][:8]
    new, old = (tmp_path / mine.replace(machine, other) for other in ("1b4f0e98", "00000000"))
    for path, days in ((new, 0.9), (old, 1.1)):
        path.touch()
        os.utime(path, (time.time() - days * 86400,) * 2)
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [new]


@pytest.mark.parametrize(
    "name",
    [".hidden.jpg", ".x.facerec-1.jpg", ".g.h5.lock", "a.partial-1b4f0e98.mp4", ".x.1b4f0e98"],
)
def test_what_is_not_named_so_stays(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    os.utime(tmp_path / name, (0, 0))
    remove_leftovers(tmp_path)
    assert (tmp_path / name).exists()


def test_a_folder_that_was_being_unpacked_goes_too(tmp_path: Path) -> None:
    process, left = writer(tmp_path / "g.h5")
    process.kill()
    process.wait()
    left.unlink()
    (left / "a").mkdir(parents=True)
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["n" * 250, "ü" * 127, f"{'n' * 215}.{'s' * 31}"])
def test_any_name_has_room(tmp_path: Path, name: str) -> None:
    with replacing(tmp_path / name) as new:
        new.write_text("x")
    assert (tmp_path / name).read_text() == "x"
