"""Forgetting: nothing of a person is left in the album's files, and no scan brings them back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from facerec.album.decisions import confirm_faces, merge_people, name_person, split_faces
from facerec.album.faces import read_chip, read_columns, read_faces
from facerec.album.forget import forget_person, named_in_metadata
from facerec.album.journal import last_step
from facerec.album.people import add_person, find_person, read_people
from facerec.album.regroup import regroup
from facerec.album.store import Album, open_album
from facerec.errors import UsageError
from tests.album.faking import scan, vector_of, write_photo
from tests.album.metadata.digikam_library import ANNA, make_database

NAME = "Annabella Quiller"


@pytest.fixture
def named(album: Album, tmp_path: Path) -> Album:
    """Face 1 is Annabella, face 2 Ben, face 3 nobody yet."""
    write_photo(tmp_path / "photos" / "1.png", [1, 2, 3])
    scan(album, tmp_path / "photos")
    split_faces(album, [1], NAME)
    split_faces(album, [2], "Ben")
    return album


def traces(album: Album, chip: bytes) -> list[str]:
    """What the album's files hold of Annabella."""
    wanted = {"name": NAME.encode(), "vector": vector_of(1).tobytes(), "chip": chip}
    files = album.path.parent.glob(f"{album.path.name}*")
    data = b"".join(file.read_bytes() for file in files)
    return [what for what, bytes_ in wanted.items() if bytes_ in data]


def test_nothing_is_left_in_the_files(named: Album) -> None:
    chip = read_chip(named, 1)
    assert chip is not None
    assert traces(named, chip) == ["name", "vector", "chip"]
    assert forget_person(named, 1) == (1, True)
    assert traces(named, chip) == []
    assert last_step(named) is None
    assert [one.label for one in read_people(named)] == ["Ben"]
    assert read_columns(named).ids.tolist() == [2, 3]
    with pytest.raises(UsageError):
        find_person(named, NAME)


def test_no_scan_brings_a_face_back(named: Album, tmp_path: Path) -> None:
    forget_person(named, 1)
    photo = tmp_path / "photos" / "1.png"
    shutil.copy(photo, photo.with_name("copy.png"))
    scan(named, photo.parent)
    # Also where the photo must be looked at again.
    named.execute("UPDATE photos SET error = 'was not read'")
    named.execute("DELETE FROM faces")
    scan(named, photo.parent)
    assert [face.box[0] for face in read_faces(named)] == [16, 32]


def test_a_new_photo_shows_a_stranger_whatever_is_grouped(named: Album, tmp_path: Path) -> None:
    forget_person(named, 1)
    for number in (2, 3):
        write_photo(tmp_path / "photos" / f"{number}.png", [1, 2], number)
    scan(named, tmp_path / "photos")
    regroup(named, distance=0.2)
    people = {one.label: one.faces for one in read_people(named)}
    assert people.pop("Ben") == 3
    assert [faces for label, faces in people.items() if label.startswith("person-")] == [2]
    assert NAME not in people


def test_an_id_is_not_used_again(named: Album) -> None:
    forget_person(named, 2)
    assert add_person(named) == 3


def test_those_who_were_merged_into_the_person_go_too(named: Album) -> None:
    merge_people(named, [2], 1)
    third = add_person(named)
    confirm_faces(named, [3], third)
    merge_people(named, [1], third)
    name_person(named, third, "Zoe")
    assert forget_person(named, third) == (3, True)
    assert list(named.rows("SELECT * FROM people UNION SELECT * FROM people")) == []


def test_another_reader_delays_it_and_the_next_writer_completes_it(
    named: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facerec.album.purge._PATIENCE", 10)
    chip = read_chip(named, 1)
    assert chip is not None
    with open_album(named.path, write=False) as reader:
        rows = reader.rows("SELECT * FROM faces")
        next(rows)
        assert forget_person(named, 1) == (1, False)
        rows.close()
    named.close()
    with open_album(named.path) as album:
        assert traces(album, chip) == []
        assert album.meta("purge") is None


def test_files_whose_metadata_name_the_person_are_told(tmp_path: Path) -> None:
    packet = "<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:li>Ann &amp; Co</rdf:li></x:xmpmeta>"
    photo, other = tmp_path / "a.jpg", tmp_path / "b.jpg"
    photo.write_bytes(b"\xff\xd8" + packet.encode())
    other.write_bytes(b"\xff\xd8 Ann & Co")
    sidecar = tmp_path / "b.jpg.xmp"
    sidecar.write_text(packet)
    places = [str(photo), str(other), str(tmp_path / "none.jpg"), "https://x/y.jpg"]
    contacts = tmp_path / ".picasa.ini"
    contacts.write_text("[Contacts2]\n1234=Ann & Co;;\n")
    found = list(named_in_metadata(places, "Ann & Co"))
    assert found == [str(photo), str(contacts), str(sidecar)]
    assert list(named_in_metadata(places, "Nobody")) == []
    older = tmp_path / "Picasa.ini"
    older.write_text("[Contacts2]\n1234=Zoe;;\n")
    (tmp_path / "a.XMP").write_text(packet.replace("Ann &amp; Co", "Zoe"))
    assert list(named_in_metadata(places, "Zoe")) == [str(tmp_path / "a.XMP"), str(older)]
    # As ExifTool writes it, and with the accent apart.
    sidecar.write_text(packet.replace("Ann &amp; Co", "O&#39;Brie\u0301"))
    assert list(named_in_metadata(places, "O'Bri\u00e9")) == [str(sidecar)]
    # Metadata at the end of a long file.
    other.write_bytes(bytes(10 << 20) + packet.encode())
    assert str(other) in named_in_metadata(places, "Ann & Co")


def test_sidecars_of_other_accents_and_of_several_images_are_told(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "Zo\u00eb.png", [1])
    write_photo(tmp_path / "Zo\u00eb.jpg.png", [1]).rename(tmp_path / "Zo\u00eb.jpg")
    sidecar = tmp_path / "Zoe\u0308.xmp"
    sidecar.write_text(f"<x:xmpmeta>{NAME}</x:xmpmeta>")
    assert list(named_in_metadata([str(photo)], NAME)) == [str(sidecar)]


def test_digikams_database_that_names_a_person_is_told_once(tmp_path: Path) -> None:
    database = make_database(tmp_path / "digikam4.db", str(tmp_path), "/", ANNA)
    places = [str(tmp_path / "in" / f"{number}.jpg") for number in range(2)]
    assert list(named_in_metadata(places, "Änna")) == [str(database)]
    assert list(named_in_metadata(places, "Ben")) == []
    database.write_bytes(b"damaged " * 1000)
    assert list(named_in_metadata(places, "Änna")) == []
