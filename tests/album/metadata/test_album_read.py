"""`album read`: names that other programs wrote, as decisions."""

from __future__ import annotations

import json
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from facerec.faces import Face, Frame
from tests.album.faking import FakeEngine, scan, write_photo
from tests.album.metadata.naming import name_face, undo
from tests.album.metadata.writers import exiftool, needs_exiftool
from tests.conftest import Run

pytest.importorskip("exiv2")

from facerec.album.faces import read_faces
from facerec.album.forget import forget_person
from facerec.album.journal import step
from facerec.album.metadata import xmp
from facerec.album.metadata.photo import read_regions, write_regions
from facerec.album.metadata.regions import Region
from facerec.album.metadata.taking import Named, find_names, take_names
from facerec.album.people import find_person
from facerec.album.store import Album, open_album

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return write_photo(tmp_path / "photos" / "one.png", [1, 2])


@pytest.fixture
def album(tmp_path: Path, photo: Path) -> Iterator[Album]:
    with open_album(tmp_path / "album.db", create=True) as opened:
        scan(opened, photo.parent)
        yield opened


def read(run: Run, album: Album, code: int = 0) -> list[tuple[str, str]]:
    got, out, err = run("album", "read", "-a", album.path, "--json")
    assert got == code, err
    return [(one["name"], one["outcome"]) for one in map(json.loads, out.splitlines())]


def names(album: Album) -> list[tuple[str | None, bool]]:
    return [(face.name, face.confirmed) for face in read_faces(album)]


def test_names_become_decisions_and_undo_takes_them_back(
    album: Album, photo: Path, run: Run
) -> None:
    write_regions(photo, [Region("Anna", LEFT), Region("Ben", RIGHT)], "sidecar")
    assert read(run, album) == [("Anna", "confirmed"), ("Ben", "confirmed")]
    assert names(album) == [("Anna", True), ("Ben", True)]
    assert [kind for (kind,) in album.rows("SELECT kind FROM decisions")] == ["is", "is"]
    assert read(run, album) == [("Anna", "known"), ("Ben", "known")]
    undo(album)
    assert names(album) == [(None, False), (None, False)]


def test_another_picture_in_a_photos_place_names_nobody(
    album: Album, photo: Path, run: Run
) -> None:
    write_photo(photo, [3, 4, 5], 9)
    write_regions(photo, [Region("Carl", (0, 0, 0.4, 1))], "embedded")
    code, out, err = run("album", "read", "-a", album.path, "--json")
    assert (code, out) == (3, "")
    assert "one.png: shows another picture now; first: facerec album scan" in err
    assert names(album) == [(None, False), (None, False)]


def test_another_picture_of_the_same_size_names_nobody(album: Album, photo: Path, run: Run) -> None:
    write_photo(photo, [3, 4], 9)
    write_regions(photo, [Region("Carl", LEFT)], "embedded")
    code, out, err = run("album", "read", "-a", album.path, "--json")
    assert (code, out) == (3, "")
    assert "one.png: shows another picture now; first: facerec album scan" in err
    scan(album, photo.parent)
    assert read(run, album) == [("Carl", "confirmed")]


@pytest.mark.parametrize(("suffix", "factor"), [("png", 1), ("jpg", 1), ("jpg", 4)])
def test_names_written_since_the_scan_are_read_from_the_same_picture(
    tmp_path: Path, suffix: str, factor: int, run: Run
) -> None:
    photo = tmp_path / "big" / f"photo.{suffix}"
    drawn = Pillow.open(write_photo(tmp_path / "drawn.png", [10, 90], 7))
    photo.parent.mkdir()
    large = drawn.resize((1600, 800), Pillow.Resampling.NEAREST)
    large.save(photo, **({"quality": 95} if suffix == "jpg" else {}))
    engine = LargeEngine(factor)
    with open_album(tmp_path / "large.db", create=True) as album:
        scan(album, photo, engine=engine)
        write_regions(photo, [Region("Anna", LEFT), Region("Ben", RIGHT)], "embedded")
        assert read(run, album) == [("Anna", "confirmed"), ("Ben", "confirmed")]
        undo(album)
        turned = Pillow.open(photo).rotate(180)
        turned.save(photo)
        write_regions(photo, [Region("Anna", LEFT), Region("Ben", RIGHT)], "embedded")
        assert read(run, album, 3) == []


