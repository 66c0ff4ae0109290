"""digiKam's names: the faces of its own database."""

from __future__ import annotations

import shutil
import sqlite3
import unicodedata
from pathlib import Path

import pytest

from tests.album.metadata.digikam_library import ANNA, make_database, note_size, rectangle
from tests.album.metadata.writers import save

pytest.importorskip("exiv2")

from facerec.album.metadata.photo import read_metadata


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library" / "2011" / "trip"
    folder.mkdir(parents=True)
    save(folder / "photo.jpg")
    return tmp_path / "library"


def regions(photo: Path) -> list[tuple[str, tuple[float, ...] | None, str]]:
    found = read_metadata(photo)
    assert found.problems == ()
    return [(one.name, one.box, one.source) for one in found.regions]


def test_named_faces_are_read_and_what_digikam_suggests_is_not(library: Path) -> None:
    faces = [
        *ANNA,
        (3, "tagRegion", rectangle(30, 20, 30, 20)),
        (4, "autodetectedFace", rectangle(0, 0, 6, 4)),
        (4, "tagRegion", rectangle(0, 0, 6, 4)),
        (5, "autodetectedPerson", f"3,tagRegion,{rectangle(0, 0, 6, 4)}"),
        (6, "tagRegion", rectangle(0, 30, 6, 4)),
        (3, "faceToTrain", rectangle(0, 0, 6, 4)),
        (3, "tagRegion", "<rect x='1'/>"),
        (3, "tagRegion", rectangle(100, 100, 5, 5)),
    ]
    make_database(library / "digikam4.db", str(library), "/2011/trip", faces)
    assert regions(library / "2011" / "trip" / "photo.jpg") == [
        ("Änna", (0.1, 0.1, 0.3, 0.3), "digikam"),
        ("Ben", (0.5, 0.5, 1.0, 1.0), "digikam"),
    ]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_places_are_those_of_the_upright_picture(library: Path, orientation: int) -> None:
    photo = save(library / "2011" / "trip" / "photo.jpg", orientation=orientation)
    make_database(library / "digikam4.db", str(library), "/2011/trip", ANNA)
    width, height = (60, 40) if orientation < 5 else (40, 60)
    ((_, box, _),) = regions(photo)
    assert box == pytest.approx((6 / width, 4 / height, 18 / width, 12 / height))


@pytest.mark.parametrize(
    ("size", "orientation"),
    [((6000, 4000), 1), ((6048, 4024), 1), ((6000, 4000), 3), ((4000, 6000), 6), ((0, 0), 1)],
)
def test_places_are_pixels_of_the_whole_raw_file_not_of_its_preview(
    library: Path, size: tuple[int, int], orientation: int
) -> None:
    """What is seen of the photo has 60 by 40 pixels, upright."""
    width, height = size if orientation < 5 else size[::-1]
    width, height = width or 60, height or 40
    face = rectangle(width // 10, height // 10, width // 5, height // 5)
    path = make_database(library / "digikam4.db", "/", "/2011/trip", [(2, "tagRegion", face)])
    note_size(path, *size, orientation)
    ((_, box, _),) = regions(library / "2011" / "trip" / "photo.jpg")
    assert box == pytest.approx((0.1, 0.1, 0.3, 0.3), abs=1e-3)


@pytest.mark.parametrize(
    ("size", "orientation", "face"),
    [
        ((60, 40), 1, rectangle(100, 100, 5, 5)),
        ((60, 40), 1, rectangle(5, 5, 0, 5)),
        # Of the photo before it was cropped, and before it was turned.
        ((60, 80), 1, rectangle(6, 4, 12, 8)),
        ((60, 40), 6, rectangle(6, 4, 12, 8)),
    ],
)
def test_who_lies_beyond_the_picture_is_named_without_a_place(
    library: Path, size: tuple[int, int], orientation: int, face: str
) -> None:
    path = make_database(library / "digikam4.db", "/", "/2011/trip", [(2, "tagRegion", face)])
    note_size(path, *size, orientation)
    assert regions(library / "2011" / "trip" / "photo.jpg") == [("Änna", None, "digikam")]


@pytest.mark.parametrize(
    ("root", "folder", "found"),
    [
        ("{library}", "/2011/trip", True),
        ("{library}/2011", "/trip", True),
        ("{library}/2011/trip", "/", True),
        # Of a volume that was mounted elsewhere, and of a library that was copied whole.
        ("/library", "/2011/trip", True),
        ("/home/somebody/Pictures", "/2011/trip", True),
        ("/home/somebody/Pictures", "/trip", False),
        ("{library}", "/2012/trip", False),
    ],
)
def test_a_photo_is_known_by_its_place(library: Path, root: str, folder: str, found: bool) -> None:
    make_database(library / "digikam4.db", root.format(library=library), folder, ANNA)
    assert bool(regions(library / "2011" / "trip" / "photo.jpg")) is found


def test_a_database_above_the_library_knows_roots_by_their_whole_folders(
    library: Path, tmp_path: Path
) -> None:
    for root, found in (("/rary", False), ("/library", True)):
        path = make_database(tmp_path / "digikam4.db", root, "/2011/trip", ANNA)
        assert bool(regions(library / "2011" / "trip" / "photo.jpg")) is found
        path.unlink()


def test_accents_in_paths_may_be_composed_or_not(tmp_path: Path) -> None:
    folder = tmp_path / unicodedata.normalize("NFD", "Zoë")
    folder.mkdir()
    photo = save(folder / "photo.jpg")
    make_database(tmp_path / "digikam4.db", str(tmp_path), "/Zoë", ANNA)
    assert len(regions(photo)) == 1


def test_the_database_is_only_read_also_while_digikam_writes_it(library: Path) -> None:
    path = make_database(library / "digikam4.db", str(library), "/2011/trip", ANNA)
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE Tags SET name = 'other'")
    writer.execute("UPDATE TagProperties SET value = 'Other' WHERE property = 'person'")
    photo = library / "2011" / "trip" / "photo.jpg"
    assert [name for name, *_ in regions(photo)] == ["Änna"]
    writer.execute("COMMIT")
    assert [name for name, *_ in regions(photo)] == ["Other"]
    writer.close()
    path.chmod(0o444)
    before = path.read_bytes()
    assert [name for name, *_ in regions(photo)] == ["Other"]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "line"),
    [(b"no database at all " * 100, "cannot be read"), (b"", "is no database of digiKam")],
)
def test_what_is_no_database_of_digikam_is_one_line(
    library: Path, content: bytes, line: str
) -> None:
    (library / "digikam4.db").write_bytes(content)
    (problem,) = read_metadata(library / "2011" / "trip" / "photo.jpg").problems
    assert line in problem
    assert "\n" not in problem


def test_a_damaged_database_is_one_line(library: Path) -> None:
    path = make_database(library / "digikam4.db", str(library), "/2011/trip", ANNA * 3000)
    data = bytearray(path.read_bytes())
    data[8192:] = b"\xff" * (len(data) - 8192)
    path.write_bytes(data)
    (problem,) = read_metadata(library / "2011" / "trip" / "photo.jpg").problems
    assert "cannot be read" in problem


def test_photos_of_another_folder_are_not_asked_of_it(library: Path, tmp_path: Path) -> None:
    make_database(library / "digikam4.db", str(library), "/2011/trip", ANNA)
    other = tmp_path / "elsewhere"
    other.mkdir()
    shutil.copy(library / "2011" / "trip" / "photo.jpg", other)
    assert regions(other / "photo.jpg") == []
