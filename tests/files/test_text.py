"""Every list that a person writes is read in UTF-8 with and without a mark and in UTF-16."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from facerec.aligned_tree import _read_manifest
from facerec.cleanup.findings import read_decisions
from facerec.errors import FacerecError, UsageError
from facerec.evaluation.detection import read_wider_face
from facerec.evaluation.groups import read_groups
from facerec.evaluation.protocols.pairs import open_protocol
from facerec.files.text import counted, decode_text
from facerec.imaging.archives import open_source
from facerec.imaging.labels import read_labels
from facerec.imaging.sources import find_photos
from facerec.profile.loading import Profile
from facerec.training.data.opening import _read_people

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-be-marked", "utf-32"]


def encode(text: str, encoding: str) -> bytes:
    text = text.replace("\n", "\r\n")
    if encoding == "utf-16-be-marked":
        return "\ufeff".encode("utf-16-be") + text.encode("utf-16-be")
    return text.encode(encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_text_is_decoded_without_its_mark(encoding: str) -> None:
    assert decode_text(encode("Zoë\nAnn", encoding), "list").splitlines() == ["Zoë", "Ann"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"ann\nzo\xeb\n", r"list:2: not UTF-8 text \(byte 0xEB\); save it as UTF-8"),
        ("ann\n".encode("utf-16-le"), "list: not text, or UTF-16 without its mark"),
        (b"\xff\xfea\0b", "list:1: not UTF-16"),
    ],
)
def test_what_is_no_text_is_named_with_its_line(data: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        decode_text(data, "list")


def label_of(path: Path) -> object:
    with tarfile.open(path.with_suffix(".tar"), "w") as archive:
        archive.add(path, "1.cls")
        archive.addfile(tarfile.TarInfo("1.jpg"), io.BytesIO())
    return list(read_labels(open_source(path.with_suffix(".tar"))).values())


READERS: dict[str, tuple[str, Callable[[Path], object], object]] = {
    "people": ("Zoë \n\nAnn\n", _read_people, {"Zoë", "Ann"}),
    "pairs": (
        "Zoë/1.jpg Zoë/2.jpg 1 \n\nZoë/1.jpg Ann/1.jpg 0\t\n",
        lambda path: open_protocol("pairs", path.parent, path)[0].keys,
        ("Zoë/1.jpg", "Zoë/2.jpg", "Ann/1.jpg"),
    ),
    "groups": ("Zoë,a\nAnn,b\n", read_groups, {"Zoë": "a", "Ann": "b"}),
    "label": ("Zoë\n", label_of, ["Zoë"]),
    "wider face": (
        "Zoë.jpg\n1\n1 2 30 40 0\n",
        lambda path: [one.key for one in read_wider_face(path)],
        ["Zoë.jpg"],
    ),
    "profile": (
        "gallery:\n  path: Zoë.h5\n",
        lambda path: Profile.load(str(path)).gallery.path,
        "Zoë.h5",
    ),
    "decisions": ('{"decisions": {}}\n', lambda path: read_decisions(path, []), {}),
    "manifest": (
        '{"settings": {}}\n{"source": "Zoë.jpg"}\n',
        lambda path: _read_manifest(path, {})[0],
        {"Zoë.jpg"},
    ),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", READERS)
def test_every_list_is_read(kind: str, encoding: str, tmp_path: Path) -> None:
    text, read, expected = READERS[kind]
    path = tmp_path / "list.yaml"
    path.write_bytes(encode(text, encoding))
    assert read(path) == expected


@pytest.mark.parametrize("kind", READERS)
def test_a_list_of_another_encoding_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    text, read, _ = READERS[kind]
    path = tmp_path / "list.yaml"
    path.write_bytes(text.replace("{}", '{"Zoë": 1}').encode("cp1252"))
    with pytest.raises(FacerecError, match=r"^[^\n]+$"):
        read(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be-marked"])
def test_paths_on_stdin_are_read(encoding: str) -> None:
    names = ["Zoë/1.jpg", "b c.jpg"]
    text = "\n".join(names) + "\n\n"
    listed = find_photos(["-"], stdin=io.BytesIO(encode(text, encoding)))
    assert [photo.name for photo in listed] == names


def test_the_first_path_does_not_wait_for_the_second() -> None:
    class Once(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            assert data, "read past the first line"
            return data

    for start in (b"a.jpg\n", b"\xef\xbb\xbfa.jpg\n"):
        assert str(next(find_photos(["-"], stdin=Once(start)))) == "a.jpg"


def test_blanks_after_a_listed_path_are_not_its_names(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "b.jpg ").touch()
    lines = f"{tmp_path}/a.jpg  \r\n{tmp_path}/b.jpg \n{tmp_path}/c.jpg \n".encode()
    listed = find_photos(["-"], stdin=io.BytesIO(lines))
    assert [photo.key for photo in listed] == ["a.jpg", "b.jpg ", "c.jpg "]


@pytest.mark.parametrize(
    ("number", "told"), [(0, "0 people are"), (1, "1 person is"), (2, "2 people are")]
)
def test_one_is_singular(number: int, told: str) -> None:
    assert counted(number, "person is", "people are") == told


def test_most_plurals_have_an_s() -> None:
    assert [counted(number, "photo") for number in (0, 1, 2)] == ["0 photos", "1 photo", "2 photos"]
