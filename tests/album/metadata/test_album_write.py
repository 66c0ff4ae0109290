"""`album write`: the names of an album into its photos, and back by `undo`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image as Pillow

from tests.album.faking import FakeEngine, scan, write_photo
from tests.album.metadata.naming import contents, name_face, undo
from tests.album.metadata.writers import areas, needs_exiftool, tags
from tests.conftest import Run

pytest.importorskip("exiv2")

from facerec.album.decisions import reject_faces
from facerec.album.faces import read_faces
from facerec.album.journal import purge_steps
from facerec.album.metadata.journal import begin_writing, files_of, write_file
from facerec.album.metadata.photo import Where, plan_regions, read_metadata, read_regions
from facerec.album.metadata.regions import Region
from facerec.album.metadata.writing import write_names
from facerec.album.people import find_name
from facerec.album.store import Album, open_album
from facerec.errors import UsageError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    write_photo(folder / "one.png", [1, 2])
    write_photo(folder / "two.png", [1], number=1)
    image = Pillow.open(write_photo(folder / "three.png", [3], number=2))
    image.save(folder / "three.jpg", quality=100, subsampling=0)
    (folder / "three.png").unlink()
    return folder


@pytest.fixture
def album(tmp_path: Path, photos: Path) -> Iterator[Album]:
    with open_album(tmp_path / "album.db", create=True) as opened:
        scan(opened, photos)
        yield opened


def ids(album: Album) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for face in read_faces(album):
        assert face.path is not None
        found.setdefault(Path(face.path).name, []).append(face.id)
    return found


@pytest.fixture
def named(album: Album) -> Album:
    faces = ids(album)
    name_face(album, faces["one.png"][0], "Anna")
    name_face(album, faces["one.png"][1], "Ben")
    name_face(album, faces["two.png"][0], "Anna")
    return album


def test_without_force_nothing_changes_and_it_is_said(named: Album, photos: Path, run: Run) -> None:
    before = contents(photos)
    code, out, err = run("album", "write", "--xmp", "sidecar", "-a", named.path, "--json")
    assert code == 0, err
    lines = [json.loads(line) for line in out.splitlines()]
    assert [(Path(line["file"]).name, line["names"], line["written"]) for line in lines] == [
        ("one.png.xmp", ["Anna", "Ben"], False), ("two.png.xmp", ["Anna"], False)]  # fmt: skip
    assert "nothing is changed yet; --force does it" in err
    assert contents(photos) == before


@needs_exiftool
def test_sidecars_are_written_and_taken_back(named: Album, photos: Path, run: Run) -> None:
    before = contents(photos)
    code, _, err = run("album", "write", "--xmp", "sidecar", "--force", "-a", named.path)
    assert code == 0, err
    # A face of 16 pixels at the left of 32.
    assert areas(photos / "one.png.xmp") == {
        "Anna": [0.2656, 0.5156, 0.5, 0.9688], "Ben": [0.7578, 0.5156, 0.4844, 0.9688]}  # fmt: skip
    assert {path: data for path, data in contents(photos).items() if path in before} == before
    assert undo(named) == []
    assert contents(photos) == before


@pytest.mark.parametrize("where", ["embedded", "sidecar"])
def test_a_name_that_is_refused_is_taken_away_again(
    where: Where, named: Album, photos: Path
) -> None:
    list(write_names(named, where))
    written = contents(photos)
    face = ids(named)["one.png"][0]
    anna = find_name(named, "Anna")
    assert anna is not None
    reject_faces(named, [face, ids(named)["three.jpg"][0]], anna)
    assert [one.error for one in write_names(named, where)] == [None] * 3
    left = read_metadata(photos / "one.png")
    assert [region.name for region in left.regions] == ["Ben"]
    assert {path for path, data in contents(photos).items() if data != written.get(path)} == {
        "one.png" if where == "embedded" else "one.png.xmp"
    }
    assert [region.name for region in read_regions(photos / "two.png")] == ["Anna"]
    assert undo(named) == []
    assert contents(photos) == written


@needs_exiftool
def test_embedded_names_leave_the_album_as_it_was(named: Album, photos: Path) -> None:
    before, faces = contents(photos), list(read_faces(named))
    times = {path: (photos / path).stat().st_mtime_ns for path in before}
    done = list(write_names(named, "embedded"))
    assert [one.error for one in done] == [None, None]
    assert tags(photos / "two.png")["XMP-dc:Subject"] == ["Anna"]
    engine = FakeEngine()
    report = scan(named, photos, engine=engine)
    assert (report.new, engine.looked) == (0, 0)
    # Also a scan that reads them anew knows them, and so it does a copy of before.
    os.utime(photos / "one.png")
    (photos / "copy.png").write_bytes(before["two.png"])
    report = scan(named, photos, engine=engine)
    assert (report.new, report.known, engine.looked) == (0, 2, 0)
    (photos / "copy.png").unlink()
    scan(named, photos)
    assert list(read_faces(named)) == faces
    assert undo(named) == []
    assert contents(photos) == before
    assert {path: (photos / path).stat().st_mtime_ns for path in before} == times
    report = scan(named, photos, engine=engine)
    assert (report.new, engine.looked, list(read_faces(named))) == (0, 0, faces)


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="Linux alone has them in Python")
def test_a_photo_keeps_its_extended_attributes_and_undo_does_too(
    named: Album, photos: Path
) -> None:
    try:
        os.setxattr(photos / "one.png", "user.xdg.tags", b"best")
    except OSError:
        pytest.skip("the file system has no extended attributes")
    list(write_names(named, "embedded"))
    assert os.getxattr(photos / "one.png", "user.xdg.tags") == b"best"
    assert undo(named) == []
    assert os.getxattr(photos / "one.png", "user.xdg.tags") == b"best"


def test_only_confirmed_faces_are_written_unless_asked(named: Album, photos: Path) -> None:
    (face,) = ids(named)["three.jpg"]
    named.execute("UPDATE faces SET person = 1 WHERE id = ?", (face,))
    assert len(list(write_names(named, "embedded"))) == 2
    assert read_regions(photos / "three.jpg") == []
    assert len(list(write_names(named, "embedded", grouped=True))) == 3
    assert [region.name for region in read_regions(photos / "three.jpg")] == ["Anna"]


def test_writing_again_writes_nothing_and_makes_no_step(named: Album, photos: Path) -> None:
    list(write_names(named, "embedded"))
    steps = list(named.rows("SELECT * FROM steps"))
    before = contents(photos)
    assert [one.changes for one in write_names(named, "embedded")] == [(), ()]
    assert list(named.rows("SELECT * FROM steps")) == steps
    assert contents(photos) == before


def test_what_was_changed_since_stays_and_is_named(named: Album, photos: Path) -> None:
    before = contents(photos)
    list(write_names(named, "sidecar"))
    (photos / "one.png.xmp").write_text("mine now")
    (problem,) = undo(named)
    assert problem.startswith(f"{photos / 'one.png.xmp'}: stays as it is: it was changed")
    after = contents(photos)
    assert after.pop("one.png.xmp") == b"mine now"
    assert after == before


@pytest.mark.parametrize("where", ["sidecar", "embedded"])
def test_files_that_are_out_of_reach_are_taken_back_once_they_are_there(
    named: Album, photos: Path, where: Where, run: Run
) -> None:
    before = contents(photos)
    list(write_names(named, where))
    photos.rename(photos.with_name("unmounted"))
    code, _, err = run("album", "undo", "-a", named.path)
    assert (code, err.count("is not there")) == (3, 2)
    assert "2 files left; once they are there, facerec album undo goes on; --force forgets" in err
    assert run("album", "undo", "-a", named.path)[0] == 3
    photos.with_name("unmounted").rename(photos)
    assert undo(named) == []
    assert contents(photos) == before
    assert list(named.rows("SELECT * FROM writings")) == []


@pytest.mark.parametrize("where", ["sidecar", "embedded"])
def test_an_unmounted_disk_leaves_its_mount_point_and_the_journal(
    named: Album, photos: Path, where: Where
) -> None:
    list(write_names(named, where))
    photos.rename(photos.with_name("unmounted"))
    photos.mkdir()
    assert len(undo(named)) == 2
    assert named.row("SELECT count(*) FROM writings") == (2,)


def test_a_photo_that_is_read_only_for_now_keeps_its_earlier_bytes_in_the_journal(
    named: Album, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(photos)
    list(write_names(named, "embedded"))
    real = os.access
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, how: "one" not in str(path) and real(path, how))
        (problem,) = undo(named)
    assert "one.png: cannot be written: it is read-only" in problem
    assert (photos / "two.png").read_bytes() == before["two.png"]
    assert undo(named) == []
    assert contents(photos) == before


@pytest.mark.parametrize("where", ["sidecar", "embedded"])
def test_photos_that_a_scan_has_followed_are_taken_back_where_they_lie(
    named: Album, photos: Path, where: Where
) -> None:
    before = contents(photos)
    list(write_names(named, where))
    moved = photos.rename(photos.with_name("moved"))
    assert scan(named, moved).new == 0
    assert undo(named) == []
    assert contents(moved) == before


def test_a_copy_that_is_out_of_reach_is_not_the_other(tmp_path: Path, named: Album) -> None:
    """Both were written; each is taken back by what the journal says of it."""
    photos = tmp_path / "photos"
    shutil.copytree(photos, tmp_path / "disk")
    scan(named, photos, tmp_path / "disk")
    before = contents(photos)
    list(write_names(named, "embedded"))
    (tmp_path / "disk").rename(tmp_path / "unmounted")
    assert len(undo(named)) == 2
    assert contents(photos) == before
    (tmp_path / "unmounted").rename(tmp_path / "disk")
    assert undo(named) == []
    assert contents(tmp_path / "disk") == before


def test_undo_forgets_by_force_what_never_comes_back(named: Album, photos: Path, run: Run) -> None:
    list(write_names(named, "embedded"))
    (photos / "one.png").unlink()
    code, _, err = run("album", "undo", "--force", "-a", named.path)
    assert (code, "undone: write embedded names into photos" in err) == (3, True)
    assert list(named.rows("SELECT * FROM writings")) == []


def test_a_read_only_photo_is_passed_over(
    named: Album, photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.access
    # Root may write everything.
    monkeypatch.setattr(os, "access", lambda path, how: "one" not in str(path) and real(path, how))
    before = (photos / "one.png").read_bytes()
    code, _, err = run("album", "write", "--xmp", "embedded", "--force", "-a", named.path)
    assert code == 3
    assert "one.png: cannot be written: it is read-only" in err
    assert (photos / "one.png").read_bytes() == before
    assert [region.name for region in read_regions(photos / "two.png")] == ["Anna"]
    assert [Path(path).name for (path,) in named.rows("SELECT path FROM writings")] == ["two.png"]


def test_photos_in_archives_are_named_and_the_rest_is_written(
    tmp_path: Path, photos: Path, run: Run
) -> None:
    write_photo(tmp_path / "inside.png", [7], number=9)
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        tar.add(tmp_path / "inside.png", "inside.png")
    with open_album(tmp_path / "second.db", create=True) as album:
        scan(album, photos, tmp_path / "photos.tar")
        faces = ids(album)
        name_face(album, faces["inside.png"][0], "Carl")
        name_face(album, faces["two.png"][0], "Anna")
    code, out, err = run(
        "album", "write", "--xmp", "sidecar", "--force", "-a", tmp_path / "second.db", "--json"
    )
    assert code == 3
    assert "photos.tar/inside.png: lies in an archive; unpack it to write names" in err
    errors = [json.loads(line).get("error") for line in out.splitlines()]
    assert sum(error is not None for error in errors) == 1
    assert [region.name for region in read_regions(photos / "two.png")] == ["Anna"]


@pytest.mark.parametrize("where", ["sidecar", "embedded"])
def test_another_picture_in_a_photos_place_gets_no_names(
    named: Album, photos: Path, where: str, run: Run
) -> None:
    write_photo(photos / "one.png", [7, 8], number=9)
    before = (photos / "one.png").read_bytes()
    code, _, err = run("album", "write", "--xmp", where, "--force", "-a", named.path)
    assert code == 3
    assert "one.png: was changed since the last scan; first: facerec album scan" in err
    assert (photos / "one.png").read_bytes() == before
    assert not (photos / "one.png.xmp").exists()
    assert [region.name for region in read_regions(photos / "two.png")] == ["Anna"]


def test_what_another_program_writes_meanwhile_stays(named: Album, photos: Path) -> None:
    (change,) = plan_regions(photos / "two.png", [Region("Anna", (0, 0, 1, 1))], "embedded")
    newer = (photos / "one.png").read_bytes()
    (photos / "two.png").write_bytes(newer)
    begun = begin_writing(named, "write embedded names into photos")
    with pytest.raises(UsageError, match="another program has just changed it"):
        write_file(named, begun, 1, change)
    assert (photos / "two.png").read_bytes() == newer
    assert files_of(named, begun) == 0


def test_a_run_that_is_undone_meanwhile_writes_no_more(named: Album, photos: Path) -> None:
    before = contents(photos)
    done = write_names(named, "embedded")
    assert next(done).error is None
    assert undo(named) == []
    assert "undone meanwhile" in str(next(done).error)
    assert contents(photos) == before


def test_a_photo_at_two_places_is_written_at_both(tmp_path: Path, photos: Path) -> None:
    shutil.copy(photos / "two.png", photos / "again.png")
    with open_album(tmp_path / "second.db", create=True) as album:
        scan(album, photos)
        name_face(album, next(face.id for face in read_faces(album) if "one" not in face.path), "A")
        list(write_names(album, "embedded"))
        written = [path for path in photos.iterdir() if read_regions(path)]
        assert len(written) in (1, 2)
        engine = FakeEngine()
        assert scan(album, photos, engine=engine).new == 0


def test_forgetting_the_journal_forgets_what_files_were(named: Album) -> None:
    list(write_names(named, "embedded"))
    purge_steps(named)
    assert list(named.rows("SELECT * FROM writings")) == []


def test_a_refused_choice_is_one_line(named: Album, run: Run) -> None:
    code, _, err = run("album", "write", "--xmp", "inside", "-a", named.path)
    assert (code, err.strip()) == (2, "facerec: --xmp inside: choose sidecar or embedded")


_KILLED = """
import itertools, os, signal, sys
album, last = sys.argv[1], int(sys.argv[2])
from facerec.album.metadata.writing import write_names
from facerec.album.store import open_album
with open_album(album) as opened:
    count = itertools.count(1)
    def seen(event, arguments):
        if event.startswith(("open", "os.")) and any("photos" in str(part) for part in arguments):
            if next(count) == last:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(seen)
    list(write_names(opened, "embedded"))
    print(next(count))
"""


@pytest.mark.slow
def test_a_run_killed_anywhere_goes_on_and_is_undone(
    tmp_path: Path, named: Album, photos: Path
) -> None:
    before = contents(photos)
    named.close()
    shutil.copy(tmp_path / "album.db", tmp_path / "clean.db")

    def write(last: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", _KILLED, str(tmp_path / "album.db"), str(last)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    last = 0
    while True:
        last += 1
        done = write(last)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        now = {path: data for path, data in contents(photos).items() if not path.startswith(".")}
        assert set(now) == set(before)
        with open_album(tmp_path / "album.db") as album:
            engine = FakeEngine()
            assert scan(album, photos, engine=engine).new == 0
            assert engine.looked == 0
            list(write_names(album, "embedded"))
            assert read_regions(photos / "one.png") and read_regions(photos / "two.png")
            while album.row("SELECT 1 FROM writings"):
                assert undo(album) == []
        now = {path: data for path, data in contents(photos).items() if not path.startswith(".")}
        assert now == before
        for left in photos.glob(".*"):
            left.unlink()
        for path in tmp_path.glob("album.db*"):
            path.unlink()
        shutil.copy(tmp_path / "clean.db", tmp_path / "album.db")
    assert last > 10
