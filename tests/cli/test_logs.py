"""`facerec logs`, and the port of `train --tensorboard`."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from tensorboard.summary.writer.record_writer import RecordWriter

from facerec.cli import board
from facerec.errors import UsageError
from facerec.evaluation.scalars import open_writer, write_scalars


def write_run(folder: Path) -> None:
    with open_writer(folder / "tensorboard") as writer:
        writer.add_scalar("train/loss", 1.0, 1)


@pytest.mark.slow
def test_logs_serves_all_runs_until_ctrl_c(tmp_path):
    for name in ("first", "second"):
        write_run(tmp_path / "runs" / name)
    process = subprocess.Popen(
        [sys.executable, "-m", "facerec", "logs"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        # Ignored where the tests run in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert "logs of 2 runs; Ctrl-C ends" in process.stderr.readline()
    address = re.search(r"http://\S+", process.stderr.readline())[0]
    for _ in range(200):
        try:
            served = urllib.request.urlopen(f"{address}data/runs", timeout=5).read().decode()
            break
        except OSError:
            assert process.poll() is None
            signal.sigtimedwait([], 0.1)
    assert "first/tensorboard" in served
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0


def test_a_taken_port_is_said_and_the_next_used(monkeypatch, capsys):
    monkeypatch.setattr(board.subprocess, "Popen", lambda command, **_: command)
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = board.start_board(["--logdir", "runs"], port)
    chosen = int(command[command.index("--port") + 1])
    assert chosen > port
    assert f"http://localhost:{chosen}/ (port {port} is in use)" in capsys.readouterr().err


@pytest.mark.parametrize("after", [0, 1])
def test_figures_that_a_full_disk_does_not_take_are_an_error_without_a_traceback(
    after, tmp_path, monkeypatch, capsys
):
    write, written = RecordWriter.write, []

    def until_full(self, data):
        written.append(data)
        if len(written) > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, data)

    monkeypatch.setattr(RecordWriter, "write", until_full)
    with pytest.raises(UsageError, match="No space left on device"):
        write_scalars(tmp_path, "lfw", {"first": {"accuracy": 99.0, "pairs": 6000}})
    assert capsys.readouterr().err == ""


def test_a_folder_without_logs_is_said(run, tmp_path):
    code, _, err = run("logs", tmp_path)
    assert code == 4
    assert f"{tmp_path}: holds no logs of a run" in err
