"""Names written into one photo, read back by ExifTool."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Literal
from unicodedata import normalize

import pytest
from PIL import Image as Pillow
from PIL import ImageSequence

from tests.album.metadata.test_reading_regions import listed, microsoft, mwg, sidecar
from tests.album.metadata.writers import (
    areas,
    encoded,
    exiftool,
    needs_exiftool,
    picture,
    pixels,
    save,
    scan_data,
    tags,
)
from tests.imaging.test_formats import dng

pytest.importorskip("exiv2")

from facerec.album.metadata.containers import embeddable
from facerec.album.metadata.merging import SUBJECT
from facerec.album.metadata.photo import (
    Where,
    plan_regions,
    read_metadata,
    read_regions,
    write_regions,
)
from facerec.album.metadata.reading import mwg_regions
from facerec.album.metadata.regions import Region
from facerec.album.metadata.sidecars import sidecars, sidecars_to_write
from facerec.album.metadata.xmp import Xmp
from facerec.errors import InputError

Form = Literal["NFC", "NFD"]
ANNA = Region("Anna", (0.1, 0.2, 0.3, 0.6))
BEN = Region("Ben", (0.5, 0.2, 0.7, 0.6))
HOSTILE = ("Zoë Żółć", "山田太郎", "A <&> \"B\" 'C'", "]]>", "a, b; c", "😀", "&lt;b&gt;", "שלום")

FORMATS = {
    "jpg": {}, "png": {}, "webp": {"quality": 80}, "lossless.webp": {"lossless": True},
    "tif": {"compression": "tiff_lzw"}, "raw.tif": {},
}  # fmt: skip


@needs_exiftool
@pytest.mark.parametrize("name", FORMATS)
def test_exiftool_reads_embedded_names_and_nothing_else_has_changed(
    tmp_path: Path, name: str
) -> None:
    photo = save(tmp_path / f"photo.{name}", **FORMATS[name])
    exiftool("-overwrite_original", "-XMP-dc:Creator=Somebody", "-XMP-dc:Subject=beach", photo)
    before, were = photo.read_bytes(), tags(photo)
    write_regions(photo, [ANNA, BEN], "embedded")
    after, now = photo.read_bytes(), tags(photo)
    assert areas(photo) == {"Anna": [0.2, 0.4, 0.2, 0.4], "Ben": [0.6, 0.4, 0.2, 0.4]}
    info = now["XMP-mwg-rs:RegionInfo"]
    assert info["AppliedToDimensions"] == {"W": 60, "H": 40, "Unit": "pixel"}
    assert [region["Type"] for region in info["RegionList"]] == ["Face", "Face"]
    assert info["RegionList"][0]["Area"]["Unit"] == "normalized"
    assert now["XMP-dc:Subject"] == ["beach", "Anna", "Ben"]
    assert now["XMP-iptcExt:PersonInImage"] == ["Anna", "Ben"]
    assert pixels(after) == pixels(before)
    moved = ("XMP-dc:Subject", "IFD0:StripOffsets")  # where a TIFF's pixels lie
    for key, value in were.items():
        if key.split(":")[0] in ("IFD0", "ExifIFD", "XMP-dc", "ICC_Profile", "JFIF", "PNG"):
            assert key in moved or now[key] == value, key


@needs_exiftool
@pytest.mark.parametrize("ending", [b"", b"\0\0trailer", b"\xff\xd8\xff\xd9motion"])
def test_every_byte_of_a_jpeg_but_the_packet_stays(tmp_path: Path, ending: bytes) -> None:
    photo = save(tmp_path / "photo.jpg", comment=b"hello", icc_profile=b"x" * 200)
    photo.write_bytes(photo.read_bytes() + ending)
    before = photo.read_bytes()
    write_regions(photo, [ANNA], "embedded")
    after = photo.read_bytes()
    assert scan_data(after) == scan_data(before)
    start = after.index(b"\xff\xe1", after.index(b"Exif\0\0"))
    length = int.from_bytes(after[start + 2 : start + 4], "big")
    assert after[:start] + after[start + 2 + length :] == before


def test_every_picture_of_a_file_of_several_is_found_after_it(tmp_path: Path) -> None:
    """As phones write: portraits with a depth map, HDR with a gain map."""
    photo = tmp_path / "photo.jpg"
    picture().save(photo, "MPO", save_all=True, append_images=[picture(80, 60)])

    def pictures() -> list[bytes]:
        with Pillow.open(photo) as opened:
            return [one.tobytes() for one in ImageSequence.Iterator(opened)]

    before, whole = pictures(), photo.read_bytes()
    write_regions(photo, [ANNA], "embedded")
    write_regions(photo, [ANNA, BEN], "embedded")
    assert pictures() == before
    written = photo.read_bytes()
    start = written.index(b"\xff\xe1")
    xmp = written[start : start + 2 + int.from_bytes(written[start + 2 : start + 4], "big")]
    index = whole.index(b"\xff\xe2")
    behind = index + 2 + int.from_bytes(whole[index + 2 : index + 4], "big")
    photo.write_bytes(whole[:behind] + xmp + whole[behind:])
    with pytest.raises(InputError, match="lies among its pictures; use --xmp sidecar"):
        write_regions(photo, [Region("Carl", (0.8, 0.1, 0.9, 0.3))], "embedded")


@pytest.mark.parametrize("orientation", range(5, 9))
def test_areas_beside_those_of_the_upright_picture_are_of_it_too(
    tmp_path: Path, orientation: int
) -> None:
    photo = save(tmp_path / "photo.jpg", orientation=orientation)
    carl = mwg("Carl", "x=0.8 y=0.4 w=0.2 h=0.4 unit=normalized")
    body = listed(carl).replace('w="60"', 'w="40"').replace('h="40"', 'h="60"')
    sidecar(tmp_path, body)
    write_regions(photo, [ANNA], "sidecar")
    found = {region.name: region.box for region in read_regions(photo)}
    assert found["Anna"] == pytest.approx(ANNA.box, abs=1e-5)
    assert found["Carl"] == pytest.approx((0.7, 0.2, 0.9, 0.6), abs=1e-5)


@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_the_face_of_an_upright_area_is_renamed_and_others_are_added_beside_it(
    tmp_path: Path, orientation: int
) -> None:
    """Dimensions that EXIF leaves as they are do not tell; the face that an area shows does."""
    photo = save(tmp_path / "photo.jpg", orientation=orientation)
    sidecar(tmp_path, listed(mwg("Old", "x=0.2 y=0.4 w=0.2 h=0.4 unit=normalized")))
    write_regions(photo, [ANNA, Region("Ben", (0.05, 0.65, 0.2, 0.95))], "sidecar")
    written = Xmp((tmp_path / "photo.jpg.xmp").read_bytes(), "photo.jpg.xmp")
    found = {region.name: region.box for _, region in mwg_regions(written, 1, None)}
    assert found["Anna"] == pytest.approx(ANNA.box, abs=1e-5)
    assert found["Ben"] == pytest.approx((0.05, 0.65, 0.2, 0.95), abs=1e-5)
    assert len(found) == 2
    assert written.items(SUBJECT) == ["Anna", "Ben"]


@pytest.mark.parametrize("orientation", [3, 6])
def test_the_face_of_microsofts_upright_rectangle_is_renamed(
    tmp_path: Path, orientation: int
) -> None:
    photo = save(tmp_path / "photo.jpg", orientation=orientation)
    place = "<MPReg:Rectangle>0.1, 0.2, 0.2, 0.4</MPReg:Rectangle>"
    sidecar(tmp_path, microsoft("Old", place))
    write_regions(photo, [ANNA], "sidecar")
    written = (tmp_path / "photo.jpg.xmp").read_text()
    assert "Old" not in written
    assert written.count("0.1, 0.2, 0.2, 0.4") == 1


def test_faces_without_a_name_tell_too_how_areas_are_turned(tmp_path: Path) -> None:
    """Of Anna alone the area that EXIF turns upon her could be hers."""
    photo = save(tmp_path / "photo.jpg", orientation=3)
    others = (0.65, 0.4, 0.85, 0.8), (0.4, 0.1, 0.5, 0.3)
    body = [mwg("Old", "x=0.2 y=0.4 w=0.2 h=0.4"), mwg("Carl", "x=0.75 y=0.6 w=0.2 h=0.4"),
            mwg("Dora", "x=0.45 y=0.2 w=0.1 h=0.2")]  # fmt: skip
    sidecar(tmp_path, listed(*body))
    (change,) = plan_regions(photo, [ANNA], "sidecar", shown=[ANNA.box, *others])
    named = [region.name for _, region in mwg_regions(Xmp(change.after, "it"), 1, None)]
    assert named == ["Anna", "Carl", "Dora"]


def test_names_are_not_written_among_those_of_a_picture_cropped_since(tmp_path: Path) -> None:
    """Ben's region at Anna's place was drawn on the whole picture."""
    ben = mwg("Ben", "x=0.2 y=0.4 w=0.2 h=0.4 unit=normalized")
    photo = sidecar(tmp_path, listed(ben).replace('w="60"', 'w="100"'))
    before = (tmp_path / "photo.jpg.xmp").read_bytes()
    told = r"photo\.jpg\.xmp: its regions are of the picture before a crop \(100x40, not 60x40\)$"
    with pytest.raises(InputError, match=told):
        write_regions(photo, [ANNA], "sidecar")
    assert (tmp_path / "photo.jpg.xmp").read_bytes() == before


def test_the_size_of_a_list_without_regions_is_that_of_the_picture(tmp_path: Path) -> None:
    photo = sidecar(tmp_path, listed().replace('w="60"', 'w="100"'))
    write_regions(photo, [ANNA], "sidecar")
    assert read_regions(photo)[0].box == pytest.approx(ANNA.box, abs=1e-5)


@needs_exiftool
@pytest.mark.parametrize("orientation", range(1, 9))
def test_regions_are_of_the_stored_image(tmp_path: Path, orientation: int) -> None:
    """MWG 2.0, 5.9; expected areas by Exif 2.32's table 6 for a face at the upright upper left."""
    photo = save(tmp_path / "photo.jpg", orientation=orientation)
    write_regions(photo, [Region("Anna", (0.0, 0.0, 0.2, 0.4))], "embedded")
    stored = {
        1: [0.1, 0.2, 0.2, 0.4], 2: [0.9, 0.2, 0.2, 0.4],
        3: [0.9, 0.8, 0.2, 0.4], 4: [0.1, 0.8, 0.2, 0.4],
        5: [0.2, 0.1, 0.4, 0.2], 6: [0.2, 0.9, 0.4, 0.2],
        7: [0.8, 0.9, 0.4, 0.2], 8: [0.8, 0.1, 0.4, 0.2],
    }[orientation]  # fmt: skip
    assert areas(photo)["Anna"] == stored
    size = tags(photo)["XMP-mwg-rs:RegionInfo"]["AppliedToDimensions"]
    assert (size["W"], size["H"]) == (60, 40)
    (region,) = read_regions(photo)
    assert region.box == pytest.approx((0.0, 0.0, 0.2, 0.4), abs=1e-5)


