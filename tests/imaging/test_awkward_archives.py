"""Tars and zips as the field sends them: all that can be read is, and the rest is named."""

from __future__ import annotations

import gzip
import io
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from facerec.errors import InputError, UsageError
from facerec.imaging.archives import open_source
from facerec.imaging.code_pages import decode_names
from facerec.imaging.sources import find_photos, list_people, photo_tree

FILES = {"ann/1.jpg": os.urandom(1300), "ann/2.jpg": os.urandom(700), "bob/1.jpg": os.urandom(900)}


def tar_of(files: Mapping[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return target.getvalue()


def zip_of(files: Mapping[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()


def read(place: Path) -> tuple[dict[str, bytes], list[str]]:
    """What can be read of an archive, by key, and what is said of the rest."""
    good: dict[str, bytes] = {}
    errors = []
    for photo in find_photos([place]):
        try:
            good[photo.key] = photo.read()
        except InputError as error:
            errors.append(str(error))
    return good, errors


def test_a_tar_that_is_cut_off_gives_what_is_before(tmp_path: Path) -> None:
    place = tmp_path / "a.tar"
    place.write_bytes(tar_of(FILES)[: 512 + 1536 + 512 + 300])
    good, errors = read(place)
    assert good == {"ann/1.jpg": FILES["ann/1.jpg"]}
    assert [error.rpartition("a.tar: ")[2] for error in errors] == [
        "ends within ann/2.jpg", "is cut off, or damaged; photos may be missing",
    ]  # fmt: skip
    # What is measured or trained on is all of it, or nothing.
    with pytest.raises(UsageError, match="is cut off"):
        open_source(place)
    with pytest.raises(InputError, match="is cut off"):
        photo_tree(place)


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar"])
def test_a_compressed_tar_that_is_cut_off_gives_what_is_before(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    whole = gzip.compress(tar_of(FILES), mtime=0)
    place.write_bytes(whole)
    assert read(place) == (FILES, [])
    place.write_bytes(whole[: len(whole) * 2 // 3])
    good, errors = read(place)
    assert "ann/1.jpg" in good
    assert "is cut off" in errors[-1]


def test_a_tars_damaged_header_loses_one_file_and_is_told(tmp_path: Path) -> None:
    place = tmp_path / "a.tar"
    data = bytearray(tar_of(FILES))
    data[512 + 1536 + 5] ^= 0xFF
    place.write_bytes(data)
    good, errors = read(place)
    assert good.keys() == {"ann/1.jpg", "bob/1.jpg"}
    assert errors == [f"{place}: a part of it is damaged; photos may be missing"]
    with pytest.raises(UsageError, match="a part of it is damaged"):
        open_source(place)


def test_tars_one_after_the_other_are_one(tmp_path: Path) -> None:
    place = tmp_path / "a.tar"
    place.write_bytes(tar_of({"ann/1.jpg": b"a"}) + tar_of({"bob/1.jpg": b"b"}))
    assert read(place) == ({"ann/1.jpg": b"a", "bob/1.jpg": b"b"}, [])


def test_what_follows_a_tars_end_is_no_damage(tmp_path: Path) -> None:
    place = tmp_path / "a.tar"
    place.write_bytes(tar_of(FILES) + b"signature" * 200)
    assert read(place) == (FILES, [])


def _sparse() -> bytes:
    """As GNU tar's `--sparse` stores 3000 bytes, of which the middle 1000 are a hole."""
    header = bytearray(tarfile.TarInfo("ann/1.jpg").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"%011o\0" % 2000
    header[156:157] = tarfile.GNUTYPE_SPARSE
    for place, number in ((386, 0), (398, 1000), (410, 2000), (422, 1000), (483, 3000)):
        header[place : place + 12] = b"%011o\0" % number
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + b"x" * 1000 + b"y" * 1000 + b"\0" * 48


def test_a_sparse_member_of_a_tar_is_read(tmp_path: Path) -> None:
    place = tmp_path / "a.tar"
    place.write_bytes(_sparse() + tar_of({"bob/1.jpg": b"b"}))
    whole = b"x" * 1000 + b"\0" * 1000 + b"y" * 1000
    assert read(place) == ({"ann/1.jpg": whole, "bob/1.jpg": b"b"}, [])


def _without_flag(data: bytes) -> bytes:
    """A zip that does not say that its names are UTF-8, as macOS writes it."""
    changed = bytearray(data)
    for mark, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        place = changed.find(mark)
        while place >= 0:
            changed[place + flags + 1] &= ~0x08
            place = changed.find(mark, place + 1)
    return bytes(changed)


def _people(place: Path) -> list[str]:
    return [person for person, _ in list_people([place])]


def test_utf8_names_of_a_zip_that_does_not_say_so_are_read(tmp_path: Path) -> None:
    place = tmp_path / "a.zip"
    place.write_bytes(_without_flag(zip_of({"Jürgen/1.jpg": b"j", "山田/1.jpg": b"y"})))
    assert _people(place) == ["Jürgen", "山田"]


@pytest.mark.parametrize("matches", [True, False])
def test_a_zips_names_by_extra_field_are_read(tmp_path: Path, matches: bool) -> None:
    stored = b"J\x81rgen/1.jpg"
    field = struct.pack("<BL", 1, zlib.crc32(stored) ^ (not matches)) + "Юрий/1.jpg".encode()
    place = tmp_path / "a.zip"
    with zipfile.ZipFile(place, "w") as archive:
        member = zipfile.ZipInfo("J_rgen/1.jpg")
        member.extra = struct.pack("<HH", 0x7075, len(field)) + field
        archive.writestr(member, b"j")
    place.write_bytes(place.read_bytes().replace(b"J_rgen/1.jpg", stored))
    assert _people(place) == ["Юрий" if matches else "Jürgen"]


def _in_code_page(encoding: str, *names: str) -> bytes:
    """A zip whose names are in a code page and that does not say so, as old Windows tools write."""
    placeholders = {f"{number:04}".ljust(len(name.encode(encoding)), "_"): name
                    for number, name in enumerate(names)}  # fmt: skip
    data = zip_of(dict.fromkeys(placeholders, b"x"))
    for placeholder, name in placeholders.items():
        data = data.replace(placeholder.encode(), name.encode(encoding))
    return data


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        # What Windows' Explorer and 7-Zip write: the code page of the country's DOS.
        ("cp437", ["Jürgen", "André"]),
        ("cp850", ["Søren", "João", "ann"]),
        ("cp850", ["Álvaro"]),
        ("cp932", ["山田太郎", "鈴木"]),
        ("cp932", ["さくら"]),
        # Their second byte is a backslash.
        ("cp932", ["ソニア", "表 十子"]),
        ("cp932", ["佐々木", "髙橋"]),
        ("cp949", ["김철수", "박지성"]),
        ("gbk", ["李小龙", "王芳"]),
        ("cp950", ["陳美玲", "王小明"]),
        ("cp866", ["Иван Петров", "Ольга"]),
        ("cp852", ["Łukasz", "Błażej"]),
        # What others write there: Windows' own.
        ("cp1252", ["Jürgen", "Françoise", "Øystein Ås"]),
        ("cp1252", ["JOSÉ"]),
        ("cp1251", ["Иван Петров", "Ольга"]),
        ("cp1250", ["Łukasz", "Błażej"]),
    ],
)
def test_a_zips_names_in_a_code_page_are_read_and_the_guess_is_told(
    encoding: str, names: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "a.zip"
    place.write_bytes(_in_code_page(encoding, *(f"{name}/1.jpg" for name in names)))
    assert sorted(_people(place)) == sorted(names)
    told = f"they look like {encoding}, such as {names[0]}/1.jpg"
    # Code page 437 is what the format says.
    assert (told in caplog.text) == (encoding != "cp437")
    assert caplog.text.count("encoded") == (encoding != "cp437")


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("latin-1", ["Jürgen", "André"]),
        ("cp932", ["山田太郎", "ソニア"]),
        ("gbk", ["李小龙", "王芳"]),
    ],
)
def test_a_tars_names_that_are_no_utf8_are_read_and_the_guess_is_told(
    encoding: str, names: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "a.tar"
    with tarfile.open(place, "w", format=tarfile.GNU_FORMAT, encoding=encoding) as archive:
        for name in ["ann", *names]:
            member = tarfile.TarInfo(f"{name}/1.jpg")
            member.size = 1
            archive.addfile(member, io.BytesIO(b"x"))
        link = tarfile.TarInfo("bob/1.jpg")
        link.type, link.linkname = tarfile.LNKTYPE, f"{names[0]}/1.jpg"
        archive.addfile(link)
    assert sorted(_people(place)) == sorted(["ann", "bob", *names])
    assert read(place)[0]["bob/1.jpg"] == b"x"
    page = "cp1252" if encoding == "latin-1" else encoding
    assert caplog.text.count(f"look like {page}, such as {names[0]}/1.jpg") == 2


def test_names_of_a_zip_that_two_tools_wrote_are_read_each(tmp_path: Path) -> None:
    place = tmp_path / "a.zip"
    mixed = _in_code_page("cp850", "Søren/1.jpg", "Zoe/1.jpg").replace(b"Zoe", "Ü".encode() + b"l")
    place.write_bytes(mixed)
    assert _people(place) == ["Søren", "Ül"]


def test_of_many_names_in_a_code_page_some_decide() -> None:
    names = [f"{number}/鈴木.jpg".encode("cp932") for number in range(50_000)]
    decoded, encoding = decode_names(names)
    assert (encoding, decoded[-1]) == ("cp932", "49999/鈴木.jpg")


@pytest.mark.parametrize(
    "names",
    [
        ["/x/ann/1.jpg", "C:\\x\\bob\\1.jpg"],
        ["ann/1.jpg", "/bob/1.jpg"],
        ["C:\\x\\ann\\1.jpg", "D:\\x\\bob\\1.jpg"],
        ["\\\\server\\share\\ann\\1.jpg", "\\\\server\\share\\bob\\1.jpg"],
    ],
)
def test_whole_paths_in_a_zip_name_people_by_their_folders(
    names: list[str], tmp_path: Path
) -> None:
    place = tmp_path / "a.zip"
    with zipfile.ZipFile(place, "w") as archive:
        for name in names:
            member = zipfile.ZipInfo("_")
            member.filename = name
            archive.writestr(member, b"x")
    assert sorted(_people(place)) == ["ann", "bob"]


def test_links_in_a_zip_are_read_or_named(tmp_path: Path) -> None:
    place = tmp_path / "a.zip"
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("ann/1.jpg", b"a")
        for name, target in (("bob/1.jpg", "../ann/1.jpg"), ("cid/1.jpg", "/etc/passwd")):
            link = zipfile.ZipInfo(name)
            link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
            archive.writestr(link, target)
    good, errors = read(place)
    assert good == {"ann/1.jpg": b"a", "bob/1.jpg": b"a"}
    assert errors == [f"{place}: cid/1.jpg is a link to /etc/passwd, not in there"]


def test_an_encrypted_zip_says_so(tmp_path: Path) -> None:
    place = tmp_path / "a.zip"
    data = bytearray(zip_of({"ann/1.jpg": b"a"}))
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    place.write_bytes(data)
    (error,) = read(place)[1]
    assert error == f"{place}: ann/1.jpg is encrypted; unpack the zip with its password"


def test_a_name_that_a_zip_holds_twice_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "a.zip"
    with zipfile.ZipFile(place, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("ann/1.jpg", b"old")
        archive.writestr("ann/1.jpg", b"new")
    assert read(place) == ({"ann/1.jpg": b"new"}, [])
    assert "holds ann/1.jpg more than once" in caplog.text


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.zip", zip_of(FILES)[:-30], "is a zip that is cut off"),
        ("a.tar", b"7z\xbc\xaf\x27\x1c" + b"\0" * 600, "is a 7z archive, neither a tar nor a zip"),
        ("a.zip", b"<!DOCTYPE html><html>404", "is a web page, neither a tar nor a zip"),
        ("a.tar.xz", b"\x28\xb5\x2f\xfd" + b"\0" * 600, "is a Zstandard file, neither"),
    ],
)
def test_what_is_no_archive_is_called_by_its_kind(
    tmp_path: Path, name: str, data: bytes, told: str
) -> None:
    place = tmp_path / name
    place.write_bytes(data)
    good, (error,) = read(place)
    assert not good
    assert told in error


def test_a_zip_called_tar_is_a_zip(tmp_path: Path) -> None:
    place = tmp_path / "a.tar"
    place.write_bytes(zip_of(FILES))
    assert read(place) == (FILES, [])


def test_a_name_of_characters_that_a_code_page_has_twice_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stored = "山田".encode("cp932") + b"\xfa\x5d/1.jpg"
    assert stored.decode("cp932").encode("cp932") != stored
    place = tmp_path / "a.zip"
    place.write_bytes(zip_of({"x" * len(stored): b"x"}).replace(b"x" * len(stored), stored))
    assert _people(place) == [stored.decode("cp932")[:-6]]
    assert "look like cp932" in caplog.text
