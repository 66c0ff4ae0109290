"""A large gallery's changes are appended to a journal; nothing committed is lost, whatever ends."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from facerec import Gallery
from facerec.errors import MissingError
from facerec.gallery.addresses import changing
from facerec.gallery.files import backend as file
from facerec.gallery.files.hdf5 import check_gallery
from facerec.gallery.files.journal import journal_of
from facerec.gallery.memory import Append
from tests.conftest import make_batch, make_card, make_face

PEOPLE = 20


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gallery that counts as large."""
    monkeypatch.setattr(file, "_WHOLE", 0)
    gallery = Gallery(make_card())
    for number in range(PEOPLE):
        gallery.add(f"P{number}", [make_face(1, number, 0, 0)], f"{number}.jpg", str(number))
    gallery.save(tmp_path / "g.h5")
    return tmp_path / "g.h5"


def change(path: Path) -> None:
    with changing(str(path)) as gallery:
        gallery.add(
            "Ada", [make_face(0, 0, 1, 0), make_face(0, 0, 0, 1)], "ada.jpg", "a", {"k": "v"}
        )
        gallery.remove("P3")
        gallery.rename("P4", "Zoë")
        gallery.merge("P5", "P6")


def state(gallery: Gallery) -> list[tuple]:
    rows = gallery.entries
    names = [gallery.people[number] for number in rows.person]
    return list(
        zip(names, rows.source, rows.meta, rows.embeddings.tolist(), rows.box.tolist(), strict=True)
    )


def test_a_commit_writes_what_changed_and_not_the_file(path: Path) -> None:
    before = path.read_bytes()
    change(path)
    assert path.read_bytes() == before
    assert journal_of(path).stat().st_size < 1000


def test_compacting_changes_nothing_and_leaves_one_file(path: Path) -> None:
    change(path)
    before, counts = state(Gallery.open(path)), Gallery.open(path).counts()
    file.compact(Gallery.open(path), path)
    assert not journal_of(path).exists()
    opened = Gallery.open(path)
    check_gallery(path, opened)
    assert (state(opened), opened.counts()) == (before, counts)
    with h5py.File(path) as raw:
        assert "Zoë" in raw["people"].asstr()[:].tolist()


def test_a_gallery_goes_on_being_changed_after_each_kind_of_commit(path: Path) -> None:
    gallery = Gallery.open(path)
    for number in range(200):
        gallery.add("Ada", [make_face(1, 1, number, 0)], f"a{number}.jpg")
        gallery.commit()
        if number % 20 == 0:
            assert state(Gallery.open(path)) == state(gallery)
    assert state(Gallery.open(path)) == state(gallery)


def test_a_journal_that_outgrows_its_share_is_folded_in(path: Path) -> None:
    gallery = Gallery.open(path)
    limit = path.stat().st_size
    for number in range(300):
        gallery.add("Ada", [make_face(1, 1, number, 0)], f"a{number}.jpg")
        gallery.commit()
        journal = journal_of(path)
        assert not journal.exists() or journal.stat().st_size < max(limit, path.stat().st_size)
    assert path.stat().st_size > limit


def test_what_a_killed_writer_left_at_the_end_was_never_committed(path: Path) -> None:
    change(path)
    journal = journal_of(path)
    whole, first = journal.read_bytes(), state(Gallery.open(path))
    with changing(str(path)) as gallery:
        gallery.remove("P7")
    longer = journal.read_bytes()
    second = state(Gallery.open(path))
    for length in range(len(whole), len(longer)):
        journal.write_bytes(longer[:length])
        assert state(Gallery.open(path)) == first
    journal.write_bytes(whole + bytes(100))
    with changing(str(path)) as gallery:
        gallery.remove("P7")
    assert journal.read_bytes() == longer
    assert state(Gallery.open(path)) == second