@needs_exiftool
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_regions_of_a_developed_raw_file_are_of_it_as_stored(
    tmp_path: Path, orientation: int
) -> None:
    pytest.importorskip("rawpy")
    photo = tmp_path / "photo.dng"
    photo.write_bytes(dng(None, orientation))
    write_regions(photo, [Region("Anna", (0.0, 0.0, 0.2, 0.4))], "sidecar")
    stored = {3: [0.9, 0.8, 0.2, 0.4], 6: [0.2, 0.9, 0.4, 0.2], 8: [0.8, 0.1, 0.4, 0.2]}
    assert areas(tmp_path / "photo.dng.xmp")["Anna"] == stored[orientation]
    (region,) = read_regions(photo)
    assert region.box == pytest.approx((0.0, 0.0, 0.2, 0.4), abs=1e-5)


@needs_exiftool
def test_regions_of_others_stay_and_only_the_same_face_is_renamed(tmp_path: Path) -> None:
    photo = save(tmp_path / "photo.jpg")
    exiftool(
        "-overwrite_original",
        "-XMP-mwg-rs:RegionInfo={AppliedToDimensions={W=60,H=40,Unit=pixel},RegionList=["
        "{Area={X=0.21,Y=0.41,W=0.22,H=0.42,Unit=normalized},Name=Ann,Type=Face,Description=old},"
        "{Area={X=0.2,Y=0.4,W=0.2,H=0.4,Unit=normalized},Name=Rex,Type=Pet},"
        "{Area={X=0.9,Y=0.9,W=0.1,H=0.1,Unit=normalized},Type=BarCode,BarCodeValue=123},"
        "{Area={X=0.9,Y=0.2,W=0.1,H=0.1,Unit=normalized},Name=Carl,Type=Face}]}",
        "-XMP-dc:Subject=Ann", "-XMP-dc:Subject=beach", "-XMP-iptcExt:PersonInImage=Ann", photo,
    )  # fmt: skip
    write_regions(photo, [ANNA, BEN], "embedded")
    regions = tags(photo)["XMP-mwg-rs:RegionInfo"]["RegionList"]
    assert [region.get("Name") for region in regions] == ["Anna", "Rex", None, "Carl", "Ben"]
    assert regions[0]["Description"] == "old"
    assert float(regions[0]["Area"]["W"]) == 0.22
    assert str(regions[2]["BarCodeValue"]) == "123"
    assert tags(photo)["XMP-dc:Subject"] == ["beach", "Anna", "Ben"]
    assert tags(photo)["XMP-iptcExt:PersonInImage"] == ["Anna", "Ben"]