class LargeEngine(FakeEngine):
    """Finds a face in each half of a photo, which it decodes downscaled."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def reduction(self, height: int, width: int) -> int:
        return self.factor

    def faces(
        self, frames: Iterable[Frame], *, expected: int | None = None
    ) -> Iterator[tuple[Frame, list[Face]]]:
        for frame in frames:
            height, width = frame.size
            yield frame, [self._face(left, width / 2, height) for left in (0.0, width / 2)]

    def _face(self, left: float, width: float, height: float) -> Face:
        box = np.array([left, 0, left + width, height], np.float32)
        return Face(box, 0.9, np.zeros((5, 2), np.float32), self.vector(1 + int(left)))


def test_what_is_decided_or_forgotten_meanwhile_stays(album: Album, photo: Path) -> None:
    write_regions(photo, [Region("Anna", LEFT), Region("Ben", RIGHT)], "sidecar")
    found = [one for one in find_names(album) if isinstance(one, Named)]
    assert [one.outcome for one in found] == ["confirmed", "confirmed"]
    name_face(album, 1, "Zoe")
    name_face(album, 2, "Eve")
    forget_person(album, find_person(album, "Eve"))
    with step(album, "read names from photos"):
        take_names(album, found)
    assert names(album) == [("Zoe", True)]
    assert [label for (label,) in album.rows("SELECT name FROM people")] == ["Zoe"]


@needs_exiftool
@pytest.mark.parametrize(
    ("orientation", "area"),
    [
        # The left face of two, in the stored image: MWG 2.0, 5.9.
        (1, "X=0.25,Y=0.5,W=0.5,H=1"), (3, "X=0.75,Y=0.5,W=0.5,H=1"),
        (6, "X=0.5,Y=0.75,W=1,H=0.5"), (8, "X=0.5,Y=0.25,W=1,H=0.5"),
        # In the upright picture, as some programs write it; turned by 3 that is the other face.
        (6, "X=0.25,Y=0.5,W=0.5,H=1"), (8, "X=0.25,Y=0.5,W=0.5,H=1"),
    ],
)  # fmt: skip
def test_regions_of_either_frame_find_their_face(
    tmp_path: Path, orientation: int, area: str, run: Run
) -> None:
    photo = write_photo(tmp_path / "a.png", [1, 2])
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    upright = Pillow.open(photo)
    turned = upright.rotate({1: 0, 3: 180, 6: 90, 8: 270}[orientation], expand=True)
    turned.save(photo, exif=exif.tobytes())
    exiftool(
        "-overwrite_original",
        "-XMP-mwg-rs:RegionInfo={AppliedToDimensions={W=32,H=16,Unit=pixel},RegionList=["
        f"{{Area={{{area},Unit=normalized}},Name=Anna,Type=Face}}]}}",
        photo,
    )
    with open_album(tmp_path / "album.db", create=True) as album:
        scan(album, photo)
        assert read(run, album) == [("Anna", "confirmed")]
        assert names(album) == [("Anna", True), (None, False)]


@needs_exiftool
@pytest.mark.parametrize("orientation", [3, 6])
def test_a_region_is_told_where_its_face_is_and_renamed_there(
    tmp_path: Path, orientation: int, run: Run
) -> None:
    """Microsoft's of the upright picture: nothing but the face says so."""
    photo = write_photo(tmp_path / "a.png", [1, 0, 0])
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    turned = Pillow.open(photo).rotate({3: 180, 6: 90}[orientation], expand=True)
    turned.save(photo, exif=exif.tobytes())
    rectangle = "0|, 0|, 0.33|, 1"
    exiftool(
        "-overwrite_original",
        f"-XMP-MP:RegionInfoMP={{Regions=[{{PersonDisplayName=Ann,Rectangle={rectangle}}}]}}",
        photo,
    )
    with open_album(tmp_path / "album.db", create=True) as album:
        scan(album, photo)
        _, out, _ = run("album", "read", "-a", album.path, "--json")
        assert json.loads(out)["outcome"] == "confirmed"
        assert json.loads(out)["region"] == pytest.approx([0, 0, 0.33, 1])
        run("album", "name", "Ann", "Anna", "-a", album.path)
        run("album", "write", "--xmp", "embedded", "--force", "-a", album.path)
        assert {region.name for region in read_regions(photo)} == {"Anna"}


def test_names_whose_area_says_no_place_are_reported(album: Album, photo: Path, run: Run) -> None:
    (change,) = write_regions(photo, [Region("Anna", LEFT)], "sidecar")
    change.path.write_bytes(re.sub(rb'\s*stArea:[wh]="[^"]*"', b"", change.after))
    assert read(run, album) == [("Anna", "no face")]


def test_names_without_a_face_are_reported(album: Album, photo: Path, run: Run) -> None:
    (photo.parent / ".picasa.ini").write_text(
        "[one.png]\nfaces=rect64(c000c000ffffffff),1\n[Contacts2]\n1=Ben"
    )
    write_regions(photo, [Region("Anna", LEFT)], "sidecar")
    assert read(run, album) == [("Anna", "confirmed"), ("Ben", "no face")]


