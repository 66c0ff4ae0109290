"""Ctrl-C at any moment: at most one line, and the exit code of an interrupted process."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from facerec.cli import app, interrupts

ROOT = Path(__file__).parents[2]

_INTERRUPTED_ON = """
import sys, _signal
{before}
count = 0
def seen(event, arguments):
    global count
    if event == "import" and {when}:
        count += 1
        if count == {nth}:
            _signal.raise_signal(_signal.SIGINT)
sys.addaudithook(seen)
sys.argv = ["facerec", "detect", "nowhere.jpg"]
from facerec.cli.app import main
main()
"""


def interrupted(when: str, nth: int = 1, before: str = "") -> subprocess.CompletedProcess[str]:
    code = _INTERRUPTED_ON.format(when=when, nth=nth, before=before)
    return with_ctrl_c("-c", code)


def with_ctrl_c(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python where Ctrl-C counts: a shell's background job, as the tests may be, ignores it."""
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60,
        preexec_fn=_listen,
    )  # fmt: skip


def _listen() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("module", ["atexit", "typer", "facerec.cli.help", "facerec.cli.loading"])
def test_ctrl_c_while_something_is_imported_is_one_line(module: str) -> None:
    done = interrupted(f"arguments[0] == {module!r}")
    assert (done.returncode, done.stderr) == (130, "facerec: interrupted\n")


def test_little_is_imported_before_ctrl_c_is_dealt_with() -> None:
    code = "import os, sys; old = {*sys.modules}; import facerec.cli.interrupts as i; "
    code += "print(*{*sys.modules} - old)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    modules = {name for name in done.stdout.split() if not name.startswith("facerec")}
    assert modules <= {"__future__", "openvino_telemetry"}, done.stderr


def test_ctrl_c_is_ignored_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        interrupts.end_at_once()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        interrupts.raise_again()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_importing_the_command_line_leaves_ctrl_c_as_it_is() -> None:
    code = (
        "import signal, facerec.cli.app; print(signal.getsignal(2) is signal.default_int_handler)"
    )
    assert with_ctrl_c("-c", code).stdout == "True\n"


def test_what_a_library_makes_of_ctrl_c_is_an_interruption(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ImportError("numpy._core failed to import") from error

    monkeypatch.setattr(app, "app", fail)
    monkeypatch.setattr(sys, "argv", ["facerec"])
    assert app.run() == 130
    assert "interrupted" in capsys.readouterr().err


def test_ctrl_c_in_code_from_a_string_keeps_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text(
        "import sys\nfrom facerec.cli import app\n"
        "def interrupted(**_): exec('raise KeyboardInterrupt')\n"
        "app.app = interrupted\nsys.argv = ['facerec']\napp.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "interrupted"], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}, preexec_fn=_listen,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (130, "facerec: interrupted\n")


ABORTS = """
import _signal, os
try:
    import within  # as pybind11's initialisation calls Python
except BaseException:
    os.abort()
"""


def in_import_of_compiled(tmp_path: Path, within: str) -> subprocess.CompletedProcess[str]:
    """Ctrl-C within the import of a package that answers exceptions with abort()."""
    (tmp_path / "compiled.py").write_text(ABORTS)
    (tmp_path / "within.py").write_text(within)
    (tmp_path / "start.py").write_text(
        "import sys\nfrom facerec.cli import app\n"
        "def command(**_):\n"
        "    import compiled\n"
        "    try: compiled._signal.raise_signal(compiled._signal.SIGINT)\n"
        "    finally: print('unwound')\n"
        "app.app = command\nsys.argv = ['facerec']\napp.main()\n"
    )
    return subprocess.run(
        [sys.executable, "-m", "start"], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}, preexec_fn=_listen,
    )  # fmt: skip


def test_ctrl_c_within_a_compiled_package_s_import_does_not_abort(tmp_path: Path) -> None:
    done = in_import_of_compiled(tmp_path, "import _signal\n_signal.raise_signal(_signal.SIGINT)\n")
    assert (done.returncode, done.stderr) == (130, "facerec: interrupted\n")


def test_ctrl_c_after_an_import_is_an_exception_as_before(tmp_path: Path) -> None:
    """So that commands unwind: temporary files are removed, worker processes ended."""
    done = in_import_of_compiled(tmp_path, "")
    assert (done.returncode, done.stderr) == (130, "facerec: interrupted\n")
    assert done.stdout == "unwound\n"


def test_ctrl_c_within_an_import_leaves_the_terminal_as_it_was() -> None:
    """The spinner's line is cleared, and the cursor shown."""
    leader, follower = pty.openpty()
    code = "from facerec.cli.interrupts import end_at_once; end_at_once()\n"
    code += "import _signal; _signal.raise_signal(_signal.SIGINT)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stderr=follower, preexec_fn=_listen
    ) as done:
        os.close(follower)
        assert done.wait(60) == 130
    assert os.read(leader, 1000) == b"\r\x1b[2K\x1b[?25hfacerec: interrupted\r\n"
    os.close(leader)


@pytest.mark.slow
@pytest.mark.parametrize("milliseconds", range(150, 3000, 150))
def test_ctrl_c_at_some_moment(milliseconds: int) -> None:
    command = [sys.executable, "-m", "facerec", "detect", "-"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdin=subprocess.PIPE, text=True, preexec_fn=_listen
    )
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(milliseconds / 1000)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "facerec: interrupted\n")