@needs_exiftool
@pytest.mark.parametrize("where", ["embedded", "sidecar"])
def test_tags_of_people_are_renamed_with_their_region(tmp_path: Path, where: Where) -> None:
    photo = save(tmp_path / "photo.jpg")
    lists = ("digiKam:TagsList", "microsoft:LastKeywordXMP")
    paths = ("lr:HierarchicalSubject", "mediapro:CatalogSets")
    exiftool(
        "-overwrite_original",
        *(f"-XMP-{key}={tag}" for key in lists for tag in
          ("People/Family/Ann", "Places/Ann", "People/Carl", "People/Ann", "Ann")),
        *(f"-XMP-{key}={tag}" for key in paths for tag in ("People|Ann", "Ann|People|Ann")),
        "-XMP-mwg-rs:RegionInfo={AppliedToDimensions={W=60,H=40,Unit=pixel},RegionList=["
        "{Area={X=0.21,Y=0.41,W=0.22,H=0.42,Unit=normalized},Name=Ann,Type=Face}]}",
        photo,
    )  # fmt: skip
    write_regions(photo, [ANNA, BEN], where)
    written = photo if where == "embedded" else tmp_path / "photo.jpg.xmp"
    found = tags(written)
    for key in lists:
        assert found[f"XMP-{key}"] == [
            "People/Family/Anna", "Places/Ann", "People/Carl", "People/Anna", "Ann"]  # fmt: skip
    for key in paths:
        assert found[f"XMP-{key}"] == ["People|Anna", "Ann|People|Ann"]
    # digiKam reads no other sort of array.
    assert re.search(rb"<digiKam:TagsList>\s*<rdf:Seq>", written.read_bytes())


