"""`facerec album web` as a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("starlette")

from tests.album.made import Group, make_album


@contextmanager
def started(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, and the URL that it printed."""
    command = [sys.executable, "-m", "facerec", "album", "web", *map(str, arguments)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        line = process.stderr.readline()
        assert "http://" in line, line + process.stderr.read()
        yield process, next(word for word in line.split() if word.startswith("http://"))
    finally:
        process.kill()
        process.communicate()


def test_it_is_served_on_this_machine_until_ctrl_c(tmp_path: Path):
    path = make_album(tmp_path / "album.db", [Group(3, "Anna")])
    with started("-a", path) as (process, url):
        assert url.startswith("http://127.0.0.1:")
        # Whose connection is open does not keep it.
        with urllib.request.urlopen(f"{url}api/state", timeout=10) as answer:
            assert json.load(answer)["people"] == 1
            process.send_signal(signal.SIGINT)
            begun = time.monotonic()
            out, err = process.communicate(timeout=20)
        assert time.monotonic() - begun < 10
        assert (process.returncode, out, err) == (0, "", "")
    assert [one.name for one in tmp_path.iterdir()] == ["album.db"]


def test_elsewhere_the_printed_url_has_a_token(tmp_path: Path):
    path = make_album(tmp_path / "album.db", [Group(3, "Anna")])
    with started("-a", path, "--host", "0.0.0.0") as (_, url):
        base, _, token = url.partition("?token=")
        assert len(token) >= 20
        place = f"http://127.0.0.1:{base.rstrip('/').rpartition(':')[2]}/"
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{place}api/state", timeout=10)
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        assert b"<title>facerec album" in opener.open(f"{place}?token={token}", timeout=10).read()
        assert json.load(opener.open(f"{place}api/state", timeout=10))["people"] == 1


def test_without_its_packages_one_line_says_what_to_install(run, tmp_path, monkeypatch):
    path = make_album(tmp_path / "album.db", [Group(3, "Anna")])
    for module in [one for one in sys.modules if one.startswith(("uvicorn", "facerec.album.web"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, out, err = run("album", "web", "-a", path)
    assert (code, out) == (4, "")
    assert err == "facerec: uvicorn is not installed; pip install 'facerec[web]'\n"


def test_a_missing_album_and_a_taken_port_are_told_before(run, tmp_path):
    code, _, err = run("album", "web", "-a", tmp_path / "none.db")
    assert code == 4
    assert "no such album" in err
    path = make_album(tmp_path / "album.db", [Group(3, "Anna")])
    code, _, err = run("album", "web", "-a", path, "--host", "192.0.2.1")
    assert code == 2
    assert err.startswith("facerec: --host 192.0.2.1 --port 0: ")
