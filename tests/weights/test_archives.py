"""Archives of strangers."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from facerec.errors import MissingError
from facerec.weights.archives import extract


def make_zip(path: Path, *names: str, mode: int = 0o100644, content: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(member, content)
    return path


def make_tar(path: Path, name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Path:
    with tarfile.open(path, "w:gz") as file:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, link
        member.size = 1 if kind == tarfile.REGTYPE else 0
        file.addfile(member, io.BytesIO(b"x"))
    return path


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out", "..\\out", "C:\\out"])
def test_nothing_is_written_outside_the_folder(tmp_path: Path, name: str) -> None:
    for archive in (make_zip(tmp_path / "a.zip", name), make_tar(tmp_path / "a.tgz", name)):
        with pytest.raises(MissingError, match="outside its folder"):
            extract(archive, tmp_path / "extracted")
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "a.tgz"}


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    archive = make_tar(tmp_path / "a.tgz", "link", kind, "/etc/passwd")
    with pytest.raises(MissingError, match="link or a device"):
        extract(archive, tmp_path / "extracted")
    with pytest.raises(MissingError, match="link or a device"):
        extract(make_zip(tmp_path / "a.zip", "l", mode=0o120777), tmp_path / "extracted")
    assert not (tmp_path / "extracted").exists()


def test_size_and_number_are_bounded(tmp_path: Path) -> None:
    bomb = make_zip(tmp_path / "bomb.zip", "zeros", content=bytes(1 << 22))
    with pytest.raises(MissingError, match="more than 1000000 bytes"):
        extract(bomb, tmp_path / "extracted", most_bytes=1_000_000)
    many = make_zip(tmp_path / "many.zip", *map(str, range(20)))
    with pytest.raises(MissingError, match="more than 10 members"):
        extract(many, tmp_path / "extracted", most_members=10)
    assert not (tmp_path / "extracted").exists()


def test_unicode_names_and_folders_survive(tmp_path: Path) -> None:
    extract(make_zip(tmp_path / "a.zip", "Zoë/写真.jpg"), tmp_path / "z")
    extract(make_tar(tmp_path / "a.tgz", "Zoë/写真.jpg"), tmp_path / "t")
    assert (tmp_path / "z" / "Zoë" / "写真.jpg").read_bytes() == b"x"
    assert (tmp_path / "t" / "Zoë" / "写真.jpg").read_bytes() == b"x"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"<html>"])
def test_what_is_no_archive_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(MissingError, match="damaged archive"):
        extract(tmp_path / "a.zip", tmp_path / "extracted")
    assert not (tmp_path / "extracted").exists()