@needs_exiftool
def test_a_name_that_only_microsofts_region_had_leaves_the_keywords(tmp_path: Path) -> None:
    photo = save(tmp_path / "photo.jpg")
    people = "{Regions=[{PersonDisplayName=Ann,Rectangle=0.1|, 0.2|, 0.2|, 0.4}]}"
    exiftool("-overwrite_original", f"-XMP-MP:RegionInfoMP={people}", "-XMP-dc:Subject=Ann", photo)
    write_regions(photo, [ANNA], "embedded")
    assert tags(photo)["XMP-dc:Subject"] == ["Anna"]
    assert [region.name for region in read_regions(photo)] == ["Anna"]


@needs_exiftool
@pytest.mark.parametrize("where", ["embedded", "sidecar"])
@pytest.mark.parametrize("charset", ["utf8", "latin1"])
def test_the_first_keywords_in_xmp_are_those_of_iim(
    tmp_path: Path, where: Where, charset: str
) -> None:
    photo = save(tmp_path / "photo.jpg")
    coded = ["-CodedCharacterSet=UTF8"] if charset == "utf8" else []
    exiftool(
        "-overwrite_original", "-charset", f"iptc={charset}", *coded,
        "-IPTC:Keywords=Strände", "-IPTC:Keywords=a, b", "-XMP:Rating=5", photo,
    )  # fmt: skip
    write_regions(photo, [ANNA], where)
    written = photo if where == "embedded" else tmp_path / "photo.jpg.xmp"
    assert tags(written)["XMP-dc:Subject"] == ["Strände", "a, b", "Anna"]
    exiftool("-overwrite_original", "-IPTC:Keywords+=later", photo)
    write_regions(photo, [ANNA, BEN], where)
    assert tags(written)["XMP-dc:Subject"] == ["Strände", "a, b", "Anna", "Ben"]


