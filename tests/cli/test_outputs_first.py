"""An output that cannot be written, or is the input, is told before the work, in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Run, noise


@pytest.fixture(autouse=True)
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever loads a model or PyTorch's training has begun the work."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.setattr("facerec.engine.engine.Engine.from_profile", refuse)
    monkeypatch.setattr("facerec.engine.building.build_detector", refuse)


def _photo(folder: Path) -> Path:
    from facerec.imaging.draw import write_image

    write_image(folder / "people" / "ann" / "1.png", noise(8, 8))
    return folder / "people"


COMMANDS: dict[str, Callable[[Path, Path], list[object]]] = {
    "embed": lambda t, bad: ["embed", _photo(t), "-o", bad / "g.h5"],
    "embed --chips": lambda t, bad: ["embed", _photo(t), "-o", t / "g.h5", "--chips", bad],
    "detect --save": lambda t, bad: ["detect", _photo(t), "--save", bad],
    "detect --crops": lambda t, bad: ["detect", _photo(t), "--crops", bad],
    "recognize --save": lambda t, bad: ["recognize", "image", _photo(t), "--save", bad],
    "align": lambda t, bad: ["align", _photo(t), bad],
    "align --failed": lambda t, bad: ["align", _photo(t), t / "o", "--failed", bad],
    "cleanup --clean": lambda t, bad: ["cleanup", _photo(t), "--clean", bad, *_two(t)],
    "cleanup --report": lambda t, bad: ["cleanup", _photo(t), "--report", bad, *_two(t)],
    "evaluate --report": lambda t, bad: ["evaluate", "lfw", "--data", t, "--report", bad],
    "evaluate --tensorboard": lambda t, bad: ["evaluate", "lfw", "--data", t, "--tensorboard", bad],
    "evaluate --calibrate": lambda t, bad: [
        "evaluate", "lfw", "--data", t, "--calibrate", bad / "c.yaml",
    ],
    "evaluate detection --plot": lambda t, bad: [
        "evaluate", "detection", "--data", t, "--plot", bad / "p.png",
    ],
    "export": lambda t, bad: ["export", "test_tiny", "-o", bad / "m.onnx"],
    "import": lambda t, bad: ["import", _photo(t), "-o", bad / "m.safetensors"],
    "train": lambda t, bad: ["train", "--profile", "ir50_arcface", "--out", bad],
    "demo": lambda t, bad: ["demo", "--out", bad / "demo"],
    "gallery import": lambda t, bad: ["gallery", "import", t / "x.npz", "-g", bad / "g.h5"],
    "gallery copy": lambda t, bad: ["gallery", "copy", t / "a.h5", bad / "b.h5"],
    "gallery export": lambda t, bad: [
        "gallery", "export", "--to", "csv", "-g", t / "a.h5", "-o", bad / "x.csv",
    ],
}  # fmt: skip


def _two(folder: Path) -> list[object]:
    return ["--dirt", folder / "dirt", "--auto"]


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("where", ["below a file", "proc"])
def test_a_place_that_cannot_be_written(
    run: Run, tmp_path: Path, name: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    bad = tmp_path / "file" / "x" if where == "below a file" else Path("/proc/none")
    code, out, err = run(*COMMANDS[name](tmp_path, bad))
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert "cannot be written" in err
    assert {path.name for path in tmp_path.iterdir()} <= {"file", "people"}


@pytest.mark.parametrize("name", ["bad", "txt", "onnx"])
def test_thresholds_go_into_what_holds_them(run: Run, tmp_path: Path, name: str) -> None:
    target = tmp_path / f"card.{name}"
    code, _, err = run("evaluate", "lfw", "--data", tmp_path, "--calibrate", target)
    assert (code, err.count("\n"), ".yaml" in err) == (2, 1, True)


@pytest.mark.parametrize("name", ["none.h5", "none.safetensors", "damaged.yaml", "damaged.h5"])
def test_what_holds_the_thresholds_is_looked_at_first(run: Run, tmp_path: Path, name: str) -> None:
    if name.startswith("damaged"):
        (tmp_path / name).write_text("[]")
    code, _, err = run("evaluate", "lfw", "--data", tmp_path, "--calibrate", tmp_path / name)
    assert (code, err.count("\n"), name in err) == (4, 1, True)


def test_a_report_is_not_written_among_somebodys_files(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photos = _photo(tmp_path)
    for name, content in (("thesis.tex", "mine"), ("index.html", "mine"), ("manifest.jsonl", "{}")):
        theirs = tmp_path / "report" / name
        theirs.parent.mkdir(exist_ok=True)
        theirs.write_text(content)
        code, _, err = run("cleanup", photos)
        assert (code in (2, 4), err.count("\n"), "report" in err) == (True, 1, True), err
        assert theirs.read_text() == content
        assert [path.name for path in theirs.parent.iterdir()] == [name]
        theirs.unlink()


@pytest.mark.parametrize("tree", ["clean", "dirt"])
def test_trees_are_not_made_among_somebodys_files(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree: str
) -> None:
    monkeypatch.chdir(tmp_path)
    photos = _photo(tmp_path)
    (tmp_path / tree).mkdir()
    (tmp_path / tree / "mine").touch()
    code, _, err = run("cleanup", photos)
    assert (code, f"{tree}: is not empty" in err) == (2, True)
    assert {path.name for path in tmp_path.iterdir()} == {"people", tree}
