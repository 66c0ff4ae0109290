"""Bad input: one clear line and the documented exit code each, never a traceback."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facerec import Gallery
from facerec.cli import app
from facerec.imaging.draw import write_image
from tests.conftest import Run, make_card, make_face, noise

Make = Callable[[Path], list[object]]


def make_gallery(path: Path, size: int = 128) -> Path:
    gallery = Gallery(make_card(size))
    gallery.add("somebody", [make_face(*np.eye(size)[0])], "x.jpg", "x")
    gallery.save(path)
    return path


def make_bomb(path: Path) -> Path:
    """A PNG whose header claims 20,000 x 15,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", 20_000, 15_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b""))
    return path


def write_bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def make_loop(folder: Path) -> Path:
    (folder / "loop" / "ada").mkdir(parents=True)
    (folder / "loop" / "ada" / "again").symlink_to(folder / "loop")
    return folder / "loop"


def make_empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def make_noise(folder: Path) -> Path:
    path = folder / "ada" / "noise.png"
    write_image(path, noise(64, 64))
    return path


def truncated_gallery(folder: Path) -> Path:
    path = make_gallery(folder / "cut.h5")
    path.write_bytes(path.read_bytes()[:3000])
    return path


def blocked(folder: Path) -> Path:
    """A path that cannot be written, also by root: its parent is a file."""
    return write_bytes(folder / "file", b"") / "g.h5"


YUNET_WITHOUT_FILE = ("--set", "detector.name=yunet", "--set", "detector.weights=absent.onnx")

TABLE: dict[str, tuple[Make, int, str]] = {
    "no arguments": (lambda t: ["embed"], 2, "Missing argument"),
    "unknown command": (lambda t: ["recognise"], 2, "No such command"),
    "mistyped option": (
        lambda t: ["embed", t, "--min-qualty", "0.3"],
        2,
        "No such option: --min-qualty; did you mean --min-quality?",
    ),
    "other commands' option": (
        lambda t: ["recognize", "image", t, "--model", "m.onnx"],
        2,
        "No such option: --model; see",
    ),
    "unknown option": (lambda t: ["embed", t, "--nonsense"], 2, "No such option"),
    "bad option value": (
        lambda t: ["embed", t, "--batch", "many"],
        2,
        "Invalid value for '--batch'",
    ),
    "bad choice": (lambda t: ["embed", t, "--faces", "some"], 2, "gallery.faces"),
    "missing people": (lambda t: ["embed", t / "none", "-o", t / "g.h5"], 3, "none: no such file"),
    "empty folder": (lambda t: ["embed", make_empty(t), "-o", t / "g.h5"], 3, "no images there"),
    "directory loop": (
        lambda t: ["embed", make_loop(t), "-o", t / "g.h5"],
        3,
        "loop: no images there",
    ),
    "photo without --name": (lambda t: ["embed", make_noise(t)], 2, "give --name"),
    "unusable name": (
        lambda t: ["embed", make_noise(t), "--name", "a/b", "-o", t / "g.h5"],
        2,
        "no usable name",
    ),
    "unknown kind of url": (
        lambda t: ["embed", "nonsense://host/people", "-o", t / "g.h5"],
        2,
        "nonsense://host/people: Protocol not known",
    ),
    "missing photo": (lambda t: ["compare", t / "a.jpg", t / "b.jpg"], 3, "a.jpg: no such file"),
    "empty photo": (
        lambda t: ["compare", write_bytes(t / "a.jpg", b""), t / "b.jpg"],
        3,
        "a.jpg: is empty",
    ),
    "20-byte photo": (
        lambda t: ["compare", write_bytes(t / "a.jpg", b"\xff\xd8\xff\xe0" * 5), t / "b.jpg"],
        3,
        "a.jpg: ",
    ),
    "text photo": (
        lambda t: ["compare", write_bytes(t / "a.jpg", b"hello" * 100), t / "b.jpg"],
        3,
        "a.jpg: is not an image",
    ),
    "300-megapixel header": (
        lambda t: ["compare", make_bomb(t / "a.png"), t / "b.jpg"],
        3,
        "a.png: ",
    ),
    "no face": (lambda t: ["compare", make_noise(t), make_noise(t)], 3, "no face found"),
    "missing gallery": (
        lambda t: ["recognize", "image", t, "-g", t / "none.h5"],
        4,
        "none.h5: no such gallery",
    ),
    "truncated gallery": (
        lambda t: ["recognize", "image", t, "-g", truncated_gallery(t)],
        4,
        "cut.h5: damaged",
    ),
    "truncated gallery, enrolling": (
        lambda t: ["embed", make_noise(t), "--name", "a", "-o", truncated_gallery(t)],
        4,
        "cut.h5: damaged",
    ),
    "text as gallery": (
        lambda t: ["gallery", "list", "-g", write_bytes(t / "g.h5", b"hello")],
        4,
        "g.h5: damaged or no gallery",
    ),
    "gallery of another model": (
        lambda t: ["recognize", "image", make_noise(t), "-g", make_gallery(t / "g.h5")],
        2,
        "was built with small",
    ),
    "enrolling into another model's gallery": (
        lambda t: ["embed", make_noise(t), "--name", "a", "-o", make_gallery(t / "g.h5")],
        2,
        "was built with small",
    ),
    "unknown person": (
        lambda t: ["gallery", "remove", "nobody", "--force", "-g", make_gallery(t / "g.h5")],
        2,
        "nobody called nobody",
    ),
    "unknown profile": (lambda t: ["embed", t, "--profile", "defualt"], 2, "did you mean default"),
    "missing profile": (lambda t: ["embed", t, "--profile", t / "p.yaml"], 2, "no such profile"),
    "unknown profile key": (
        lambda t: ["embed", t, "-p", write_bytes(t / "p.yaml", b"runtime:\n  bach: 3")],
        2,
        "p.yaml:2: unknown key runtime.bach; did you mean runtime.batch?",
    ),
    "bad profile value": (
        lambda t: ["embed", t, "--set", "runtime.batch=0"],
        2,
        "--set runtime.batch=0: runtime.batch: ",
    ),
    "unknown model": (
        lambda t: ["compare", make_noise(t), t, "--set", "model.name=nothing"],
        4,
        "no model is called nothing",
    ),
    "missing device": (
        lambda t: ["compare", make_noise(t), t, "--set", "runtime.device=cuda:9"],
        4,
        "runtime.device cuda:9",
    ),
    "nonsense device": (
        lambda t: ["compare", make_noise(t), t, "--set", "runtime.device=toaster"],
        4,
        "runtime.device toaster",
    ),
    "missing detector weights": (
        lambda t: ["compare", make_noise(t), t, *YUNET_WITHOUT_FILE],
        4,
        "absent.onnx: no such file; set detector.weights to YuNet's ONNX file",
    ),
    "unwritable gallery": (
        lambda t: ["embed", make_noise(t), "--name", "a", "-o", blocked(t)],
        2,
        "g.h5: cannot be written",
    ),
    "unwritable chips": (
        lambda t: ["align", make_noise(t).parent, blocked(t)],
        2,
        "cannot be written",
    ),
    "uncalibrated rate": (
        lambda t: ["compare", make_noise(t), make_noise(t), "--far", "0.5", "--aligned"],
        2,
        "has no threshold calibrated for far 0.5",
    ),
    "impossible rate": (lambda t: ["compare", "a", "b", "--far", "7"], 2, "recognize.far"),
    "aligning into itself": (
        lambda t: ["align", make_noise(t).parent, t / "ada" / "out"],
        2,
        "lies inside",
    ),
    "chips made otherwise": (
        lambda t: ["align", make_noise(t).parent, other_chips(t)],
        2,
        "other settings",
    ),
    "window without a display": (
        lambda t: ["recognize", "image", t, "-g", make_gallery(t / "g.h5"), "--show"],
        4,
        "use --save DIR",
    ),
    "demo over something": (lambda t: ["demo", "-o", t], 2, "--force"),
}


