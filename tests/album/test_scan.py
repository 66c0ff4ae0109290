"""Scanning: every content once, wherever it lies."""

from __future__ import annotations

import os
import shutil
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from facerec.album import scan as scanning
from facerec.album.export import album_card
from facerec.album.faces import read_chip, read_columns, read_faces
from facerec.album.photos import read_photos
from facerec.album.store import Album, open_album
from facerec.card import Calibration
from facerec.errors import IncompatibleError
from facerec.faces import Face, Frame
from tests.album.faking import FakeEngine, scan, vector_of, write_photo
from tests.conftest import Run, make_card


@pytest.fixture
def album(tmp_path: Path) -> Iterator[Album]:
    with open_album(tmp_path / "album.db", create=True) as opened:
        yield opened


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    write_photo(folder / "a" / "1.png", [1, 2])
    write_photo(folder / "a" / "2.png", [])
    write_photo(folder / "3.png", [3], number=7)
    return folder


def paths(album: Album) -> list[str]:
    return [Path(face.path).name for face in read_faces(album) if face.path]


def test_all_faces_are_stored_with_vector_and_chip(album: Album, photos: Path) -> None:
    report = scan(album, photos)
    assert (report.new, report.faces, report.no_face, report.failed) == (3, 3, 1, {})
    faces = list(read_faces(album))
    assert [face.path for face in faces] == [str(photos / "3.png")] + 2 * [str(photos / "a/1.png")]
    assert [face.box for face in faces] == [(0, 0, 16, 16), (0, 0, 16, 16), (16, 0, 32, 16)]
    columns = read_columns(album)
    assert columns.vectors.tolist() == [vector_of(person).tolist() for person in (3, 1, 2)]
    assert columns.ids.tolist() == [1, 2, 3]
    assert columns.photos[1] == columns.photos[2] != columns.photos[0]
    assert all(read_chip(album, face.id)[:2] == b"\xff\xd8" for face in faces)
    assert [(photo.width, photo.height) for photo in read_photos(album)] == [
        (16, 16), (32, 16), (16, 16)]  # fmt: skip


def test_galleries_of_its_faces_know_by_whose_points_they_were_aligned(
    album: Album, photos: Path
) -> None:
    def points() -> tuple[str, ...]:
        return album_card(album).points

    class Other(FakeEngine):
        def points(self) -> str:
            return "painted"

    scan(album, photos)
    assert points() == ("drawn",)
    scan(album, photos, engine=Other())
    assert points() == ("drawn",)  # Nothing was new.
    write_photo(photos / "more.png", [4])
    scan(album, photos, engine=Other())
    assert points() == ("drawn", "painted")


def test_a_model_that_is_calibrated_anew_decides_in_an_album_made_before(
    album: Album, photos: Path
) -> None:
    scan(album, photos)
    later = FakeEngine()
    calibration = Calibration(data="mine", pairs=200, thresholds={"1e-3": 0.3})
    later.card = later.card.model_copy(update={"calibration": calibration})
    scan(album, photos, engine=later)
    assert album_card(album).calibration == calibration
    assert album_card(album).points == ("drawn",)
    later.card = later.card.model_copy(update={"calibration": None})
    scan(album, photos, engine=later)
    assert album_card(album).calibration == calibration


def test_what_is_there_is_not_read_again(album: Album, photos: Path) -> None:
    scan(album, photos)
    engine = FakeEngine()
    report = scan(album, photos, engine=engine)
    assert (engine.looked, report.new, report.photos) == (0, 0, 0)
    os.utime(photos / "3.png")
    report = scan(album, photos, engine=engine)
    assert (engine.looked, report.known, report.moved) == (0, 1, 0)


def test_moved_renamed_and_copied_photos_keep_their_faces(album: Album, photos: Path) -> None:
    scan(album, photos)
    before = [face.id for face in read_faces(album)]
    (photos / "a").rename(photos / "b")
    shutil.copy(photos / "3.png", photos / "copy.png")
    engine = FakeEngine()
    report = scan(album, photos, engine=engine)
    assert (engine.looked, report.new, report.known, report.moved, report.gone) == (0, 0, 3, 2, 0)
    assert [face.id for face in read_faces(album)] == before
    assert paths(album) == ["3.png", "1.png", "1.png"]
    first = next(read_photos(album))
    assert first.paths == (str(photos / "3.png"), str(photos / "copy.png"))


def test_a_photo_moved_out_of_the_folder_is_recognised_there(
    album: Album, photos: Path, tmp_path: Path
) -> None:
    scan(album, photos)
    shutil.move(photos / "3.png", tmp_path / "else.png")
    assert scan(album, tmp_path / "else.png").moved == 1
    assert scan(album, photos).gone == 0


