"""`facerec album scan` as a process among others, on disks and folders of every sort."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from facerec.album.faces import read_faces
from facerec.album.photos import read_photos
from facerec.album.store import Album, open_album
from facerec.files.locking import locked
from tests.album.faking import FakeEngine, scan, write_photo
from tests.conftest import Run


def test_an_empty_folder_makes_no_album(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place, told in (("empty", "no photos there"), ("none", "no such file")):
        code, out, err = run("album", "scan", tmp_path / place, "-a", tmp_path / "a.db")
        assert (code, out, told in err, err.count("\n")) == (3, "", True, 1)
    assert not (tmp_path / "a.db").exists()


def test_a_second_scan_at_once_is_refused(run: Run, people: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with locked(path):
        code, _, err = run("album", "scan", people, "-a", path)
    assert (code, "another facerec is writing it" in err) == (2, True)


def test_several_processes_cannot_share_a_list_on_stdin(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")
    code, _, err = run("album", "scan", "-")
    assert (code, "cannot share standard input" in err) == (2, True)


def test_moved_photos_are_found_without_a_model(
    album: Album, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        write_photo(tmp_path / "photos" / f"{number}.png", [number + 1], number)
    scan(album, tmp_path / "photos")
    (tmp_path / "photos" / "2019").mkdir()
    (tmp_path / "photos" / "0.png").rename(tmp_path / "photos" / "2019" / "first.png")
    shutil.copy(tmp_path / "photos" / "1.png", tmp_path / "photos" / "copy.png")
    monkeypatch.setattr("facerec.cli.album.scan.load_engine", None)
    code, out, err = run("album", "scan", tmp_path / "photos", "-a", album.path)
    assert code == 0, err
    report = json.loads(out)
    counts = {name: report[name] for name in ("photos", "new", "known", "moved", "gone")}
    assert counts == {"photos": 4, "new": 0, "known": 4, "moved": 1, "gone": 0}
    assert [len(photo.paths) for photo in read_photos(album)] == [1, 2, 1]


@pytest.mark.slow
def test_two_processes_share_the_photos(people: Path, tmp_path: Path) -> None:
    shutil.copy(next(people.glob("*/*")), people / "copy.png")
    settings = {
        "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29655", "LOCAL_RANK": "0",
    }  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "facerec", "album", "scan", people, "-a", tmp_path / "a.db"],
            env={**os.environ, **settings, "RANK": str(rank)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    (out, err), (silence, _) = (process.communicate(timeout=120) for process in processes)
    assert [process.returncode for process in processes] == [0, 0], err
    report = json.loads(out)
    assert (report["photos"], report["new"], report["faces"], silence) == (3, 2, 2, "")
    with open_album(tmp_path / "a.db", write=False) as album:
        assert sorted(len(photo.paths) for photo in read_photos(album)) == [1, 2]
        assert len(list(read_faces(album))) == 2


def test_an_album_that_cannot_be_written_is_named_before_the_work(
    run: Run, people: Path, tmp_path: Path
) -> None:
    for place in ("/proc/a.db", people / "grace_hopper" / "grace_hopper.jpg" / "a.db"):
        code, out, err = run("album", "scan", people, "-a", place)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert str(place) in err
    code, _, err = run("album", "scan", people, "-a", tmp_path)
    assert (code, "is a folder" in err) == (4, True)


def test_photos_with_many_faces_and_none_and_names_of_all_sorts(
    album: Album, tmp_path: Path
) -> None:
    folder = tmp_path / "Ferien 東京 🏖"
    write_photo(folder / "zehn.png", list(range(1, 11)))
    write_photo(folder / "keiner.png", [])
    write_photo(folder / 'a"b\n?*.png', [1], 1)
    report = scan(album, folder)
    assert (report.new, report.faces, report.no_face) == (3, 11, 1)
    assert {Path(face.path or "").parent for face in read_faces(album)} == {folder}
    engine = FakeEngine()
    assert scan(album, folder, engine=engine).photos == engine.looked == 0
