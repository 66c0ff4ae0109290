"""`kill -9` at any file operation of any writer leaves the old output or the new one, whole."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facerec.aligned_tree import _write_manifest as write_chips_manifest
from facerec.cleanup.findings import write_findings
from facerec.cleanup.trees import Manifest
from facerec.evaluation.report.page import Page, write_page
from facerec.gallery import Gallery
from facerec.gallery.exchange import export_gallery
from facerec.imaging.draw import write_image
from facerec.profile.loading import Profile
from facerec.training.run_folder import Plan, describe
from facerec.weights.cards import write_card
from facerec.weights.store import write_model
from tests.conftest import make_batch, make_card, noise

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")


def _gallery(seed: int) -> Gallery:
    made = Gallery(make_card())
    vectors = np.random.default_rng(seed).normal(size=(3, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    made.append(make_batch(vectors, ["Ann", "Bob", "Ann"]))
    return made


def _page(folder: Path, number: int) -> None:
    page = Page(str(number), "", [], {}, {}, {}, {})
    write_page(folder, page, force=True)


# By what is written: the file, and how; the number tells the old output from the new one.
WRITERS: dict[str, tuple[str, Callable[[Path, int], object]]] = {
    "image": ("x.jpg", lambda path, n: write_image(path, noise(64, 64, n))),
    "report": ("index.html", lambda path, n: _page(path.parent, n)),
    "card": ("card.yaml", lambda path, n: write_card(path, make_card(name=f"m{n}"))),
    "model": (
        "m.safetensors",
        lambda path, n: write_model(path, {"w": np.full(9, n, np.float32)}, make_card()),
    ),
    "gallery": ("g.h5", lambda path, n: _gallery(n).save(path)),
    "csv": ("g.csv", lambda path, n: export_gallery(_gallery(n), path, "csv")),
    "npz": ("g.npz", lambda path, n: export_gallery(_gallery(n), path, "npz")),
    "protobuf": ("g.pb", lambda path, n: export_gallery(_gallery(n), path, "protobuf")),
    "manifest": (
        "manifest.jsonl",
        lambda path, n: Manifest(f"/c{n}", "/d", "copy", [], []).write(path),
    ),
    "findings": ("findings.jsonl", lambda path, n: write_findings(path.parent, [])),
    "chips": ("manifest.jsonl", lambda path, n: write_chips_manifest(path, f"{n}\n")),
    "run": (
        "profile.yaml",
        lambda path, n: describe(Plan(path.parent, "run", _profile(n)), ["Ann"]),
    ),
}


def _profile(number: int) -> Profile:
    profile = Profile.load()
    return profile.model_copy(update={"description": str(number)})


def killed(folder: Path, last: int, write: Callable[[], object]) -> bool:
    """Whether a process was killed before its nth operation on files below a folder."""
    child = os.fork()
    if child == 0:
        count = 0

        def seen(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal count
            if event.startswith(("open", "os.")) and any(str(folder) in str(a) for a in arguments):
                count += 1
                if count == last:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(seen)
        try:
            write()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("replaced", [True, False])
def test_a_killed_writer_leaves_the_old_file_or_the_new_one(
    tmp_path: Path, kind: str, replaced: bool
) -> None:
    name, write = WRITERS[kind]
    write(tmp_path / "new" / name, 2)
    new = (tmp_path / "new" / name).read_bytes()
    beside = {path.name for path in (tmp_path / "new").iterdir()}
    target = tmp_path / "out" / name
    target.parent.mkdir()
    old = None
    if replaced:
        write(target, 1)
        old = target.read_bytes()
        target.chmod(0o600)
    kills = 0
    while killed(target.parent, kills + 1, lambda: write(target, 2)):
        kills += 1
        assert kills < 100
        left = target.read_bytes() if target.exists() else None
        assert left in (old, new)
        if replaced:
            assert target.stat().st_mode & 0o777 == 0o600
        # What else is there is hidden, or was whole at its own rename.
        others = {path.name for path in target.parent.iterdir()} - {name}
        assert all(other.startswith(".") or other in beside for other in others)
    # The last one was not killed, and removed what the others left.
    assert {path.name for path in target.parent.iterdir()} <= {name} | beside
    assert kills >= 3
    assert target.read_bytes() == new
