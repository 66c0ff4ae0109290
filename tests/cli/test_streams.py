"""Standard streams that are closed or full, a current folder that is gone: one line or none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a shell's and /dev/full's")
NAMES = "profile show default"


def shell(line: str, folder: Path) -> tuple[int, str, str]:
    command = line.replace("PYTHON", sys.executable)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_a_closed_stream_hinders_nothing(tmp_path: Path, closed: str) -> None:
    code, out, err = shell(f"PYTHON -m facerec {NAMES} {closed}", tmp_path)
    assert (code, err) == (0, "")
    assert bool(out) is ("1>&-" not in closed)


def test_closed_streams_numbers_are_taken_by_no_file(tmp_path: Path) -> None:
    code = "from facerec.cli import streams; streams.occupy_closed_streams(); import os"
    script = f"PYTHON -c '{code}; os._exit(os.open(\"x\", os.O_CREAT))' 0<&- 1>&- 2>&-"
    assert shell(script, tmp_path)[0] > 2


def test_a_full_disk_behind_stdout_is_one_line(tmp_path: Path) -> None:
    code, _, err = shell(f"PYTHON -m facerec {NAMES} > /dev/full", tmp_path)
    assert (code, err) == (
        2, "facerec: standard output cannot be written: No space left on device\n",
    )  # fmt: skip


def test_a_current_folder_that_is_gone_is_one_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    code, _, err = run("detect", "/x.jpg")
    monkeypatch.chdir(tmp_path)
    assert (code, err.count("\n"), "the current folder is gone" in err) == (2, 1, True)