def other_chips(folder: Path) -> Path:
    out = folder / "out"
    write_bytes_to = out / "manifest.jsonl"
    out.mkdir()
    write_bytes_to.write_text('{"settings": {"size": [1, 1]}}\n')
    return out


@pytest.mark.parametrize("case", TABLE)
def test_it_is_one_clear_line_and_the_documented_code(
    run: Run, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    make, expected, message = TABLE[case]
    code, _, err = run(*make(tmp_path))
    assert code == expected, err
    assert message in err
    assert "Traceback" not in err
    problems = [line for line in err.splitlines() if " photos enrolled" not in line]
    assert 1 <= len(problems) <= 2
    assert all(line.startswith("facerec: ") for line in problems)


def test_debug_shows_the_traceback(run: Run, tmp_path: Path) -> None:
    _, _, err = run("gallery", "list", "-g", tmp_path / "none.h5", "--debug")
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("facerec: ")


class Panic(BaseException):
    """As those of Rust's panics and of torch's checkpoints."""


@pytest.mark.parametrize("kind", [Panic, RuntimeError])
def test_an_error_of_any_kind_is_one_line(
    kind: type[BaseException], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise kind("it broke\nTraceback (most recent call last):\n  …")

    monkeypatch.setattr(app, "app", fail)
    code, _, err = run()
    told = f"facerec: internal error: {kind.__name__}: it broke; --debug shows where\n"
    assert (code, err) == (4, told)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(run: Run, tmp_path: Path) -> None:
    photo = make_noise(tmp_path)
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o500)
    code, _, err = run("embed", photo, "--name", "a", "-o", folder / "g.h5")
    assert (code, "cannot be written" in err) == (2, True)


def test_control_characters_in_names_do_not_reach_the_terminal(run: Run, tmp_path: Path) -> None:
    _, _, err = run("compare", tmp_path / "\x1b[31mred.jpg", tmp_path / "b.jpg")
    assert "\x1b" not in err
    assert "red.jpg" in err


def test_a_name_that_is_no_text_is_handled(run: Run, tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/\xff\xfe.jpg"
    Path(os.fsdecode(raw)).write_bytes(b"no image")
    code, _, err = run("compare", os.fsdecode(raw), tmp_path / "b.jpg")
    assert (code, "is not an image" in err) == (3, True)
