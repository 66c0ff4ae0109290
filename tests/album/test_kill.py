"""`kill -9` before any statement of a step leaves what was before it or after it, nothing else."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from facerec.album import scan as scanning
from facerec.album.decisions import confirm_faces, merge_people, name_person, split_faces
from facerec.album.export import export_confirmed
from facerec.album.forget import forget_person
from facerec.album.journal import undo_step
from facerec.album.store import Album, open_album
from facerec.gallery import Gallery
from tests.album.faking import scan, write_photo
from tests.files.test_killed_writers import killed as killed_before_a_file

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")

NAME = "Annabella Quiller"
TABLES = ("photos", "places", "faces", "vectors", "chips", "people", "decisions", "erased", "steps")
MOST = 12
"""Points at which each step is killed."""


def killed(path: Path, last: int, work: Callable[[Album], object]) -> bool:
    """Whether a process that opens an album and works on it was killed before its nth statement."""
    child = os.fork()
    if child == 0:
        count = 0

        def counting(name: str) -> Callable[..., Any]:
            inner = getattr(Album, name)

            def run(self: Album, *arguments: Any) -> Any:
                nonlocal count
                count += 1
                if count == last:
                    os.kill(os.getpid(), signal.SIGKILL)
                return inner(self, *arguments)

            return run

        try:
            for name in ("rows", "row", "execute", "execute_many"):
                setattr(Album, name, counting(name))
            with open_album(path) as album:
                work(album)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def points(path: Path, work: Callable[[Album], object]) -> Iterator[Path]:
    """A copy of the album, killed at some point of the work, for each of these points."""
    whole = path.read_bytes()

    def copy(number: int) -> Path:
        made = path.with_name(f"{number}.db")
        made.write_bytes(whole)
        return made

    high = 1
    while killed(copy(0), high, work):
        high *= 2
    chosen = range(1, high) if high <= MOST else random.Random(0).sample(range(1, high), MOST)
    for number in chosen:
        place = copy(number)
        killed(place, number, work)
        yield place


def content(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in an album, without the times of steps; it is whole."""
    with open_album(path) as album:
        assert album.row("PRAGMA integrity_check") == ("ok",)
        assert list(album.rows("PRAGMA foreign_key_check")) == []
        rows = {table: list(album.rows(f"SELECT * FROM {table}")) for table in TABLES}
    return {**rows, "steps": [(step[0], step[2]) for step in rows["steps"]]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An album of three faces, the first Annabella's; photo 2 is not scanned yet."""
    write_photo(tmp_path / "photos" / "1.png", [1, 2, 3])
    made = tmp_path / "album.db"
    with open_album(made, create=True) as album:
        scan(album, tmp_path / "photos")
        split_faces(album, [1], NAME)
        split_faces(album, [2])
    return made


DECISIONS: dict[str, Callable[[Album], object]] = {
    "name": lambda album: name_person(album, 2, "Ben"),
    "confirm": lambda album: confirm_faces(album, [2, 3], 1),
    "split": lambda album: split_faces(album, [1, 3]),
    "merge": lambda album: merge_people(album, [2], 1),
    "undo": undo_step,
}


@pytest.mark.parametrize("name", DECISIONS)
def test_a_killed_decision_is_made_or_not(path: Path, name: str) -> None:
    decide = DECISIONS[name]
    before, seen = content(path), []
    for place in points(path, decide):
        seen.append(content(place))
    with open_album(path) as album:
        decide(album)
    after = content(path)
    assert before != after
    assert all(state in (before, after) for state in seen)
    assert before in seen


def test_a_killed_scan_has_whole_photos_and_goes_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "_BATCH", 2)
    folder = path.parent / "photos"
    for number in range(2, 8):
        write_photo(folder / f"{number}.png", [number, 1], number)

    def work(album: Album) -> None:
        scan(album, folder)

    before, done = content(path), set()
    for place in points(path, work):
        left = content(place)
        faces = [face[1] for face in left["faces"]]
        added = [photo[0] for photo in left["photos"]][len(before["photos"]) :]
        assert len(added) % 2 == 0
        assert all(faces.count(photo) == 2 for photo in added)
        assert len(left["vectors"]) == len(left["chips"]) == len(faces)
        done.add(len(added))
        with open_album(place) as album:
            work(album)
        whole = content(place)
        assert (len(whole["photos"]), len(whole["faces"])) == (7, 15)
        assert whole["decisions"] == before["decisions"]
    assert len(done) > 2


def test_a_killed_forgetting_is_not_done_or_completed_by_the_next_command(path: Path) -> None:
    before, seen = content(path), []
    for place in points(path, lambda album: forget_person(album, 1)):
        state = content(place)
        seen.append(state == before)
        if state != before:
            files = place.parent.glob(f"{place.name}*")
            assert not any(NAME.encode() in file.read_bytes() for file in files)
            assert [face[0] for face in state["faces"]] == [2, 3]
            assert (len(state["erased"]), state["steps"]) == (1, [])
    assert set(seen) == {True, False}


def test_a_killed_export_leaves_the_old_gallery_or_the_new_one(path: Path) -> None:
    target = path.parent / "out" / "friends.h5"
    target.parent.mkdir()
    with open_album(path) as album:
        export_confirmed(album, target)
        confirm_faces(album, [3], 1)
    old = target.read_bytes()

    def export() -> None:
        with open_album(path, write=False) as album:
            export_confirmed(album, target)

    kills = 0
    while killed_before_a_file(target.parent, kills + 1, export):
        kills += 1
        assert Gallery.open(target).counts()[NAME] in (1, 2)
        if Gallery.open(target).counts()[NAME] == 1:
            assert target.read_bytes() == old
    assert kills >= 3
    assert Gallery.open(target).counts() == {NAME: 2}
