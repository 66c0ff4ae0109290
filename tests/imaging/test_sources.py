"""What is named on a command line becomes image files, and people."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from facerec.errors import UsageError
from facerec.imaging.sources import find_photos, list_people


def plant(root: Path, *files: str) -> None:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def expanded(*arguments: str | Path, listed: bytes | None = None, null: bool = False) -> list[str]:
    stdin = None if listed is None else io.BytesIO(listed)
    return [str(path) for path in find_photos([str(a) for a in arguments], stdin=stdin, null=null)]


def people(
    *arguments: str | Path, name: str | None = None, listed: bytes | None = None
) -> list[tuple[str, str]]:
    stdin = None if listed is None else io.BytesIO(listed)
    found = list_people([str(a) for a in arguments], name=name, stdin=stdin, null=False)
    return [(person, Path(photo.name).name) for person, photo in found]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_files_keep_their_order(here: Path) -> None:
    plant(here, "b.jpg", "a.jpg", "scan.dat")
    assert expanded("b.jpg", "scan.dat", "a.jpg") == ["b.jpg", "scan.dat", "a.jpg"]


def test_a_folder_is_its_images_at_any_depth_sorted(here: Path) -> None:
    plant(here, "in/b/2.PNG", "in/b/1.jpg", "in/a/deep/er/3.webp", "in/c.tiff", "in/notes.txt")
    assert expanded("in") == ["in/a/deep/er/3.webp", "in/b/1.jpg", "in/b/2.PNG", "in/c.tiff"]


def test_hidden_files_and_folders_are_left_out(here: Path) -> None:
    plant(here, "in/._a.jpg", "in/.cache/b.jpg", "in/c.jpg")
    assert expanded("in") == ["in/c.jpg"]


def test_a_hidden_folder_that_is_named_is_read(here: Path) -> None:
    plant(here, ".in/a.jpg")
    assert expanded(".in") == [".in/a.jpg"]


def test_a_missing_path_is_passed_on_and_the_rest_follows(here: Path) -> None:
    plant(here, "a.jpg")
    assert expanded("gone.jpg", "a.jpg", "x" * 5000, "a\0b") == [
        "gone.jpg",
        "a.jpg",
        "x" * 5000,
        "a\0b",
    ]


def test_a_folder_without_images_is_passed_on(here: Path) -> None:
    plant(here, "empty/notes.txt")
    assert expanded("empty") == ["empty"]


def test_a_broken_link_to_an_image_is_passed_on(here: Path) -> None:
    plant(here, "in/a.jpg")
    (here / "in/b.jpg").symlink_to("gone.jpg")
    (here / "in/loop.jpg").symlink_to("loop.jpg")
    assert expanded("in") == ["in/a.jpg", "in/b.jpg", "in/loop.jpg"]


def test_a_folder_that_cannot_be_listed_is_passed_on(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(here, "in/a/1.jpg", "in/locked/2.jpg", "in/z/3.jpg")
    listing = os.scandir

    def forbid(path: Path) -> object:
        if path.name == "locked":
            raise PermissionError(13, "Permission denied")
        return listing(path)

    monkeypatch.setattr(os, "scandir", forbid)
    assert expanded("in") == ["in/a/1.jpg", "in/locked", "in/z/3.jpg"]
    assert [name for name, _ in people("in/locked")] == ["locked"]


def test_linked_folders_are_followed_once_and_loops_end(here: Path) -> None:
    plant(here, "in/real/1.jpg", "elsewhere/2.jpg")
    (here / "in/a_loop").symlink_to(here / "in")
    (here / "in/real/up").symlink_to("..")
    (here / "in/an_alias").symlink_to("real")
    (here / "in/guest").symlink_to(here / "elsewhere")
    assert expanded("in") == ["in/real/1.jpg", "in/guest/2.jpg"]


def test_a_mesh_of_links_does_not_explode(here: Path) -> None:
    names = [f"{number:02}" for number in range(20)]
    for name in names:
        plant(here, f"in/{name}/{name}.jpg")
        for other in names:
            (here / "in" / name / f"to{other}").symlink_to(here / "in" / other)
    assert len(expanded("in")) == 20
    assert len(expanded("in/**/*.jpg")) == 20


def test_a_quoted_pattern_is_matched_sorted(here: Path) -> None:
    plant(here, "p/b.jpg", "p/a.jpg", "p/c.png", "p/.h.jpg", "q/a.jpg")
    assert expanded("p/*.jpg") == ["p/a.jpg", "p/b.jpg"]
    assert expanded("[pq]/a.jpg") == ["p/a.jpg", "q/a.jpg"]
    assert expanded(here / "?/a.jpg") == [str(here / "p/a.jpg"), str(here / "q/a.jpg")]
    assert expanded("p/.*.jpg") == ["p/.h.jpg"]


def test_a_pattern_that_is_a_files_name_is_that_file(here: Path) -> None:
    plant(here, "a[1].jpg", "a1.jpg")
    assert expanded("a[1].jpg") == ["a[1].jpg"]


@pytest.mark.parametrize("pattern", ["none/*.jpg", "x**y/*", "[", "*"])
def test_a_pattern_that_fits_nothing_is_passed_on(pattern: str) -> None:
    assert expanded(pattern) == [pattern]


def test_a_folder_that_a_pattern_fits_is_walked_once(here: Path) -> None:
    plant(here, "in/a/1.jpg", "in/a/b/2.jpg")
    assert expanded("in/**") == ["in/a/1.jpg", "in/a/b/2.jpg"]
    assert expanded("i*") == ["in/a/1.jpg", "in/a/b/2.jpg"]


def test_paths_are_listed_on_stdin_between_the_others() -> None:
    assert expanded("x", "-", "y", listed=b"a b.jpg\n\nc\r\nd") == ["x", "a b.jpg", "c", "d", "y"]


def test_nul_separated_paths_may_hold_newlines() -> None:
    assert expanded("-", listed=b"a\nb\0 c\r\0", null=True) == ["a\nb", " c\r"]


def test_a_listed_pattern_is_a_path() -> None:
    assert expanded("-", listed=b"*.jpg\n") == ["*.jpg"]


@given(st.lists(st.binary(min_size=1).filter(lambda name: b"\0" not in name and b"//" not in name)))
def test_any_bytes_come_back_as_the_same_path(names: list[bytes]) -> None:
    photos = find_photos(["-"], stdin=io.BytesIO(b"\0".join(names)), null=True)
    assert [photo.path for photo in photos] == [Path(os.fsdecode(name)) for name in names]


def test_bytes_that_are_no_text_open_the_file_they_name(here: Path) -> None:
    with open(b"caf\xe9.jpg", "wb") as file:  # noqa: PTH123
        file.write(b"found")
    (photo,) = find_photos(["-"], stdin=io.BytesIO(b"caf\xe9.jpg\n"), null=False)
    assert photo.read() == b"found"


@pytest.mark.parametrize("null", [False, True])
def test_an_endless_list_streams(null: bool) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stdin, os.fdopen(writing, "wb", buffering=0) as source:
        photos = find_photos(["-"], stdin=stdin, null=null)
        for number in range(3):
            source.write(b"%d.jpg%s" % (number, b"\0" if null else b"\n"))
            assert next(photos).path == Path(f"{number}.jpg")


def test_a_list_that_never_ends_a_path_is_refused() -> None:
    with open("/dev/zero", "rb") as stdin, pytest.raises(UsageError, match="not a list"):  # noqa: PTH123
        next(find_photos(["-"], stdin=stdin, null=False))


def test_nul_separation_that_was_not_asked_for_is_explained() -> None:
    with pytest.raises(UsageError, match="add -0"):
        expanded("-", listed=b"a.jpg\0b.jpg\0")


@pytest.mark.parametrize("listed", [b"", b"\n\r\n", b"\xef\xbb\xbf"])
def test_an_empty_list_is_told(listed: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert expanded("-", listed=listed) == []
    assert caplog.messages == ["stdin: the list is empty"]


@pytest.mark.parametrize(
    ("kind", "null"),
    [
        *((kind, False) for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "JPEG2000")),
        *((kind, True) for kind in ("JPEG", "PNG")),
    ],
)
def test_a_photo_in_the_place_of_a_list_is_refused_at_once(kind: str, null: bool) -> None:
    photo = io.BytesIO()
    Image.effect_noise((64, 64), 50).convert("RGB").save(photo, kind)
    with pytest.raises(UsageError, match=rf"an image \({kind}\); give the file's path in place"):
        expanded("-", listed=photo.getvalue(), null=null)


def test_an_archive_in_the_place_of_a_list_is_refused_at_once(here: Path) -> None:
    plant(here, "in/1.jpg")
    for kind, what in (("zip", "a zip"), ("tar", "a tar"), ("gztar", "a file of gzip")):
        archive = shutil.make_archive("packed", kind, "in")
        with pytest.raises(UsageError, match=f"but {what}; give the file's path"):
            expanded("-", listed=Path(archive).read_bytes())


@pytest.mark.parametrize("start", [b"%PDF-1.4\n%\xe2\n", b"<!DOCTYPE html>\n<html>\n"])
def test_a_document_in_the_place_of_a_list_is_refused_at_once(start: bytes) -> None:
    with pytest.raises(UsageError, match=r"but a (PDF|web page)"):
        expanded("-", listed=start)


@pytest.mark.parametrize(
    "listed", [b"\0\0\0 ftypisom\0\0\2\n", b"\x1b[0m\x1b[01;35ma.jpg\x1b[0m\n"]
)
def test_other_data_in_the_place_of_a_list_is_refused_at_once(listed: bytes) -> None:
    with pytest.raises(UsageError, match=r"not a list of paths: '.*' holds control characters"):
        expanded("-", listed=listed)


def test_a_listed_file_may_have_an_odd_name(here: Path) -> None:
    plant(here, "a\x1b.jpg")
    assert expanded("-", listed=b"GIF89a.jpg\na\x1b.jpg\n") == ["GIF89a.jpg", "a\x1b.jpg"]


def test_closed_stdin_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="standard input is closed"):
        find_photos(["-"], stdin=None, null=False)


def test_stdin_that_closes_while_read_is_refused() -> None:
    stdin = io.BytesIO(b"a\n")
    stdin.close()
    with pytest.raises(UsageError, match="cannot be read"):
        next(find_photos(["-"], stdin=stdin, null=False))


def test_each_folder_in_a_folder_is_a_person(here: Path) -> None:
    plant(here, "all/ann/1.jpg", "all/bob/2.jpg", "all/bob/3.jpg")
    assert people("all") == [("ann", "1.jpg"), ("bob", "2.jpg"), ("bob", "3.jpg")]


def test_deeper_folders_belong_to_the_first_as_in_cfp(here: Path) -> None:
    plant(here, "cfp/001/frontal/01.jpg", "cfp/001/profile/02.jpg", "cfp/002/frontal/01.jpg")
    assert people("cfp") == [("001", "01.jpg"), ("001", "02.jpg"), ("002", "01.jpg")]


@pytest.mark.parametrize("argument", ["all/ann", "all/ann/", "all/../all/ann"])
def test_images_in_the_folder_itself_are_of_its_name(here: Path, argument: str) -> None:
    plant(here, "all/ann/1.jpg")
    assert people(argument) == [("ann", "1.jpg")]


@pytest.mark.parametrize("argument", [".", "../ann", "sub/.."])
def test_a_relative_folder_has_its_real_name(
    here: Path, argument: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(here, "ann/1.jpg")
    (here / "ann/sub").mkdir()
    monkeypatch.chdir(here / "ann")
    assert people(argument) == [("ann", "1.jpg")]


def test_a_linked_folder_is_called_by_the_name_it_was_given(here: Path) -> None:
    plant(here, "store/4711/1.jpg")
    (here / "ann").symlink_to("store/4711")
    assert people("ann") == [("ann", "1.jpg")]


def test_listed_paths_are_of_their_own_folders_name() -> None:
    assert people("-", listed=b"all/ann/1.jpg\nbob/2.jpg\n") == [("ann", "1.jpg"), ("bob", "2.jpg")]


def test_a_listed_path_without_folder_is_of_the_current_one(here: Path) -> None:
    assert people("-", listed=b"1.jpg\n") == [(here.name, "1.jpg")]


def test_name_overrides_every_folder(here: Path) -> None:
    plant(here, "all/ann/1.jpg", "2.jpg")
    named = people("all", "2.jpg", "-", name="Eve", listed=b"bob/3.jpg\n")
    assert named == [("Eve", "1.jpg"), ("Eve", "2.jpg"), ("Eve", "3.jpg")]


@pytest.mark.parametrize("argument", ["ann/1.jpg", "ann/*.jpg"])
def test_a_single_file_needs_a_name(here: Path, argument: str) -> None:
    plant(here, "ann/1.jpg")
    with pytest.raises(UsageError, match="--name"):
        list_people([argument], name=None, stdin=None, null=False)


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(UsageError, match="--name is empty"):
        list_people(["a.jpg"], name=" ", stdin=None, null=False)


def test_the_root_folder_names_nobody() -> None:
    with pytest.raises(UsageError, match="give --name"):
        people("-", listed=b"/1.jpg\n")


def test_a_missing_path_needs_no_name_to_be_reported() -> None:
    assert [path for _, path in people("peopel/")] == ["peopel"]


def test_composed_and_decomposed_folders_are_one_person(here: Path) -> None:
    composed, decomposed = normalize("NFC", "Zoë"), normalize("NFD", "Zoë")
    plant(here, f"all/{composed}/1.jpg", f"all/{decomposed}/2.jpg")
    found = list(list_people(["all"], name=None, stdin=None, null=False))
    assert {person for person, _ in found} == {composed}
    assert all(photo.path is not None and photo.path.is_file() for _, photo in found)


def test_folders_that_are_no_text_stay_different_people(here: Path) -> None:
    for name in (b"caf\xe8", b"caf\xe9"):
        plant(here, f"all/{os.fsdecode(name)}/1.jpg")
    found = people("all")
    assert found == [(r"caf\xe8", "1.jpg"), (r"caf\xe9", "1.jpg")]


def test_finding_files_imports_no_decoder() -> None:
    code = (
        "import sys, facerec.imaging.sources;"
        "print({'cv2', 'PIL', 'numpy', 'torch'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
