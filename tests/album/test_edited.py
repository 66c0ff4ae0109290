"""Photos whose bytes change where they lie keep their faces and what was decided about them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from facerec.album.decisions import confirm_faces, read_decisions, reject_faces, split_faces
from facerec.album.faces import read_faces
from facerec.album.forget import forget_person
from facerec.album.journal import undo_step
from facerec.album.people import add_person
from facerec.album.photos import read_photos
from facerec.album.store import Album
from tests.album.faking import FakeEngine, scan, write_photo


def rewrite(path: Path, people: Sequence[int] | None = None, comment: str = "seen") -> None:
    """Write metadata into a photo, or other people over it."""
    if people is not None:
        write_photo(path, people, number=99)
    with Pillow.open(path) as opened:
        opened.load()
    told = PngInfo()
    told.add_text("Comment", comment)
    opened.save(path, pnginfo=told)


@pytest.fixture
def photo(album: Album, tmp_path: Path) -> Path:
    """Of faces 1 and 2; face 1 is person 1, face 2 is not."""
    made = write_photo(tmp_path / "photos" / "1.png", [1, 2])
    scan(album, made.parent)
    add_person(album, "Ann")
    confirm_faces(album, [1], 1)
    reject_faces(album, [2], 1)
    return made


def test_metadata_written_into_a_photo_leave_its_faces(album: Album, photo: Path) -> None:
    rewrite(photo)
    report = scan(album, photo.parent)
    assert (report.changed, report.new, report.faces) == (1, 0, 0)
    assert [(face.id, face.person) for face in read_faces(album)] == [(1, 1), (2, None)]
    assert len(list(read_photos(album))) == 1


def test_a_face_added_to_the_picture_is_new(album: Album, photo: Path) -> None:
    rewrite(photo, [3, 2])
    assert scan(album, photo.parent).faces == 1
    assert [face.id for face in read_faces(album)] == [1, 2, 3]


def test_another_picture_in_its_place_has_its_own_faces(album: Album, photo: Path) -> None:
    rewrite(photo, [3, 4])
    report = scan(album, photo.parent)
    assert (report.changed, report.new) == (0, 1)
    assert [face.id for face in read_faces(album)] == [3, 4]
    # What was there before comes back as it was.
    write_photo(photo, [1, 2])
    scan(album, photo.parent)
    assert [(face.id, face.person) for face in read_faces(album)] == [(1, 1), (2, None)]


def test_one_of_two_copies_takes_the_decisions_with_it(album: Album, photo: Path) -> None:
    shutil.copy(photo, photo.with_name("copy.png"))
    scan(album, photo.parent)
    rewrite(photo)
    scan(album, photo.parent)
    people = {(Path(face.path or "").name, face.id): face.person for face in read_faces(album)}
    assert people == {
        ("copy.png", 1): 1, ("copy.png", 2): None, ("1.png", 3): 1, ("1.png", 4): None,
    }  # fmt: skip
    decisions = read_decisions(album)
    assert decisions.fixed == {1: 1, 3: 1}
    assert decisions.forbidden == {(2, 1), (4, 1)}


def test_undo_of_a_person_whose_faces_were_copied_is_whole(album: Album, photo: Path) -> None:
    new = split_faces(album, [2])
    shutil.copy(photo, photo.with_name("copy.png"))
    scan(album, photo.parent)
    rewrite(photo)
    scan(album, photo.parent)
    assert [face.id for face in read_faces(album, [new])] == [2, 4]
    undo_step(album)
    assert [face.person for face in read_faces(album)] == [1, None, 1, None]


def test_erased_faces_stay_erased_when_the_bytes_change(album: Album, photo: Path) -> None:
    forget_person(album, 1)
    for comment in ("once", "again"):
        rewrite(photo, comment=comment)
        engine = FakeEngine()
        scan(album, photo.parent, engine=engine)
        assert engine.looked == 1
        assert [face.id for face in read_faces(album)] == [2]


def test_a_half_written_photo_keeps_its_faces_until_it_is_whole(album: Album, photo: Path) -> None:
    whole = photo.read_bytes()
    photo.write_bytes(whole[: len(whole) // 2])
    for _ in range(2):
        assert list(scan(album, photo.parent).failed) == [str(photo)]
        assert [face.id for face in read_faces(album)] == [1, 2]
    photo.write_bytes(whole)
    rewrite(photo)
    assert scan(album, photo.parent).changed == 1
    assert [face.id for face in read_faces(album)] == [1, 2]
