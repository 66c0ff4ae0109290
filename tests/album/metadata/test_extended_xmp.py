"""XMP that did not fit into a JPEG's packet: XMP specification part 3, section 1.1.3.1."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest

from tests.album.metadata.test_reading_regions import listed, mwg, sidecar
from tests.album.metadata.writers import exiftool, needs_exiftool, save, scan_data, tags

pytest.importorskip("exiv2")

from facerec.album.metadata.photo import read_metadata, read_regions, write_regions
from facerec.album.metadata.regions import Region
from facerec.errors import InputError

ANNA = mwg("Anna", "x=0.2 y=0.3 w=0.2 h=0.4 unit=normalized")
BEN = Region("Ben", (0.5, 0.2, 0.7, 0.6))
NOTE = 'xmlns:xmpNote="http://ns.adobe.com/xmp/note/"'
DEPTH = 'xmlns:GDepth="http://ns.google.com/photos/1.0/depthmap/"'


def packet(folder: Path, body: str) -> bytes:
    """A packet of these properties."""
    photo = sidecar(folder, body, "made.xmp")
    made = photo.with_name("made.xmp")
    data = made.read_bytes()
    made.unlink()
    return data


def segment(content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, 0xE1, len(content) + 2) + content


def extended(
    folder: Path, body: str, rest: str | bytes, part: int = 60_000, lost: int = -1
) -> Path:
    """A photo whose packet says `body`, and whose extension, in parts, says the rest.

    Args:
        lost: which part is missing.
    """
    extension = packet(folder, rest) if isinstance(rest, str) else rest
    guid = hashlib.md5(extension).hexdigest().upper()
    note = f"<xmpNote:HasExtendedXMP {NOTE}>{guid}</xmpNote:HasExtendedXMP>"
    packed = segment(b"http://ns.adobe.com/xap/1.0/\0" + packet(folder, note + body))
    starts = range(0, len(extension), part)
    # A reader must not rely on their order.
    for start in reversed([one for number, one in enumerate(starts) if number != lost]):
        head = guid.encode() + struct.pack(">II", len(extension), start)
        chunk = extension[start : start + part]
        packed += segment(b"http://ns.adobe.com/xmp/extension/\0" + head + chunk)
    photo = save(folder / "photo.jpg")
    data = photo.read_bytes()
    place = data.index(b"\xff\xdb")
    photo.write_bytes(data[:place] + packed + data[place:])
    return photo


def depth(size: int) -> str:
    return f"<GDepth:Data {DEPTH}>{'A' * size}</GDepth:Data>"


@pytest.mark.parametrize("part", [60_000, 700])
def test_regions_in_it_are_read(tmp_path: Path, part: int) -> None:
    photo = extended(tmp_path, "<dc:source>x</dc:source>", listed(ANNA) + depth(90_000), part)
    assert [region.name for region in read_regions(photo)] == ["Anna"]


@needs_exiftool
def test_regions_in_it_are_read_as_exiftool_writes_them(tmp_path: Path) -> None:
    photo = save(tmp_path / "photo.jpg")
    names = [f"{number:03d} " + "x" * 400 for number in range(200)]
    regions = ",".join(
        f"{{Area={{X=0.{number:03d},Y=0.5,W=0.0005,H=0.1,Unit=normalized}},Name={name},Type=Face}}"
        for number, name in enumerate(names, 1)
    )
    asked = tmp_path / "asked"
    asked.write_text(f"-XMP-mwg-rs:RegionInfo={{RegionList=[{regions}]}}\n")
    exiftool("-overwrite_original", "-@", asked, photo)
    assert b"http://ns.adobe.com/xmp/extension/" in photo.read_bytes()
    assert [region.name for region in read_regions(photo)] == names


def test_what_speaks_of_nobody_is_not_looked_at(tmp_path: Path) -> None:
    photo = extended(tmp_path, listed(ANNA), b"<x:xmpmeta>no XML, as if it were too long")
    assert [region.name for region in read_regions(photo)] == ["Anna"]


@pytest.mark.parametrize(("lost", "told"), [(0, True), (1, True), (-1, False)])
def test_a_missing_part_is_a_problem_and_the_rest_is_read(
    tmp_path: Path, lost: int, told: bool
) -> None:
    photo = extended(tmp_path, listed(ANNA), depth(2000) + "<dc:source>x</dc:source>", 900, lost)
    found = read_metadata(photo)
    assert [region.name for region in found.regions] == ["Anna"]
    assert any("its extended XMP is damaged" in one for one in found.problems) is told


def test_an_extension_that_a_program_has_left_out_is_no_problem(tmp_path: Path) -> None:
    photo = extended(tmp_path, listed(ANNA), depth(2000), part=1 << 15, lost=0)
    assert read_metadata(photo).problems == ()
    assert [region.name for region in read_regions(photo)] == ["Anna"]


@needs_exiftool
def test_every_byte_of_it_stays_when_names_are_written(tmp_path: Path) -> None:
    photo = extended(tmp_path, listed(ANNA), depth(150_000))
    before, were = photo.read_bytes(), tags(photo)
    write_regions(photo, [BEN], "embedded")
    after, now = photo.read_bytes(), tags(photo)
    first = before.index(b"http://ns.adobe.com/xmp/extension/") - 4
    assert after.endswith(before[first:])
    assert scan_data(after) == scan_data(before)
    assert sorted(region.name for region in read_regions(photo)) == ["Anna", "Ben"]
    (key,) = (one for one in were if one.startswith("XMP-GDepth:"))
    assert now[key] == were[key]
    assert "Warning" not in " ".join(now)


def test_names_beside_names_in_it_go_into_a_sidecar(tmp_path: Path) -> None:
    photo = extended(tmp_path, "<dc:source>x</dc:source>", listed(ANNA) + depth(70_000))
    before = photo.read_bytes()
    with pytest.raises(InputError, match="says who is there in extended XMP; use --xmp sidecar"):
        write_regions(photo, [BEN], "embedded")
    write_regions(photo, [BEN], "sidecar")
    assert photo.read_bytes() == before
    made = photo.with_name("photo.jpg.xmp").read_text()
    assert "A" * 70_000 in made
    assert "HasExtendedXMP" not in made
    assert sorted(region.name for region in read_regions(photo)) == ["Anna", "Ben"]
