"""Several writers of one gallery: nobody's faces are lost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from facerec import Gallery
from facerec.errors import UsageError
from facerec.files.locking import locked
from facerec.gallery.addresses import backend_of, changing, open_gallery
from facerec.gallery.files import backend
from tests.conftest import ROOT, make_batch, make_card, make_face

WRITER = """
import sys
from facerec import Gallery
sys.path.insert(0, {root!r})
from tests.conftest import make_face
path, name, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
gallery = Gallery.open(path)
print("opened", flush=True)
sys.stdin.readline()
for number in range(times):
    gallery.add(f"{{name}}{{number}}", [make_face(1, number, 0, 0)], f"{{name}}/{{number}}.jpg")
    gallery.save(path)
"""


@pytest.fixture(params=["small", "journal"])
def path(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch) -> Path:
    """A gallery of one person, written whole or by journal."""
    if request.param == "journal":
        monkeypatch.setattr(backend, "_WHOLE", 0)
    with changing(tmp_path / "g.h5", create=make_card()) as gallery:
        gallery.add("ann", [make_face(1, 0, 0, 0)], "1.jpg")
    return tmp_path / "g.h5"


def test_who_saves_second_keeps_what_the_first_saved(path: Path) -> None:
    one, other = Gallery.open(path), Gallery.open(path)
    one.add("bob", [make_face(0, 1, 0, 0)], "2.jpg")
    one.rename("ann", "Ann")
    one.save(path)
    other.add("eve", [make_face(0, 0, 1, 0)], "3.jpg")
    other.save(path)
    assert Gallery.open(path).counts() == other.counts() == {"Ann": 1, "bob": 1, "eve": 1}
    assert other.search(np.eye(4, dtype=np.float32)[1:2], 1)[0][0].name == "bob"
    one.add("kim", [make_face(0, 0, 0, 1)], "4.jpg")
    one.save(path)
    assert Gallery.open(path).people == ["Ann", "bob", "eve", "kim"]


def test_a_path_spelled_otherwise_is_the_same_file(path: Path, monkeypatch) -> None:
    monkeypatch.chdir(path.parent)
    one, other = Gallery.open(path.name), Gallery.open(path)
    one.add("bob", [make_face(0, 1, 0, 0)], "2.jpg")
    one.save(path)
    other.add("eve", [make_face(0, 0, 1, 0)], "3.jpg")
    other.save(path.name)
    assert Gallery.open(path).people == ["ann", "bob", "eve"]


def test_changes_that_do_not_fit_are_refused_and_nothing_is_written(path: Path) -> None:
    one, other = Gallery.open(path), Gallery.open(path)
    one.remove("ann")
    one.add("bob", [make_face(0, 1, 0, 0)], "2.jpg")
    one.save(path)
    other.rename("ann", "eve")
    with pytest.raises(UsageError, match="changed by another since it was opened"):
        other.save(path)
    assert Gallery.open(path).counts() == {"bob": 1}


def test_what_both_removed_is_removed(path: Path) -> None:
    one, other = Gallery.open(path), Gallery.open(path)
    for gallery, name in ((one, "bob"), (other, "eve")):
        gallery.remove("ann")
        gallery.add(name, [make_face(0, 1, 0, 0)], f"{name}.jpg")
        gallery.save(path)
    assert Gallery.open(path).counts() == {"bob": 1, "eve": 1}


def test_new_thresholds_and_new_faces_both_stay(path: Path) -> None:
    one, other = Gallery.open(path), Gallery.open(path)
    one.add("bob", [make_face(0, 1, 0, 0)], "2.jpg")
    one.save(path)
    other.card = make_card(calibration=None)
    other.save(path)
    opened = Gallery.open(path)
    assert (opened.counts(), opened.card.calibration) == ({"ann": 1, "bob": 1}, None)


def test_a_search_goes_on_in_the_file_that_another_replaced(path: Path) -> None:
    reader, writer = Gallery.open(path), Gallery.open(path)
    writer.append(make_batch(np.eye(4, dtype=np.float32), list("bcde")))
    backend.compact(writer, path)
    assert reader.search(np.eye(4, dtype=np.float32)[:1], 1)[0][0].name == "ann"


def test_a_writer_that_goes_on_is_waited_for_and_then_told(path: Path, monkeypatch) -> None:
    monkeypatch.setattr(backend, "_PATIENCE", 0.05)
    gallery = Gallery.open(path)
    gallery.add("bob", [make_face(0, 1, 0, 0)], "2.jpg")
    with locked(path), ThreadPoolExecutor(1) as elsewhere:
        saving = elsewhere.submit(gallery.save, path)
        with pytest.raises(UsageError, match="another facerec is writing it"):
            saving.result()
    gallery.save(path)
    assert Gallery.open(path).counts() == {"ann": 1, "bob": 1}


def started(path: Path, name: str, times: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER.format(root=str(ROOT)), str(path), name, str(times)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def opened(*writers: subprocess.Popen[str]) -> Iterator[None]:
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "opened\n"
        yield


def test_processes_that_save_at_once_lose_nothing(path: Path) -> None:
    writers = [started(path, name, 20) for name in "ab"]
    assert len(list(opened(*writers))) == 2
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    assert [writer.wait(60) for writer in writers] == [0, 0]
    expected = {"ann", *(f"{name}{number}" for name in "ab" for number in range(20))}
    assert set(Gallery.open(path).people) == expected


def test_a_killed_writer_takes_nothing_from_the_other(path: Path) -> None:
    killed, other = started(path, "a", 100_000), started(path, "b", 20)
    assert len(list(opened(killed, other))) == 2
    for writer in (killed, other):
        writer.stdin.write("\n")
        writer.stdin.flush()
    assert other.wait(60) == 0
    killed.kill()
    killed.wait()
    people = set(Gallery.open(path).people)
    assert {f"b{number}" for number in range(20)} <= people
    gallery = Gallery.open(path)
    gallery.add("eve", [make_face(0, 0, 1, 0)], "3.jpg")
    gallery.save(path)
    assert set(Gallery.open(path).people) == people | {"eve"}


def test_milvus_refuses_a_second_writer(tmp_path: Path) -> None:
    pytest.importorskip("milvus_lite")
    address = f"milvus+lite://{tmp_path}/g.db"
    with changing(address, create=make_card()) as gallery:
        gallery.add("ann", [make_face(1, 0, 0, 0)], "1.jpg")
    one, other = open_gallery(address), backend_of(address).open(address, None)
    one.add("bob", [make_face(0, 1, 0, 0)], "2.jpg")
    one.commit()
    other.add("eve", [make_face(0, 0, 1, 0)], "3.jpg")
    with pytest.raises(UsageError, match="changed by another since it was opened"):
        other.commit()
    assert open_gallery(address).counts() == {"ann": 1, "bob": 1}


def test_a_gallery_behind_a_link_keeps_its_link_its_mode_and_its_journal(path: Path) -> None:
    path.chmod(0o600)
    link = path.parent / "sub" / "link.h5"
    link.parent.mkdir()
    link.symlink_to(path)
    with changing(link) as gallery:
        gallery.add("bob", [make_face(0, 1, 0, 0)], "2.jpg")
    assert link.is_symlink()
    assert Gallery.open(path).counts() == Gallery.open(link).counts() == {"ann": 1, "bob": 1}
    beside = [file for file in path.parent.iterdir() if file.is_file()]
    assert {file.stat().st_mode & 0o777 for file in beside} == {0o600}
    assert list(link.parent.iterdir()) == [link]
