"""Small things that a user of the command line notices at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from facerec.files import locked
from tests.conftest import ROOT

_COUNT_UP = """
import sys
from pathlib import Path
from facerec.files import locked

counter = Path(sys.argv[1])
for _ in range(300):
    with locked(counter, waiting=lambda: None):
        counter.write_text(str(int(counter.read_text()) + 1))
"""


def test_a_lock_leaves_no_file_and_lets_one_process_in_at_a_time(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    command = [sys.executable, "-c", _COUNT_UP, str(counter)]
    processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(3)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    assert counter.read_text() == "900"
    assert list(tmp_path.iterdir()) == [counter]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps open files")
def test_a_lock_file_put_in_the_place_of_ones_own_is_left_alone(tmp_path: Path) -> None:
    lock = tmp_path / ".gallery.h5.lock"
    with locked(tmp_path / "gallery.h5"):
        lock.unlink()
        lock.touch()
    assert lock.exists()