def test_regions_of_a_picture_cropped_since_name_nobody(
    album: Album, photo: Path, run: Run
) -> None:
    (change,) = write_regions(photo, [Region("Anna", LEFT), Region("Ben", RIGHT)], "sidecar")
    change.path.write_bytes(change.after.replace(b':w="32"', b':w="48"'))
    assert read(run, album) == [("Anna", "no face"), ("Ben", "no face")]
    assert names(album) == [(None, False), (None, False)]


def test_what_the_user_decided_stays(album: Album, photo: Path, run: Run) -> None:
    first, second = (face.id for face in read_faces(album))
    name_face(album, first, "Anna")
    name_face(album, second, "Carl")
    person = album.row("SELECT id FROM people WHERE name = 'Carl'")
    assert person is not None
    album.execute("DELETE FROM decisions WHERE face = ?", (second,))
    album.execute("UPDATE faces SET person = NULL, state = 'grouped' WHERE id = ?", (second,))
    album.execute(
        "INSERT INTO decisions (kind, face, person) VALUES ('is-not', ?, ?)", (second, person[0])
    )
    write_regions(photo, [Region("Zoe", LEFT), Region("Carl", RIGHT)], "sidecar")
    assert read(run, album) == [("Zoe", "conflict"), ("Carl", "conflict")]
    assert names(album) == [("Anna", True), (None, False)]


def test_a_group_that_has_one_name_gets_it_and_keeps_its_id(
    album: Album, photo: Path, run: Run
) -> None:
    album.execute("INSERT INTO people (id, name) VALUES (7, NULL)")
    album.execute("UPDATE faces SET person = 7 WHERE id = 1")
    write_regions(photo, [Region("Anna", LEFT)], "sidecar")
    read(run, album)
    assert list(album.rows("SELECT id, name FROM people")) == [(7, "Anna")]
    undo(album)
    assert list(album.rows("SELECT id, name FROM people")) == [(7, None)]


def test_a_name_that_cannot_be_one_is_said(album: Album, photo: Path, run: Run) -> None:
    write_regions(photo, [Region("a/b", LEFT), Region("Ben", RIGHT)], "sidecar")
    assert read(run, album) == [("a/b", "unusable"), ("Ben", "confirmed")]


def test_hostile_xmp_is_one_line_and_the_rest_is_read(album: Album, photo: Path, run: Run) -> None:
    (photo.parent / "one.xmp").write_text("<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>")
    (photo.parent / ".picasa.ini").write_text(
        "[one.png]\nfaces=rect64(8000ffff),1\n[Contacts2]\n1=Anna"
    )
    got, out, err = run("album", "read", "-a", album.path, "--json")
    assert got == 3
    assert "one.xmp: its XMP declares a document type or entities" in err
    assert json.loads(out)["name"] == "Anna"
    assert names(album)[0] == ("Anna", True)


def test_photos_that_are_no_files_are_counted(album: Album, photo: Path, run: Run) -> None:
    write_regions(photo, [Region("Anna", LEFT)], "embedded")
    with zipfile.ZipFile(photo.parent / "some.zip", "w") as packed:
        packed.write(write_photo(photo.parent.parent / "two.png", [3], 3), "two.png")
    scan(album, photo.parent, photo.parent / "some.zip")
    code, _, err = run("album", "read", "-a", album.path)
    assert code == 3
    told = "1 photo is out of reach (in archives, behind URLs, or not there); no metadata were read"
    assert told in err
    assert names(album)[0] == ("Anna", True)


def test_pets_are_not_people(album: Album, photo: Path, run: Run) -> None:
    (change,) = write_regions(photo, [Region("Rex", LEFT)], "sidecar")
    change.path.write_bytes(change.after.replace(b'"Face"', b'"Pet"'))
    assert [one for one in read(run, album) if one[1] == "confirmed"] == []


@pytest.mark.parametrize("command", [("read",), ("write", "--xmp", "sidecar")])
def test_without_exiv2_one_line_names_the_extra(
    album: Album, photo: Path, run: Run, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    name_face(album, 1, "Anna")
    write_regions(photo, [Region("Ben", RIGHT)], "sidecar")
    monkeypatch.setitem(sys.modules, "exiv2", None)
    xmp.load_exiv2.cache_clear()
    code, _, err = run("album", *command, "-a", album.path)
    xmp.load_exiv2.cache_clear()
    told = "facerec: XMP needs exiv2, which is not installed; pip install 'facerec[xmp]'"
    assert (code, err.strip()) == (4, told)
