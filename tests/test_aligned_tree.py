"""The tree of chips: one file per face, whatever the photos are called."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.conftest import Run


def chips(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob("*.png")}


def test_two_faces_of_one_photo_and_a_photo_called_like_the_second(
    run: Run, picture: Path, portraits: dict[str, Path], tmp_path: Path
) -> None:
    photos, out = tmp_path / "in", tmp_path / "out"
    photos.mkdir()
    shutil.copy(picture, photos / "x.jpg")
    portrait = next(iter(portraits.values()))
    for name in ("x-2.jpg", "X-2.JPG"):
        shutil.copy(portrait, photos / name)
    assert run("align", photos, out, "--faces", "all")[0] == 0
    assert {"x.png", "X-2.png"} < chips(out)
    assert len({name.casefold() for name in chips(out)}) == 4
    made = {path: path.read_bytes() for path in out.rglob("*.png")}
    # A photo that comes later takes the name of no chip that is there.
    shutil.copy(portrait, photos / "x.png")
    assert run("align", photos, out, "--faces", "all")[0] == 0
    assert len(chips(out)) == 5
    assert all(path.read_bytes() == before for path, before in made.items())
    named = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()[1:]]
    assert {face["chip"] for record in named for face in record["faces"]} == chips(out)


def test_files_of_others_are_left_alone(run: Run, people: Path, tmp_path: Path) -> None:
    first = sorted(people.rglob("*.*"))[0].relative_to(people).with_suffix(".png")
    theirs = tmp_path / "out" / first
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"precious")
    code, _, err = run("align", people, tmp_path / "out")
    assert (code, "not of an earlier run" in err) == (2, True)
    assert theirs.read_bytes() == b"precious"


def test_a_raw_byte_in_a_name_is_kept(run: Run, portraits: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "in" / "ann\udcff"
    folder.mkdir(parents=True)
    shutil.copy(next(iter(portraits.values())), folder / "1.jpg")
    for expected in (1, 0):
        code, printed, _ = run("align", tmp_path / "in", tmp_path / "out", "--json")
        assert (code, json.loads(printed)["aligned"]) == (0, expected)
    assert chips(tmp_path / "out") == {"ann\udcff/1.png"}


def test_a_place_that_cannot_be_written_is_told_before_the_work(
    run: Run, people: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("facerec.cli.align.load_engine", None)
    (tmp_path / "file").touch()
    for arguments in ([tmp_path / "file" / "x"], [tmp_path / "out", "--failed", "/proc/none"]):
        code, _, err = run("align", people, *arguments)
        assert (code, err.count("\n"), "cannot be written" in err) == (2, 1, True)
    assert not (tmp_path / "out").exists()
