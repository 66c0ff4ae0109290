"""Steps, and what undoing them gives back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from facerec.album.faces import assign_faces
from facerec.album.journal import last_step, step, undo_step
from facerec.album.people import add_person, find_person, read_people
from facerec.album.store import Album, open_album
from facerec.errors import UsageError
from tests.album.faking import scan, write_photo

TABLES = ("faces", "people", "decisions", "steps", "changes")


@pytest.fixture
def album(tmp_path: Path) -> Iterator[Album]:
    write_photo(tmp_path / "photos" / "1.png", [1, 2, 3])
    with open_album(tmp_path / "album.db", create=True) as opened:
        scan(opened, tmp_path / "photos")
        yield opened


def content(album: Album) -> dict[str, list]:
    return {table: list(album.rows(f"SELECT * FROM {table}")) for table in TABLES}


def test_undoing_restores_every_row(album: Album) -> None:
    states = [content(album)]
    with step(album, "one"):
        ann = add_person(album, "Ann")
        assign_faces(album, [(1, ann), (2, ann)])
    states.append(content(album))
    with step(album, "two"):
        album.execute("INSERT INTO decisions (kind, face, person) VALUES ('is', 1, ?)", (ann,))
        album.execute("UPDATE people SET name = NULL")
        ben = add_person(album, "Ann")
        assign_faces(album, [(2, ben), (1, None), (3, ben)])
    states.append(content(album))
    with step(album, "three"):
        album.execute("DELETE FROM decisions")
        album.execute("UPDATE people SET merged = 1, name = NULL WHERE id = 2")
    for before, command in zip(reversed(states), ("three", "two", "one"), strict=True):
        undone = undo_step(album)
        assert undone is not None
        assert undone.command == command
        assert content(album) == before
    assert undo_step(album) is None


def test_a_step_that_changes_nothing_or_fails_is_none(album: Album) -> None:
    with step(album, "nothing"):
        assign_faces(album, [(1, None)])
    with pytest.raises(KeyError), step(album, "fails"):
        add_person(album, "Ann")
        raise KeyError
    assert last_step(album) is None
    assert list(read_people(album)) == []


def test_an_undone_person_leaves_no_id_for_another(album: Album) -> None:
    with step(album, "one"):
        assert add_person(album) == 1
    undo_step(album)
    assert add_person(album) == 2


def test_people_are_found_by_name_and_id(album: Album) -> None:
    ann, ben, zoe = (add_person(album, name) for name in ("Ann", "Ben", None))
    album.execute("UPDATE people SET merged = ? WHERE id = ?", (ann, zoe))
    for text in ("Ann", "ann", "ANN", " Ann ", "person-0001", "Person-1", "person-0003"):
        assert find_person(album, text) == ann
    assert find_person(album, "ben") == ben
    with pytest.raises(UsageError, match="did you mean Ben"):
        find_person(album, "Bem")
    with pytest.raises(UsageError, match="no person-0004"):
        find_person(album, "person-0004")
    for bad in ("", " ", "a/b", "person-0007", "a\nb"):
        with pytest.raises(UsageError):
            add_person(album, bad)
