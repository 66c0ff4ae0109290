"""Opening an album: what is there, what is not one, and what another process does with it."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from facerec.album.people import add_person, read_people
from facerec.album.schema import MIGRATIONS
from facerec.album.store import open_album
from facerec.errors import FacerecError, IncompatibleError, MissingError, UsageError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "a.db"
    open_album(made, create=True).close()
    return made


def test_an_album_is_made_when_asked_alone(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such album; make one"):
        open_album(tmp_path / "b.db")
    with open_album(tmp_path / "new" / "b.db", create=True) as album:
        assert album.writable
    with open_album(tmp_path / "new" / "b.db", write=False) as album:
        assert not album.writable


def test_an_empty_file_is_a_new_album(tmp_path: Path) -> None:
    (tmp_path / "b.db").touch()
    open_album(tmp_path / "b.db", create=True).close()
    with open_album(tmp_path / "b.db") as album:
        assert album.writable
    assert (tmp_path / "b.db").read_bytes().startswith(b"SQLite format 3")


def _text(path: Path) -> None:
    path.write_text("these are not the bytes you are looking for" * 100)


def _other(path: Path) -> None:
    path.unlink()
    sqlite3.connect(path).execute("CREATE TABLE t (x)")


def _newer(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")


def _damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "error", "told"),
    [
        (_text, MissingError, "is no album"),
        (_other, MissingError, "SQLite file, but no album"),
        (_newer, IncompatibleError, "newer facerec"),
        (_damaged, MissingError, "is damaged"),
        (_folder, MissingError, "is a folder"),
    ],
)
@pytest.mark.parametrize("write", [True, False])
def test_what_is_no_album_is_named(
    path: Path, spoil: object, error: type[FacerecError], told: str, write: bool
) -> None:
    spoil(path)  # type: ignore[operator]
    with pytest.raises(error, match=told) as raised, open_album(path, write=write) as album:
        list(read_people(album))
    assert str(path) in str(raised.value)


def test_another_process_that_writes_is_waited_for_and_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facerec.album.store._BUSY_SECONDS", 0.05)
    other = sqlite3.connect(path, isolation_level=None)
    with open_album(path) as album, open_album(path, write=False) as reader:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UsageError, match="another process is writing it"):
            add_person(album)
        assert list(read_people(reader)) == []
        other.execute("ROLLBACK")
        assert add_person(album) == 1


def test_a_failed_transaction_leaves_nothing(path: Path) -> None:
    with open_album(path) as album:
        with pytest.raises(KeyError), album.transaction():
            add_person(album, "Ann")
            with album.transaction():
                add_person(album, "Ben")
            raise KeyError
        assert [one.name for one in read_people(album)] == []


def test_an_album_without_its_log_is_read_where_nothing_can_be_written(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_album(path) as album:
        add_person(album, "Ann")
    folder = tmp_path / "disk"
    folder.mkdir()
    shutil.copy(path, folder / "a.db")
    # Root may write everywhere; a read-only disk says no to it too.
    monkeypatch.setattr("os.access", lambda *_: False)
    with open_album(folder / "a.db", write=False) as album:
        assert [one.name for one in read_people(album)] == ["Ann"]
    assert [one.name for one in folder.iterdir()] == ["a.db"]


def test_a_name_with_any_character_is_a_file(tmp_path: Path) -> None:
    for name in ("50%?.db", "a#b.db", "Öl & Gas.db"):
        open_album(tmp_path / name, create=True).close()
        assert (tmp_path / name).is_file()


@pytest.mark.parametrize("write", [True, False])
def test_an_album_of_an_older_facerec_is_brought_to_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: bool
) -> None:
    path = tmp_path / "old.db"
    with monkeypatch.context() as older:
        older.setattr("facerec.album.store.MIGRATIONS", MIGRATIONS[:1])
        with open_album(path, create=True) as album:
            add_person(album, "Ann")
    with open_album(path, write=write) as album:
        assert [one.name for one in read_people(album)] == ["Ann"]
        assert album.row("PRAGMA user_version") == (len(MIGRATIONS),)
        assert album.writable is write
