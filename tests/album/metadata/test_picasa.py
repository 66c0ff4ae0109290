"""Picasa's names: `.picasa.ini` beside photos, and its list of contacts."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from unicodedata import normalize

import pytest

from tests.album.metadata.writers import save

pytest.importorskip("exiv2")

from facerec.album.metadata.photo import read_metadata

INI = (
    "[Picasa]\r\nname=Trip\r\ncategory=Folders on Disk\r\n[photo.jpg]\r\nstar=yes\r\n"
    "faces=rect64(199a199a4ccd8000),8e62398ebda8c1a5;rect64(80008000c000c000),d10a8325c557b085;"
    "rect64(c000c000f000f000),ffffffffffffffff\r\nbackuphash=12345\r\n"
    "[.album:8e8a2a7d3c9bb6e188ac4146a4b5da41]\r\nname=Best\r\n"
)
LIST = (
    '<?xml version="1.0" encoding="utf-8" ?>\r\n<contacts>\r\n'
    ' <contact id="8e62398ebda8c1a5" name="Änna &amp; Co" display="Änna" '
    'modified_time="2011-05-03T20:15:07+01:00" local_contact="1"/>\r\n'
    ' <contact id="D10A8325C557B085" name="" display="Ben" sync_enabled="1">\r\n'
    '  <subject user="joe_lh" id="6dc6a330c4804e8"/>\r\n </contact>\r\n</contacts>\r\n'
)


@pytest.fixture
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two folders below the library, with a home that has no Picasa."""
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    folder = tmp_path / "library" / "2011" / "trip"
    folder.mkdir(parents=True)
    (folder / ".picasa.ini").write_bytes(INI.encode())
    return save(folder / "photo.jpg")


def names(photo: Path) -> list[str]:
    found = read_metadata(photo)
    assert found.problems == ()
    return [region.name for region in found.regions]


def test_contacts_without_a_list_have_no_name(photo: Path) -> None:
    assert names(photo) == []


@pytest.mark.parametrize(("listed", "lies"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_in_photos_names_may_be_composed_or_not(
    photo: Path, listed: Literal["NFC", "NFD"], lies: Literal["NFC", "NFD"]
) -> None:
    section = normalize(listed, "[ZOË.jpg]")
    ini = f"{section}\nfaces=rect64(199a199a4ccd8000),1\n[Contacts2]\n1=Anna"
    photo.with_name(".picasa.ini").write_text(ini, encoding="utf-8")
    assert names(photo.rename(photo.with_name(normalize(lies, "Zoë.jpg")))) == ["Anna"]


@pytest.mark.parametrize("place", ["library/2011/trip", "library", "", "home"])
def test_names_come_from_the_list_beside_above_or_picasas_own(
    photo: Path, tmp_path: Path, place: str
) -> None:
    folder = tmp_path / place
    if place == "home":
        folder /= "AppData/Local/Google/Picasa2/contacts"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "contacts.xml").write_bytes(LIST.encode())
    assert names(photo) == ["Änna & Co", "Ben"]


def test_the_folders_own_section_and_the_nearest_list_are_believed_first(
    photo: Path, tmp_path: Path
) -> None:
    ini = photo.with_name(".picasa.ini")
    ini.write_bytes((INI + "[Contacts2]\r\n8e62398ebda8c1a5=Zoe;;\r\n").encode())
    (tmp_path / "contacts.xml").write_bytes(LIST.encode())
    assert names(photo) == ["Zoe", "Ben"]
    (tmp_path / "library" / "contacts.xml").write_text(LIST.replace("Ben", "Carl"))
    assert names(photo) == ["Zoe", "Carl"]


def test_accounts_in_place_of_names_are_none(photo: Path, tmp_path: Path) -> None:
    """As Picasa 3.5 to 3.8 wrote them."""
    ini = photo.with_name(".picasa.ini")
    ini.write_bytes((INI + "[Contacts]\r\n8e62398ebda8c1a5=joe_lh,4bd750800fb6a6b8\r\n").encode())
    assert names(photo) == []
    (tmp_path / "contacts.xml").write_bytes(LIST.encode())
    assert names(photo) == ["Änna & Co", "Ben"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<contacts><contact id='1' name='a'", "contacts.xml: is damaged"),
        ("<!DOCTYPE c [<!ENTITY a 'b'>]><c/>", "contacts.xml: declares a document type"),
    ],
)
def test_a_list_that_cannot_be_read_is_one_problem(photo: Path, text: str, told: str) -> None:
    photo.with_name("contacts.xml").write_text(text)
    (problem,) = read_metadata(photo).problems
    assert told in problem


def test_a_list_of_other_contacts_names_nobody(photo: Path) -> None:
    photo.with_name("contacts.xml").write_text("<people><contact id='7'>Anna</contact></people>")
    assert names(photo) == []


def test_names_in_a_windows_code_page_are_read(photo: Path) -> None:
    ini = photo.with_name(".picasa.ini")
    ini.write_bytes((INI + "[Contacts2]\r\n8e62398ebda8c1a5=Änna;;\r\n").encode("cp1252"))
    assert names(photo) == ["Änna"]