def test_a_flipped_bit_in_what_was_committed_is_told(path: Path) -> None:
    change(path)
    first = journal_of(path).stat().st_size
    with changing(str(path)) as gallery:
        gallery.remove("P7")
    whole = journal_of(path).read_bytes()
    for place in (*range(80), *range(80, first, 23)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (place % 8)
        journal_of(path).write_bytes(flipped)
        with pytest.raises(MissingError, match=r"g\.h5\.journal: (damaged|continues)"):
            Gallery.open(path)


def test_a_journal_already_folded_in_is_not_played_again(path: Path) -> None:
    change(path)
    left = journal_of(path).read_bytes()
    file.compact(Gallery.open(path), path)
    expected = state(Gallery.open(path))
    # As if the writer had been killed before it removed the journal.
    journal_of(path).write_bytes(left)
    assert state(Gallery.open(path)) == expected
    with changing(str(path)) as gallery:
        gallery.remove("P8")
    assert len(Gallery.open(path)) == len(expected) - 1


def test_another_files_journal_is_refused(path: Path, tmp_path: Path) -> None:
    change(path)
    other = tmp_path / "other.h5"
    Gallery(make_card()).save(other)
    shutil.copy(journal_of(path), journal_of(other))
    with pytest.raises(MissingError, match="continues another file"):
        Gallery.open(other)


def test_the_pair_can_be_moved_together(path: Path, tmp_path: Path) -> None:
    change(path)
    expected = state(Gallery.open(path))
    (tmp_path / "elsewhere").mkdir()
    for place in (path, journal_of(path)):
        place.rename(tmp_path / "elsewhere" / place.name)
    assert state(Gallery.open(tmp_path / "elsewhere" / path.name)) == expected


def test_an_open_gallery_keeps_its_content_while_others_change_it(path: Path) -> None:
    opened = Gallery.open(path)
    before = state(opened)
    change(path)
    file.compact(Gallery.open(path), path)
    assert state(opened) == before


def test_a_watcher_notices_changes_in_the_journal(path: Path) -> None:
    before = file.stamp(path)
    change(path)
    after = file.stamp(path)
    assert after != before
    with changing(str(path)) as gallery:
        gallery.remove("P7")
    assert file.stamp(path) != after


WRITER = """
import os, sys
from pathlib import Path
from facerec.gallery.files import backend as file
from facerec.gallery.addresses import changing
from tests.conftest import make_face
file._WHOLE = 0
path, first = sys.argv[1], int(sys.argv[2])
print("ready", flush=True)
for number in range(first, first + 100_000):
    with changing(path) as gallery:
        if f"Q{number - 3}" in gallery.counts():
            gallery.remove(f"Q{number - 3}")
        gallery.add(f"Q{number}", [make_face(1, 1, number, 0)] * 3, f"{number}.jpg", str(number))
    print(number, flush=True)
"""


def kill_a_writer(path: Path, first: int, wait: float) -> int:
    """Kill a process that adds Qn and removes Qn-3 again and again; returns the last n it told."""
    command = [sys.executable, "-c", WRITER, str(path), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(wait)
        process.kill()
        told = process.stdout.read().split()
    return int(told[-1]) if told and process.returncode == -9 else first - 1


def killed_writers_lose_nothing(path: Path, kills: int) -> None:
    dice, last = random.Random(0), -1
    for _ in range(kills):
        told = kill_a_writer(path, last + 1, dice.uniform(0, 0.3))
        gallery = Gallery.open(path)
        check_gallery(path, gallery)
        held = sorted(int(name[1:]) for name in gallery.counts() if name.startswith("Q"))
        # What it told was committed; the next may have been, but not yet told.
        newest = held[-1] if held else -1
        assert newest in (told, told + 1)
        assert held == list(range(max(0, newest - 2), newest + 1))
        assert all(gallery.counts()[f"Q{number}"] == 3 for number in held)
        assert set(gallery.counts()) == {f"P{n}" for n in range(PEOPLE)} | {f"Q{n}" for n in held}
        last = newest
    assert last >= kills


def test_killing_a_writer_loses_nothing(path: Path) -> None:
    killed_writers_lose_nothing(path, 3)


@pytest.mark.slow
def test_killing_a_writer_at_50_random_points_loses_nothing(path: Path) -> None:
    killed_writers_lose_nothing(path, 50)


def test_a_writer_killed_between_any_two_system_calls_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(path)
    expected = state(Gallery.open(path))

    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    for target, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink")):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, die)
            with pytest.raises(Killed):
                file.compact(Gallery.open(path), path)
        assert state(Gallery.open(path)) == expected
    assert np.isfinite(Gallery.open(path).templates()).all()


def test_a_long_name_of_an_older_gallery_can_be_read_and_enrolled_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facerec.gallery.files.backend._WHOLE", 0)
    path, name = tmp_path / "g.h5", "ä" * 200
    with monkeypatch.context() as older:
        older.setattr("facerec.gallery.people.LONGEST_NAME", 10_000)
        with changing(path, create=make_card()) as store:
            store.add("Ada", [make_face(1, 0, 0, 0)], "1.jpg")
        with changing(path) as store:
            store.rename("Ada", name)
    with changing(path) as store:
        store.add(name, [make_face(0, 1, 0, 0)], "2.jpg")
    assert Gallery.open(path).counts() == {name: 2}


def test_metadata_that_are_no_texts_do_not_keep_a_journal_from_being_read(path: Path) -> None:
    """Earlier versions took them from Python, and wrote them."""
    gallery, batch = Gallery.open(path), make_batch(np.eye(4, dtype=np.float32)[:2], ["Bob", "Eve"])
    gallery.apply(Append(replace(batch, meta=[{"age": 5}, {"known": None}]), False))  # type: ignore[list-item]
    gallery.commit()
    opened = Gallery.open(path)
    assert [opened.person(name).meta for name in ("Bob", "Eve")] == [
        [{"age": "5"}],
        [{"known": "null"}],
    ]
    assert opened.counts({"age": "5"}) == {"Bob": 1}