@needs_exiftool
@pytest.mark.parametrize("where", ["embedded", "sidecar"])
def test_names_of_all_scripts_come_back(tmp_path: Path, where: str) -> None:
    photo = save(tmp_path / "photo.jpg")
    faces = [Region(n, (i / 10, 0.1, i / 10 + 0.08, 0.3)) for i, n in enumerate(HOSTILE)]
    write_regions(photo, faces, where)  # type: ignore[arg-type]
    written = photo if where == "embedded" else tmp_path / "photo.jpg.xmp"
    assert list(areas(written)) == list(HOSTILE)
    assert tags(written)["XMP-iptcExt:PersonInImage"] == list(HOSTILE)
    assert [region.name for region in read_regions(photo)] == list(HOSTILE)


@pytest.mark.parametrize("where", ["embedded", "sidecar"])
@pytest.mark.parametrize("name", ['type="Struct"', "type=x y", "a\ufffeb", "a\x0bb"])
def test_a_name_that_xmp_cannot_hold_is_one_line(tmp_path: Path, name: str, where: str) -> None:
    photo = save(tmp_path / "photo.jpg")
    before = photo.read_bytes()
    with pytest.raises(InputError, match="cannot be written as XMP") as caught:
        write_regions(photo, [Region(name, (0.1, 0.1, 0.3, 0.3))], where)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert photo.read_bytes() == before
    assert list(tmp_path.iterdir()) == [photo]


def test_a_name_is_written_composed(tmp_path: Path) -> None:
    photo = save(tmp_path / "photo.jpg")
    write_regions(photo, [Region(" Zoe\u0308", (0.1, 0.1, 0.3, 0.3))], "embedded")
    assert [region.name for region in read_regions(photo)] == ["Zoë"]


@pytest.mark.parametrize("names", [("photo.jpg.xmp", "photo.xmp"), ("photo.jpg.XMP",)])
def test_every_sidecar_that_is_there_is_written(tmp_path: Path, names: tuple[str, ...]) -> None:
    photo = save(tmp_path / "photo.jpg")
    for name in names:
        (tmp_path / name).write_bytes(b"")
    changes = write_regions(photo, [ANNA], "sidecar")
    assert [change.path.name for change in changes] == list(names)
    assert [region.name for region in read_regions(photo)] == ["Anna"]


@needs_exiftool
def test_thirty_faces_fit_into_a_jpeg(tmp_path: Path) -> None:
    photo = save(tmp_path / "photo.jpg")
    faces = [Region(f"Person {n:02d}", (n / 40, 0.1, n / 40 + 0.02, 0.2)) for n in range(30)]
    write_regions(photo, faces, "embedded")
    assert len(areas(photo)) == 30


def test_writing_again_changes_nothing(tmp_path: Path) -> None:
    photo = save(tmp_path / "photo.jpg")
    for where in ("embedded", "sidecar"):
        write_regions(photo, [ANNA], where)  # type: ignore[arg-type]
        before = photo.read_bytes()
        assert write_regions(photo, [ANNA], where) == []  # type: ignore[arg-type]
        assert photo.read_bytes() == before


