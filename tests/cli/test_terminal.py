"""What a person sees and does at a real terminal."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from facerec import Gallery
from facerec.cli.console import progress
from facerec.imaging.decode import read_image
from facerec.imaging.draw import write_image
from tests.conftest import ROOT

FACEREC = [sys.executable, "-m", "facerec"]


def at_terminal(
    *arguments: object, columns: int = 100, term: str = "xterm-256color"
) -> tuple[int, str]:
    """Run the command line with stdout and stderr on a terminal; exit code and what is seen."""
    code, seen, _ = with_stderr_at_terminal(*arguments, columns=columns, stdout=None, term=term)
    return code, seen


def with_stderr_at_terminal(
    *arguments: object, columns: int = 100, stdout: int | None = subprocess.PIPE,
    term: str = "xterm-256color",
) -> tuple[int, str, str]:  # fmt: skip
    """Exit code, what is seen on the terminal, and what came out of stdout.

    Args:
        stdout: None: the terminal.
    """
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": term}
    process = subprocess.Popen(
        [*FACEREC, *map(str, arguments)],
        stdout=follower if stdout is None else stdout,
        stderr=follower,
        env=environment,
        cwd=ROOT,
        text=True,
    )
    os.close(follower)
    seen = b""
    while process.poll() is None or select.select([leader], [], [], 0)[0]:
        if not select.select([leader], [], [], 0.1)[0]:
            continue
        try:
            seen += os.read(leader, 65536)
        except OSError:  # the terminal's other end is closed
            break
    os.close(leader)
    out = process.communicate()[0] or ""
    return process.returncode, seen.decode(), out


def test_a_terminal_gets_a_moving_bar_and_a_table(people: Path, tmp_path: Path) -> None:
    code, seen = at_terminal("embed", people, "-o", tmp_path / "g.h5")
    assert code == 0, seen
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
    assert re.search(r"enrolling .*0/2", plain)
    assert re.search(r"│ grace_hopper +│ 1 +│", plain)
    assert "{" not in plain


def test_a_terminal_that_cannot_draw_gets_the_table_alone(people: Path, tmp_path: Path) -> None:
    code, seen = at_terminal("embed", people, "-o", tmp_path / "g.h5", term="dumb")
    assert code == 0, seen
    assert "\x1b" not in seen and "│ grace_hopper" in seen
    assert all(line.strip() for line in seen.splitlines())


def test_steps_within_a_step_have_a_bar_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    with progress("comparing", 8) as outer:
        outer(3)
        with progress("looking", 2) as inner:
            inner()
            with progress("reading", 1):
                shown = terminal.getvalue()
    for what, steps in (("comparing", "3/8"), ("looking", "1/2"), ("reading", "0/1")):
        assert re.search(f"{what} .*{steps}", shown)


def test_a_guide_is_formatted() -> None:
    code, seen = at_terminal("docs", "troubleshooting")
    assert code == 0, seen
    assert "\x1b[1m" in seen
    assert "| message |" not in seen
    assert "no face found" in seen


def test_training_shows_loss_accuracy_rate_speed_and_waiting(tmp_path: Path) -> None:
    settings = (
        "data.synthetic=true", "data.synthetic_people=12", "train.backbone=test_ir",
        "train.input=32", "train.batch=8", "train.max_steps=12", "train.lr=0.01",
    )  # fmt: skip
    options = [part for setting in settings for part in ("--set", setting)]
    code, seen = at_terminal("train", "--out", tmp_path / "run", *options)
    assert code == 0, seen
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
    assert re.search(r"\d+/12", plain)
    flat = re.sub(r"\s+", " ", plain)
    assert re.search(r"loss \d+\.\d+, accuracy [\d.]+ %, lr [\d.]+, \d+ img/s, waiting \d+ %", flat)
    assert re.search(r"│ 12 +│ 12 +│ 240 +│", plain)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_interrupting_saves_what_is_done_and_says_one_line(
    portraits: dict[str, Path], tmp_path: Path
) -> None:
    photo = read_image(portraits["grace_hopper"], 10**7)
    for number in range(300):
        write_image(tmp_path / "grace" / f"{number:03}.jpg", photo[number % 40 :, number // 40 :])
    path = tmp_path / "g.h5"
    process = subprocess.Popen(
        [*FACEREC, "embed", str(tmp_path / "grace"), "-o", str(path), "--batch", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts the tests in the background has them ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while not (path.exists() and len(Gallery.open(path))) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "facerec: interrupted\n")
    assert 0 < len(Gallery.open(path)) < 300