def test_deleted_photos_leave_and_come_back_with_their_faces(album: Album, photos: Path) -> None:
    scan(album, photos)
    kept = (photos / "3.png").read_bytes()
    (photos / "3.png").unlink()
    assert scan(album, photos).gone == 1
    assert paths(album) == ["1.png", "1.png"]
    (photos / "3.png").write_bytes(kept)
    engine = FakeEngine()
    scan(album, photos, engine=engine)
    assert engine.looked == 0
    assert [face.id for face in read_faces(album)] == [1, 2, 3]


def test_a_folder_that_is_not_there_loses_nothing(album: Album, photos: Path) -> None:
    scan(album, photos)
    photos.rename(photos.with_name("away"))
    report = scan(album, photos)
    assert (report.gone, list(report.failed)) == (0, [str(photos)])
    photos.mkdir()
    assert scan(album, photos).gone == 0
    assert len(paths(album)) == 3


def test_a_folder_below_another_is_scanned_alone(album: Album, photos: Path) -> None:
    scan(album, photos)
    (photos / "3.png").unlink()
    (photos / "a/2.png").unlink()
    assert scan(album, photos / "a").gone == 1


def test_one_content_at_two_places_is_one_photo(album: Album, photos: Path) -> None:
    shutil.copy(photos / "3.png", photos / "a" / "3.png")
    report = scan(album, photos, photos / "3.png")
    assert (report.new, report.known, report.faces) == (3, 1, 3)


def test_an_archives_members_are_photos(album: Album, photos: Path) -> None:
    archive = Path(shutil.make_archive(str(photos), "zip", photos))
    scan(album, archive)
    assert next(read_faces(album)).path == f"{archive}/3.png"
    engine = FakeEngine()
    assert scan(album, archive, engine=engine).photos == 0
    # Unpacked, they are the same contents.
    assert scan(album, photos, engine=engine).known == 3
    assert engine.looked == 0


def test_a_damaged_photo_is_named_each_time_until_it_is_whole(album: Album, photos: Path) -> None:
    damaged = photos / "damaged.png"
    whole = write_photo(photos / "whole.png", [4], number=9).read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    shutil.copy(damaged, photos / "twice.png")
    (photos / "whole.png").unlink()
    for _ in range(2):
        report = scan(album, photos)
        assert list(report.failed) == [str(damaged), str(photos / "twice.png")]
    damaged.write_bytes(whole)
    report = scan(album, photos)
    assert (report.new, len(report.failed)) == (1, 1)


def test_another_models_vectors_are_refused(album: Album, photos: Path) -> None:
    scan(album, photos)
    engine = FakeEngine()
    engine.card = make_card(8, name="other")
    write_photo(photos / "new.png", [5], number=8)
    with pytest.raises(IncompatibleError, match="small's, the profile's model is other"):
        scan(album, photos, engine=engine)


def test_a_name_that_is_no_unicode_is_kept(album: Album, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    try:
        write_photo(tmp_path / "photos" / name, [1])
    except OSError:
        pytest.skip("this file system takes Unicode alone")
    scan(album, tmp_path / "photos")
    (face,) = read_faces(album)
    assert face.path == str(tmp_path / "photos" / name)
    assert scan(album, tmp_path / "photos").photos == 0


def test_photos_that_wait_for_a_commit_hold_no_pixels(
    album: Album, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "_BATCH", 1000)
    alive: list[weakref.ref[np.ndarray]] = []

    class Watching(FakeEngine):
        def faces(
            self, frames: Iterable[Frame], *, expected: int | None = None
        ) -> Iterator[tuple[Frame, list[Face]]]:
            for frame, found in super().faces(frames):
                assert frame.image is not None
                alive.append(weakref.ref(frame.image))
                assert sum(one() is not None for one in alive) < 12
                yield frame, found

    for number in range(40):
        write_photo(tmp_path / "photos" / f"{number}.png", [1], number)
    assert scan(album, tmp_path / "photos", engine=Watching()).faces == 40


def test_the_commands_print_what_others_read(run: Run, people: Path, tmp_path: Path) -> None:
    code, out, err = run("album", "scan", people, "-a", tmp_path / "a.db")
    assert code == 0, err
    assert '"new": 2' in out
    assert "2 new photos with 2 faces" in err
    code, out, _ = run("album", "show", "-a", tmp_path / "a.db")
    assert code == 0
    assert out.count('"person": null, "name": null, "confirmed": false, "quality": 0.99') == 2
    assert run("album", "people", "-a", tmp_path / "a.db")[:2] == (0, "")
    code, _, err = run("album", "show", "nobody", "-a", tmp_path / "a.db")
    assert (code, "knows nobody called nobody" in err) == (2, True)
    (people / "bad.jpg").write_text("no")
    assert run("album", "scan", people, "-a", tmp_path / "a.db")[0] == 3
