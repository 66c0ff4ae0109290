"""What a user of the command line notices at once."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from facerec import Gallery
from facerec.cli.console import Results, shorten
from facerec.cli.recognize import table_rows
from facerec.cli.thresholds import remark_on_threshold
from facerec.files.locking import locked
from facerec.gallery.match import decision_threshold
from facerec.profile.loading import known_keys
from facerec.profile.schema import RecognizeSection
from facerec.weights.store import load_card
from tests.cli.test_terminal import FACEREC, with_stderr_at_terminal
from tests.conftest import ROOT, Run, make_card, make_face

_COUNT_UP = """
import sys
from pathlib import Path
from facerec.files.locking import locked

counter = Path(sys.argv[1])
for _ in range(300):
    with locked(counter, waiting=lambda: None):
        counter.write_text(str(int(counter.read_text()) + 1))
"""


def test_json_goes_down_the_pipe_while_a_bar_is_on_the_terminal(people: Path) -> None:
    code, seen, out = with_stderr_at_terminal("detect", people)
    records = [json.loads(line) for line in out.splitlines()]
    assert (code, len(records), '"image"' in seen) == (0, 2, False)
    assert "loading models" in seen
    assert "0/2" in seen


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
@pytest.mark.parametrize(
    "arguments", [("profile", "show"), ("profile", "show", "--table"), ("--help",)]
)
def test_a_closed_pipe_is_not_the_answer_no(arguments: tuple[str, ...]) -> None:
    process = subprocess.Popen(
        [*FACEREC, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == b""


@pytest.mark.parametrize(
    "command",
    [("detect",), ("embed",), ("album", "scan"), ("recognize", "image", "-g", "GALLERY")],
)
def test_an_empty_list_is_told_and_is_no_error(
    command: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gallery = Gallery(load_card("dlib_resnet"))
    gallery.add("ann", [make_face(*np.eye(128)[0])], "a.jpg")
    gallery.save(tmp_path / "ann.h5")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    arguments = [str(tmp_path / "ann.h5") if one == "GALLERY" else one for one in command]
    assert run(*arguments, "-") == (0, "", "")
    assert caplog.messages == ["stdin: the list is empty"]
    assert [path.name for path in tmp_path.iterdir()] == ["ann.h5"]


def test_a_tree_is_no_list(run: Run, tmp_path: Path) -> None:
    code, _, err = run("align", "-", tmp_path / "out")
    assert (code, "a folder, an archive or a URL is taken here, not a list" in err) == (2, True)


_LONG = "people/of/a/very/long/path/to/photos/grace_hopper.jpg"


def test_a_narrow_table_drops_columns_then_shortens_paths(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    results = Results("picture", "name", "box", "distance", as_json=False, least=("box",))
    results.add({}, (_LONG, "grace_hopper", "979 87 1161 316", "0.1371 > 0.0850"))
    results.close()
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 60
    assert "979" not in out
    assert "people/…" in out and "hopper.jpg" in out
    assert "without box" in out


def test_a_table_without_room_shows_its_rows_below_each_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    results = Results("picture", "name", "similarity", "box", as_json=False)
    results.add({}, (_LONG, "grace_hopper", "0.8629", "979 87 1161 316"))
    results.close()
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 40
    assert [line.split()[0] for line in lines if line[0] != " "] == [
        "picture", "name", "similarity", "box",
    ]  # fmt: skip
    assert "".join(line[12:].strip() for line in lines).startswith(_LONG)


@pytest.mark.parametrize("columns", [80, 100])
def test_a_profiles_keys_are_shown_whole(
    columns: int, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    _, out, _ = run("profile", "show", "--table")
    assert max(map(len, out.splitlines())) <= columns
    assert set(known_keys()) <= set(out.split())


@pytest.mark.parametrize("width", [1, 7, 20, 53, 100])
def test_a_shortened_path_keeps_both_ends(width: int) -> None:
    short = shorten(_LONG, width)
    assert len(short) == min(width, len(_LONG))
    front, _, back = short.partition("…")
    assert _LONG.startswith(front) and _LONG.endswith(back)


def test_saved_images_are_counted_and_their_folder_named(
    run: Run, picture: Path, tmp_path: Path
) -> None:
    drawn, crops = tmp_path / "drawn", tmp_path / "crops"
    code, _, err = run("detect", picture, "--save", drawn, "--crops", crops)
    assert (code, err.splitlines()) == (
        0, [f"facerec: saved 1 image in {drawn}/", f"facerec: saved 2 faces in {crops}/"],
    )  # fmt: skip


def test_a_strangers_row_shows_the_threshold_that_was_missed() -> None:
    faces = [
        {"name": name, "similarity": 0.8, "distance": 0.2, "probability": None, "box": [0, 0, 9, 9]}
        for name in (None, "Ann")
    ]
    rows = table_rows({"image": "a.jpg", "faces": faces}, "unknown", 0.085)
    assert [row[3] for row in rows] == ["0.2000 > 0.0850", "0.2000"]


@pytest.mark.parametrize(("threshold", "remarked"), [(0.3, False), (0.4, False), (0.6, True)])
def test_a_threshold_looser_than_any_calibrated_is_remarked_on(
    threshold: float, remarked: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    remark_on_threshold(make_card(), RecognizeSection(threshold=threshold), threshold)
    err = capsys.readouterr().err
    assert err.count("\n") == remarked
    assert ("0.4000 accepts 0.1 % of strangers" in err) == remarked


@pytest.mark.parametrize(("rate", "remarked"), [(1e-3, False), (1e-12, True)])
def test_a_share_of_false_names_that_no_threshold_keeps_to_is_remarked_on(
    rate: float, remarked: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    section, card = RecognizeSection(max_false_names=rate), load_card("dlib_resnet")
    remark_on_threshold(card, section, decision_threshold(card, section)[1])
    assert ("nobody is named but by a photo" in capsys.readouterr().err) == remarked


@pytest.fixture
def trio(tmp_path: Path) -> Path:
    """A gallery of three people with one face each."""
    gallery = Gallery(make_card())
    for number, name in enumerate(("a", "b", "c")):
        gallery.add(name, [make_face(*(float(place == number) for place in range(4)))], f"{name}/1")
    gallery.save(tmp_path / "trio.h5")
    return tmp_path / "trio.h5"


@pytest.mark.parametrize("into", ["a", "b", "new"])
def test_people_merge_into_one_of_them_or_a_new_name(run: Run, trio: Path, into: str) -> None:
    assert run("gallery", "merge", "a", "b", "--into", into, "-g", trio)[0] == 0
    assert Gallery.open(trio).counts() == {into: 2, "c": 1}


def test_merging_an_unknown_person_changes_nothing(run: Run, trio: Path) -> None:
    code, _, err = run("gallery", "merge", "a", "x", "--into", "new", "-g", trio)
    assert (code, "nobody called x" in err) == (2, True)
    assert Gallery.open(trio).counts() == {"a": 1, "b": 1, "c": 1}


def test_removing_an_unknown_person_is_refused_before_it_is_asked_about(
    run: Run, trio: Path
) -> None:
    code, _, err = run("gallery", "remove", "x", "-g", trio)
    assert (code, err.count("\n"), "nobody called x" in err) == (2, 1, True)


def test_model_list_says_what_must_be_downloaded(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEREC_HOME", str(tmp_path))
    code, out, _ = run("model", "list", "--table")
    cells = {row[1].strip(): row[-2].strip() for row in map(_cells, out.splitlines()) if row}
    assert code == 0
    assert cells["dlib_resnet_views"] == "in pip packages"
    assert cells["w600k_r50"] == "to download, 174 MB"
    assert cells["iresnet50"] == "to be trained"


def _cells(line: str) -> list[str]:
    return line.split("│") if "│" in line else []


def test_a_cleanup_says_that_hard_links_share_their_originals_content(
    run: Run, people: Path, tmp_path: Path
) -> None:
    places = [
        part for name in ("clean", "dirt", "report") for part in (f"--{name}", tmp_path / name)
    ]
    told = "hold hardlinks: an edit of an image there changes the original"
    assert told in run("cleanup", people, *places)[2]


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