def test_the_sidecar_that_is_there_is_written(tmp_path: Path) -> None:
    photo = save(tmp_path / "photo.jpg")
    packet = write_regions(photo, [BEN], "sidecar")[0].after
    (tmp_path / "photo.jpg.xmp").rename(tmp_path / "photo.xmp")
    (change,) = write_regions(photo, [ANNA], "sidecar")
    assert change.path == tmp_path / "photo.xmp"
    assert change.before == packet
    assert {region.name for region in read_regions(photo)} == {"Anna", "Ben"}


def test_beside_a_raw_file_the_short_name_is_the_raw_files(tmp_path: Path) -> None:
    photo = save(tmp_path / "photo.jpg")
    (tmp_path / "photo.cr2").write_bytes(b"raw")
    (tmp_path / "photo.xmp").write_bytes(b"")
    (change,) = write_regions(photo, [ANNA], "sidecar")
    assert change.path == tmp_path / "photo.jpg.xmp"


@pytest.mark.parametrize("sibling", ["photo.JPG", "photo.jpg", "photo.CR3", "photo.tif"])
def test_a_raw_files_short_sidecar_is_its_own_whatever_lies_beside(
    tmp_path: Path, sibling: str
) -> None:
    photo = tmp_path / "photo.nef"
    picture().save(photo, "TIFF")
    (tmp_path / sibling).write_bytes(b"another image")
    (tmp_path / "photo.xmp").write_bytes(b"")
    assert sidecars(photo) == sidecars_to_write(photo) == [tmp_path / "photo.xmp"]


@pytest.mark.parametrize(
    "sibling",
    ["photo.MOV", "photo.AAE", "photo.THM", "photo.WAV", "photo.pp3", "photo.txt", "photo",
     "photos.png", "photo.jpg.pp3", "photo.jpg.png"],
)  # fmt: skip
def test_what_is_no_image_of_that_name_leaves_the_short_sidecar(
    tmp_path: Path, sibling: str
) -> None:
    photo = save(tmp_path / "photo.jpg")
    (tmp_path / sibling).write_bytes(b"something")
    (tmp_path / "photo.xmp").write_bytes(b"")
    (change,) = write_regions(photo, [ANNA], "sidecar")
    assert change.path == tmp_path / "photo.xmp"
    assert [region.name for region in read_regions(photo)] == ["Anna"]


def test_a_sidecar_of_several_images_is_not_read_and_that_is_told(tmp_path: Path) -> None:
    photo = sidecar(tmp_path, listed(), "photo.xmp")
    assert read_metadata(photo).problems == ()
    save(tmp_path / "photo.png")
    told = f"{tmp_path}/photo.xmp: is not read: it may be that of photo.jpg or photo.png"
    assert read_metadata(photo).problems == (told,)
    assert read_metadata(tmp_path / "photo.png").problems == (told,)
    assert sidecars_to_write(photo) == [tmp_path / "photo.jpg.xmp"]
    (tmp_path / "photo.nef").write_bytes(b"raw")
    assert read_metadata(photo).problems == ()


