"""Photos in tars, zips and WebDataset shards, and behind URLs."""

from __future__ import annotations

import functools
import http.server
import io
import json
import tarfile
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from facerec.errors import InputError, MissingError, UsageError
from facerec.imaging.decode import decode_image
from facerec.imaging.sources import find_photos, list_people, photo_tree
from tests.conftest import ROOT, Run

TREE = {"all/ann/1.jpg": b"a1", "all/bob/2.png": b"b2", "all/bob/deep/3.jpg": b"b3"}
EXPECTED = [("ann", "1.jpg", b"a1"), ("bob", "2.png", b"b2"), ("bob", "3.jpg", b"b3")]


def make_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def people(*arguments: object, name: str | None = None) -> list[tuple[str, str, bytes]]:
    found = list_people([str(a) for a in arguments], name=name, stdin=None, null=False)
    return [(person, str(photo).rpartition("/")[2], photo.read()) for person, photo in found]


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    yield system
    system.rm("/", recursive=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a server of the folder `served`; it sends files as a whole only."""
    (tmp_path / "served").mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_a_tar_of_a_folder_per_person_is_its_people(tmp_path: Path, mode: str) -> None:
    ending = mode.replace("w", ".tar").replace(":", ".")
    assert people(make_tar(tmp_path / f"people{ending}", TREE, mode)) == EXPECTED


def test_a_zip_of_a_folder_per_person_is_its_people(tmp_path: Path) -> None:
    assert people(make_zip(tmp_path / "people.zip", TREE)) == EXPECTED


def test_an_archive_lists_its_images_in_the_order_of_the_folder_it_was_made_of(
    tmp_path: Path,
) -> None:
    files = {"t/a.b/1.jpg": b"1", "t/a/2.jpg": b"2", "t/a-c/3.jpg": b"3", "t/._x.jpg": b"x"}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert people(make_tar(tmp_path / "t.tar", files)) == people(tmp_path / "t")


def test_images_of_one_folder_are_of_that_folders_person(tmp_path: Path) -> None:
    assert people(make_zip(tmp_path / "x.zip", {"in/ann/1.jpg": b"1"})) == [("ann", "1.jpg", b"1")]


def test_images_in_no_folder_are_of_the_archives_person(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "Ann Lee.tar.gz", {"1.jpg": b"1"}, "w:gz")
    assert people(archive) == [("Ann Lee", "1.jpg", b"1")]


def test_shards_give_their_labels(tmp_path: Path) -> None:
    for number, person in enumerate(["ann", "bob"]):
        files = {f"{number}.jpg": b"x", f"{number}.cls": person.encode()}
        make_tar(tmp_path / f"photos-{number:04}.tar", files)
    make_tar(tmp_path / "photos-0002.tar", {"2.jpg": b"x", "2.json": b'{"person": "eve"}'})
    found = people(tmp_path / "photos-{0000..0002}.tar")
    assert found == [("ann", "0.jpg", b"x"), ("bob", "1.jpg", b"x"), ("eve", "2.jpg", b"x")]


def test_a_shard_that_is_missing_is_reported_in_its_place(tmp_path: Path) -> None:
    make_tar(tmp_path / "p-0.tar", {"ann/1.jpg": b"1"})
    found = list_people([f"{tmp_path}/p-{{0..1}}.tar"], name=None, stdin=None, null=False)
    assert [str(photo) for _, photo in found][1] == str(tmp_path / "p-1.tar")


def test_name_overrides_an_archives_folders(tmp_path: Path) -> None:
    found = people(make_zip(tmp_path / "x.zip", TREE), name="Eve")
    assert {person for person, *_ in found} == {"Eve"}


@pytest.mark.parametrize("content", [b"", b"no tar", b"PK\x03\x04 no zip"])
def test_what_is_no_archive_fails_in_its_place_and_the_rest_follows(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "bad.tar").write_bytes(content)
    good = make_zip(tmp_path / "good.zip", TREE)
    first, *rest = find_photos([str(tmp_path / "bad.tar"), str(good)], stdin=None, null=False)
    assert len(rest) == 3
    with pytest.raises(InputError, match=r"bad\.tar: "):
        first.read()


def test_an_archive_that_is_cut_off_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", {"1.jpg": b"x" * 600, "2.jpg": b"y" * 6000})
    archive.write_bytes(archive.read_bytes()[:3000])
    whole, *others = find_photos([str(archive)], stdin=None, null=False)
    assert whole.read() == b"x" * 600
    assert len(others) == 2
    for photo in others:
        with pytest.raises(InputError, match=r"a\.tar: "):
            photo.read()


def test_links_in_a_tar_are_not_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        link = tarfile.TarInfo("ann/1.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    (photo,) = find_photos([str(tmp_path / "a.tar")], stdin=None, null=False)
    with pytest.raises(InputError, match="link to /etc/passwd"):
        photo.read()


def test_a_folder_behind_a_url_is_its_people(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe({f"/bucket/{name}": content for name, content in TREE.items()})
    assert people("memory://bucket") == EXPECTED
    assert people("memory://bucket/all/") == EXPECTED
    assert people("memory://bucket/all/ann") == [("ann", "1.jpg", b"a1")]


def test_archives_behind_urls_are_read(memory: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    memory.pipe("/p-0.tar", make_tar(tmp_path / "p.tar", TREE).read_bytes())
    memory.pipe("/p-1.tar", make_tar(tmp_path / "p.tar", {"eve/4.jpg": b"e4"}).read_bytes())
    assert people("memory://p-{0..1}.tar") == [*EXPECTED, ("eve", "4.jpg", b"e4")]
    zipped = make_zip(tmp_path / "p.zip", TREE)
    assert people(f"zip://::{zipped}") == EXPECTED


def test_an_image_behind_a_url_needs_a_name_and_a_listed_one_has_its_folders(
    memory: fsspec.AbstractFileSystem,
) -> None:
    memory.pipe("/ann/1.jpg", b"a1")
    with pytest.raises(UsageError, match="--name"):
        people("memory://ann/1.jpg")
    assert people("memory://ann/1.jpg", name="Ann") == [("Ann", "1.jpg", b"a1")]
    found = list_people(["-"], name=None, stdin=io.BytesIO(b"memory://ann/1.jpg\n"), null=False)
    assert [person for person, _ in found] == ["ann"]


def test_a_web_server_serves_images_and_archives(server: str, tmp_path: Path) -> None:
    make_tar(tmp_path / "served" / "p.tar", TREE)
    (tmp_path / "served" / "1.jpg").write_bytes(b"x")
    assert people(f"{server}/p.tar?signature=secret") == EXPECTED
    assert people(f"{server}/1.jpg", name="Ann") == [("Ann", "1.jpg", b"x")]
    (photo,) = find_photos([f"{server}/1.jpg?signature=secret"], stdin=None, null=False)
    assert str(photo) == f"{server}/1.jpg"


@pytest.mark.parametrize("path", ["gone.jpg", "gone.tar"])
def test_what_a_server_does_not_have_is_reported_in_one_line(server: str, path: str) -> None:
    (photo,) = find_photos([f"{server}/{path}"], stdin=None, null=False)
    with pytest.raises(InputError) as caught:
        photo.read()
    assert str(caught.value).startswith(f"{server}/{path}: ")
    assert "\n" not in str(caught.value)


def test_an_unknown_kind_of_url_is_refused() -> None:
    with pytest.raises(UsageError, match="nonsense"):
        people("nonsense://bucket/people")


def test_without_fsspec_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(MissingError, match=r"pip install 'facerec\[fsspec\]'"):
        people("memory://bucket")


def test_a_tar_is_embedded_and_searched(
    run: Run, people: Path, portraits: dict[str, Path], tmp_path: Path
) -> None:
    files = {f"{name}/{file.name}": file.read_bytes() for name, file in portraits.items()}
    archive = make_tar(tmp_path / "people.tar", files)
    code, out, _ = run("embed", archive, "-o", tmp_path / "g.h5", "--json")
    assert (code, json.loads(out)["people"]) == (0, {"eileen_collins": 1, "grace_hopper": 1})
    _, out, _ = run("gallery", "show", "grace_hopper", "-g", tmp_path / "g.h5", "--json")
    assert json.loads(out)["source"] == "people.tar/grace_hopper/grace_hopper.jpg"
    _, out, _ = run("recognize", "image", archive, "-g", tmp_path / "g.h5", "--json")
    names = [json.loads(line)["faces"][0]["name"] for line in out.splitlines()]
    assert names == ["eileen_collins", "grace_hopper"]


def test_a_tar_is_aligned_as_the_folder_it_was_made_of(
    run: Run, people: Path, portraits: dict[str, Path], tmp_path: Path
) -> None:
    files = {f"{name}/{file.name}": file.read_bytes() for name, file in portraits.items()}
    archive = make_tar(tmp_path / "people.tar", {**files, "ann/1.jpg": b"no image"})
    assert run("align", people, tmp_path / "one")[0] == 0
    assert run("align", archive, tmp_path / "other")[0] == 3
    chips = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.png")]
    assert len(chips) == 2
    for chip in chips:
        assert (tmp_path / "one" / chip).read_bytes() == (tmp_path / "other" / chip).read_bytes()
    aside = tmp_path / "other_failed" / "unreadable" / "ann" / "1.jpg"
    assert aside.read_bytes() == b"no image"


@pytest.mark.parametrize("name", ["/etc/1.jpg", "a\\..\\1.jpg", "C:/1.jpg"])
def test_no_chip_is_written_outside_of_its_tree(run: Run, tmp_path: Path, name: str) -> None:
    archive = make_tar(tmp_path / "a.tar", {name: b"x"})
    code, _, err = run("align", archive, tmp_path / "out")
    assert (code, "would lie outside of the tree" in err) == (3, True)
    assert not (tmp_path / "out").exists()


def make_links(path: Path, files: dict[str, bytes], links: dict[str, tuple[bytes, str]]) -> Path:
    make_tar(path, files)
    with tarfile.open(path, "a") as archive:
        for name, (kind, target) in links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
    return path


def test_links_to_photos_in_a_tar_are_photos(tmp_path: Path) -> None:
    links = {
        "all/bob/1.jpg": (tarfile.SYMTYPE, "../ann/1.jpg"),
        "all/cleo/1.jpg": (tarfile.LNKTYPE, "./all/ann/1.jpg"),
        "all/dora/1.jpg": (tarfile.SYMTYPE, "../bob/1.jpg"),
        "all/alias": (tarfile.SYMTYPE, "ann"),
        "all/eve/1.jpg": (tarfile.SYMTYPE, "../alias/1.jpg"),
        "all/ann/1.jpg": (tarfile.LNKTYPE, "all/ann/1.jpg"),
    }
    archive = make_links(tmp_path / "a.tar", {"all/ann/1.jpg": b"a1"}, links)
    assert people(archive) == [
        (person, "1.jpg", b"a1") for person in ("ann", "bob", "cleo", "dora", "eve")
    ]


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x.jpg", "gone.jpg", "2.jpg"])
def test_a_photo_that_is_a_link_out_of_its_tar_fails_in_its_place(
    tmp_path: Path, target: str
) -> None:
    links = {"ann/2.jpg": (tarfile.SYMTYPE, target), "ann/x": (tarfile.SYMTYPE, target)}
    archive = make_links(tmp_path / "a.tar", {"ann/1.jpg": b"a1"}, links)
    good, lost = find_photos([archive])
    assert (good.key, good.read()) == ("ann/1.jpg", b"a1")
    assert (lost.key, lost.person) == ("ann/2.jpg", "ann")
    with pytest.raises(InputError, match=rf"ann/2\.jpg is a link to .*{Path(target).name}, not"):
        lost.read()


def test_archives_in_archives_and_folders_are_named(tmp_path: Path) -> None:
    (tmp_path / "in" / "ann").mkdir(parents=True)
    inner = make_zip(tmp_path / "in" / "ann" / "more.zip", {"2.jpg": b"a2"})
    (tmp_path / "in" / "ann" / "1.jpg").write_bytes(b"a1")
    (tmp_path / "in" / "ann" / "old.7z").write_bytes(b"7z")
    (tmp_path / "in" / "ann" / "@eaDir").mkdir()
    (tmp_path / "in" / "ann" / "@eaDir" / "x.zip").write_bytes(b"x")
    packed = {"ann/1.jpg": b"a1", "ann/more.zip": inner.read_bytes(), "ann/old.7z": b"7z"}
    for place in (tmp_path / "in", make_tar(tmp_path / "a.tar", packed)):
        first, *archives = find_photos([place])
        assert (first.key, first.read()) == ("ann/1.jpg", b"a1")
        assert [archive.key for archive in archives] == ["ann/more.zip", "ann/old.7z"]
        for archive in archives:
            with pytest.raises(InputError, match=f"{archive.key}: is an archive"):
                archive.read()


def test_backslashes_in_a_zip_separate_folders(tmp_path: Path) -> None:
    files = {name.replace("/", "\\"): content for name, content in TREE.items()}
    assert people(make_zip(tmp_path / "people.zip", {"all\\": b"", **files})) == EXPECTED


@pytest.mark.parametrize("name", ["../1.jpg", "..\\1.jpg", "ann/../../1.jpg"])
def test_a_zip_member_outside_of_its_zip_fails_in_its_place(tmp_path: Path, name: str) -> None:
    archive = make_zip(tmp_path / "a.zip", {name: b"x", "zoe/2.jpg": b"z2"})
    outside, inside = find_photos([archive])
    assert inside.read() == b"z2"
    with pytest.raises(InputError, match=r"lies outside of .*a\.zip"):
        outside.read()


@pytest.mark.parametrize("name", ["..\\1.jpg", "C:\\1.jpg", "\\1.jpg"])
def test_no_chip_of_a_zip_is_written_outside_of_its_tree(
    run: Run, tmp_path: Path, name: str
) -> None:
    code, _, err = run("align", make_zip(tmp_path / "a.zip", {name: b"x"}), tmp_path / "out")
    assert (code, "would lie outside of the tree" in err) == (3, True)


def test_names_with_colons_are_names(tmp_path: Path) -> None:
    files = {"obama/12:30:00.jpg": b"1", "obama/IMG::1.jpg": b"2"}
    archive = make_tar(tmp_path / "people.tar", files)
    expected = [("obama", "12:30:00.jpg", b"1"), ("obama", "IMG::1.jpg", b"2")]
    assert people(archive) == expected
    assert list(photo_tree(archive)) == list(files)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert people(tmp_path / "obama") == expected
    assert list(photo_tree(tmp_path)) == list(files)


def test_a_file_named_like_a_chain_of_urls_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("IMG::1.jpg").write_bytes(b"1")
    (given,) = find_photos(["IMG::1.jpg"])
    (listed,) = find_photos(["-"], stdin=io.BytesIO(b"IMG::1.jpg\n"))
    assert given.read() == listed.read() == b"1"


def test_a_place_in_an_archive_is_named_like_a_path(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "people.tar", TREE)
    assert people(archive / "all") == EXPECTED
    assert people(archive / "all/ann") == EXPECTED[:1]
    with pytest.raises(UsageError, match="--name"):
        people(archive / "all/ann/1.jpg")
    assert people(archive / "all/ann/1.jpg", name="Ann") == [("Ann", "1.jpg", b"a1")]
    (listed,) = find_photos(["-"], stdin=io.BytesIO(f"{archive}/all/ann/1.jpg\n".encode()))
    assert (listed.person, listed.read()) == ("ann", b"a1")
    (gone,) = find_photos([archive / "eve"])
    with pytest.raises(InputError, match=r"people\.tar/eve: holds no images"):
        gone.read()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("backslash.zip", {(person, 4) for person in "abcd"}),
        ("links.tar", {("obama", 1), ("biden", 1), ("hard", 1)}),
        ("colons.tar", {("obama", 2)}),
    ],
)
def test_archives_from_the_field_are_their_people(name: str, expected: set) -> None:
    archive = ROOT.parent / "shared" / "field" / "archives" / name
    if not archive.is_file():
        pytest.skip(f"no {archive}")
    found = people(archive)
    assert set(Counter(person for person, *_ in found).items()) == expected
    assert all(decode_image(content, file).ndim == 3 for _, file, content in found)


def test_what_google_takeout_says_of_a_photo_is_no_label(tmp_path: Path) -> None:
    said = {"Takeout/ann/1.jpg.json": b"{}", "Takeout/ann/1.jpg.supplemental-metadata.json": b"{}"}
    archive = make_zip(tmp_path / "takeout.zip", {"Takeout/ann/1.jpg": b"a1", **said})
    assert people(archive) == [("ann", "1.jpg", b"a1")]