@pytest.mark.parametrize("name", ["Zoë.jpg.xmp", "Zoë.xmp"])
@pytest.mark.parametrize(("photos", "files"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_in_sidecars_names_may_be_composed_or_not(
    tmp_path: Path, name: str, photos: Form, files: Form
) -> None:
    photo = save(tmp_path / normalize(photos, "Zoë.jpg"))
    path = tmp_path / normalize(files, name)
    path.write_bytes(b"")
    assert sidecars(photo) == [path]
    save(tmp_path / normalize(files, "Zoë.png"))
    assert sidecars(photo) == ([path] if "jpg" in name else [])


@needs_exiftool
def test_a_new_sidecar_begins_with_what_the_photo_says(tmp_path: Path) -> None:
    photo = save(tmp_path / "photo.jpg")
    exiftool("-overwrite_original", "-XMP-dc:Subject=beach", photo)
    before = photo.read_bytes()
    write_regions(photo, [ANNA], "sidecar")
    assert tags(tmp_path / "photo.jpg.xmp")["XMP-dc:Subject"] == ["beach", "Anna"]
    assert photo.read_bytes() == before


@needs_exiftool
@pytest.mark.parametrize("suffix", ["dng", "tif", "jp2", "jxl"])
def test_a_new_sidecar_hides_nothing_that_a_file_says_which_is_not_written(
    tmp_path: Path, suffix: str
) -> None:
    photo = tmp_path / f"photo.{suffix}"
    if suffix == "jp2":
        picture().save(photo)
    elif suffix == "jxl":
        pytest.importorskip("pillow_jxl")
        save(photo)
    else:
        pytest.importorskip("rawpy")
        photo.write_bytes(dng(encoded(picture(1500, 1000)), 1))
    regions = (
        "-XMP-mwg-rs:RegionInfo={AppliedToDimensions={W=1500,H=1000,Unit=pixel},RegionList=["
        "{Area={X=0.6,Y=0.4,W=0.2,H=0.4,Unit=normalized},Name=Ben,Type=Face}]}"
    )
    exiftool("-overwrite_original", "-XMP-dc:Subject=beach", "-XMP:Rating=5", regions, photo)
    assert [region.name for region in read_regions(photo)] == ["Ben"]
    before = photo.read_bytes()
    write_regions(photo, [ANNA], "embedded")
    written = tags(tmp_path / f"photo.{suffix}.xmp")
    assert (written["XMP-dc:Subject"], written["XMP-xmp:Rating"]) == (["beach", "Anna"], 5)
    assert {region.name for region in read_regions(photo)} == {"Ben", "Anna"}
    assert photo.read_bytes() == before


def test_compressed_xmp_is_told_and_no_new_sidecar_hides_it(tmp_path: Path) -> None:
    pytest.importorskip("pillow_jxl")
    photo = save(tmp_path / "photo.jxl")
    whole = photo.read_bytes()
    photo.write_bytes(whole + struct.pack(">I", 16) + b"brobxml \x0b\x02\x80\x03")
    told = f"{photo}: its XMP is compressed (Brotli), and not read"
    assert read_metadata(photo).problems == (told,)
    with pytest.raises(InputError) as caught:
        write_regions(photo, [ANNA], "embedded")
    assert str(caught.value) == told
    (tmp_path / "photo.jxl.xmp").write_bytes(write_elsewhere(tmp_path, whole))
    write_regions(photo, [ANNA, BEN], "sidecar")
    assert {region.name for region in read_metadata(photo).regions} == {"Ben", "Anna"}


def write_elsewhere(folder: Path, data: bytes) -> bytes:
    """The sidecar with Anna of the same picture."""
    (folder / "other.jxl").write_bytes(data)
    return write_regions(folder / "other.jxl", [ANNA], "sidecar")[0].after


def test_a_sidecar_is_written_also_where_the_photo_has_the_names(tmp_path: Path) -> None:
    photo = save(tmp_path / "photo.jpg")
    write_regions(photo, [ANNA], "embedded")
    (change,) = write_regions(photo, [ANNA], "sidecar")
    assert (change.path.name, change.names) == ("photo.jpg.xmp", ("Anna",))
    assert write_regions(photo, [ANNA], "sidecar") == []


@pytest.mark.parametrize(
    "body",
    [
        listed(mwg("Old", "x=0.2 y=0.4 w=0.2 h=0.4")),
        microsoft("Old", "<MPReg:Rectangle>0.1, 0.2, 0.2, 0.4</MPReg:Rectangle>"),
    ],
)
def test_a_sidecar_that_names_people_is_written_with_the_photo(tmp_path: Path, body: str) -> None:
    photo = sidecar(tmp_path, body)
    changes = write_regions(photo, [ANNA], "embedded")
    assert [change.path.name for change in changes] == ["photo.jpg", "photo.jpg.xmp"]
    assert [region.name for region in read_regions(photo)] == ["Anna"]
    assert write_regions(photo, [ANNA], "embedded") == []


def test_a_sidecar_of_nobody_stays_as_it_is_beside_a_written_photo(tmp_path: Path) -> None:
    photo = sidecar(tmp_path, "<dc:subject><rdf:Bag><rdf:li>beach</rdf:li></rdf:Bag></dc:subject>")
    (change,) = write_regions(photo, [ANNA], "embedded")
    assert change.path == photo
    assert [region.name for region in read_regions(photo)] == ["Anna"]


@needs_exiftool
@pytest.mark.parametrize("suffix", ["avif", "heic", "jxl"])
def test_what_exiv2_cannot_write_gets_a_sidecar(tmp_path: Path, suffix: str) -> None:
    photo = tmp_path / f"photo.{suffix}"
    if suffix == "heic":
        heif = pytest.importorskip("pillow_heif")
        heif.from_pillow(picture(64, 48)).save(photo)
    elif suffix == "jxl":
        pytest.importorskip("pillow_jxl")
        save(photo)
    else:
        save(photo)
    before = photo.read_bytes()
    (change,) = write_regions(photo, [ANNA], "embedded")
    assert change.path == tmp_path / f"photo.{suffix}.xmp"
    assert photo.read_bytes() == before
    assert list(areas(change.path)) == ["Anna"]
    assert [region.name for region in read_regions(photo)] == ["Anna"]


@pytest.mark.parametrize("name", ["photo.nef", "photo.dng", "photo.tif"])
def test_a_cameras_raw_file_is_not_written(tmp_path: Path, name: str) -> None:
    """Most are TIFF files; a DNG is told by its tag, whatever its name."""
    photo = tmp_path / name
    tagged = {0xC612: b"\1\4\0\0"} if name == "photo.tif" else {}
    picture().save(photo, "TIFF", tiffinfo=tagged)
    assert embeddable(photo.read_bytes(), name) is None
    assert embeddable(photo.read_bytes(), "scan.tif") == (None if tagged else "TIFF")


def test_a_photo_keeps_its_mode(tmp_path: Path) -> None:
    photo = save(tmp_path / "photo.jpg")
    photo.chmod(0o640)
    write_regions(photo, [ANNA], "embedded")
    assert photo.stat().st_mode & 0o777 == 0o640


def test_a_packet_too_long_for_a_jpeg_is_refused_and_fits_a_sidecar(tmp_path: Path) -> None:
    photo = save(tmp_path / "photo.jpg")
    faces = [Region("x" * 300 + str(n), (n / 200, 0.1, n / 200 + 0.004, 0.2)) for n in range(150)]
    before = photo.read_bytes()
    with pytest.raises(InputError, match="too many for a JPEG; use --xmp sidecar"):
        write_regions(photo, faces, "embedded")
    assert photo.read_bytes() == before
    write_regions(photo, faces, "sidecar")
    assert len(read_regions(photo)) == 150


@pytest.mark.parametrize(
    "value",
    ['<q:t>type="Struct" but a text</q:t>', '<q:t rdf:parseType="Literal"><q:b>x</q:b></q:t>'],
)
def test_xmp_that_exiv2_would_not_keep_is_left_alone(tmp_path: Path, value: str) -> None:
    photo = save(tmp_path / "photo.jpg")
    sidecar = tmp_path / "photo.jpg.xmp"
    sidecar.write_text(
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf='
        '"http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f'xmlns:q="urn:q/">{value}</rdf:Description></rdf:RDF></x:xmpmeta>'
    )
    before = sidecar.read_bytes()
    with pytest.raises(InputError, match=r"exiv2 would not keep|cannot be read by exiv2"):
        write_regions(photo, [ANNA], "sidecar")
    assert sidecar.read_bytes() == before


def test_a_linked_photo_stays_a_link(tmp_path: Path) -> None:
    save(tmp_path / "real.jpg")
    link = tmp_path / "photo.jpg"
    link.symlink_to("real.jpg")
    write_regions(link, [ANNA], "embedded")
    assert link.readlink() == Path("real.jpg")
    assert [region.name for region in read_regions(tmp_path / "real.jpg")] == ["Anna"]


def test_a_tiff_whose_second_picture_is_none_stays_as_it_is(tmp_path: Path) -> None:
    photo = save(tmp_path / "photo.tif")
    data = bytearray(photo.read_bytes())
    (first,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * entries, len(data))
    photo.write_bytes(data + bytes(6))
    with pytest.raises(InputError, match="may not keep its pixels"):
        write_regions(photo, [ANNA], "embedded")
    assert photo.read_bytes() == data + bytes(6)
