"""What the user decides: the last word counts, and undo takes it back."""

from __future__ import annotations

from pathlib import Path

import pytest

from facerec.album.decisions import (
    confirm_faces,
    merge_people,
    name_person,
    read_decisions,
    reject_faces,
    split_faces,
    tell_apart,
)
from facerec.album.faces import assign_faces, read_faces
from facerec.album.journal import step, undo_step
from facerec.album.people import add_person, find_person, read_people
from facerec.album.store import Album
from facerec.errors import UsageError
from tests.album.faking import scan, write_photo


@pytest.fixture
def grouped(album: Album, tmp_path: Path) -> Album:
    """Six faces in three photos; 1, 3, 5 are person 1 and 2, 4, 6 are person 2."""
    for number in range(3):
        write_photo(tmp_path / "photos" / f"{number}.png", [1, 2], number)
    scan(album, tmp_path / "photos")
    with step(album, "group"):
        for person in (1, 2):
            assert add_person(album) == person
            assign_faces(album, [(face, person) for face in range(person, 7, 2)])
    return album


def who(album: Album) -> dict[int, tuple[int | None, bool]]:
    return {face.id: (face.person, face.confirmed) for face in read_faces(album)}


def test_naming_somebody_confirms_their_faces_and_renaming_does_not(grouped: Album) -> None:
    name_person(grouped, 1, " Ann ")
    assert read_decisions(grouped).fixed == {1: 1, 3: 1, 5: 1}
    confirm_faces(grouped, [2], 2)
    with step(grouped, "group"):
        assign_faces(grouped, [(4, 1)])
    name_person(grouped, 1, "Anne")
    assert who(grouped)[4] == (1, False)
    assert [one.label for one in read_people(grouped)] == ["Anne", "person-0002"]
    with pytest.raises(UsageError, match="there is a Anne already"):
        name_person(grouped, 2, "Anne")


def test_a_grouping_leaves_confirmed_faces_alone(grouped: Album) -> None:
    confirm_faces(grouped, [1], 2)
    assign_faces(grouped, [(1, 1), (3, None)])
    assert who(grouped)[1] == (2, True)
    assert who(grouped)[3] == (None, False)


def test_the_last_word_counts(grouped: Album) -> None:
    reject_faces(grouped, [1], 1)
    assert who(grouped)[1] == (None, False)
    assert read_decisions(grouped).forbidden == {(1, 1)}
    confirm_faces(grouped, [1], 1)
    assert (read_decisions(grouped).forbidden, read_decisions(grouped).fixed) == (set(), {1: 1})
    confirm_faces(grouped, [1], 2)
    assert read_decisions(grouped).fixed == {1: 2}
    reject_faces(grouped, [1], 1)
    assert who(grouped)[1] == (2, True)


def test_merging_moves_faces_decisions_name_and_id(grouped: Album) -> None:
    name_person(grouped, 2, "Ben")
    third = split_faces(grouped, [5])
    reject_faces(grouped, [6], 2)
    merge_people(grouped, [2, 1, 1], 1)
    assert find_person(grouped, "person-0002") == find_person(grouped, "Ben") == 1
    assert who(grouped) == {
        1: (1, True), 2: (1, True), 3: (1, True), 4: (1, True), 5: (third, True), 6: (None, False),
    }  # fmt: skip
    decisions = read_decisions(grouped)
    assert decisions.forbidden == {(5, 1), (6, 1)}
    assert decisions.different == {(1, third)}
    with pytest.raises(UsageError, match="cannot be merged into itself"):
        merge_people(grouped, [1], 1)


def test_people_told_apart_and_merged_after_all_are_one(grouped: Album) -> None:
    tell_apart(grouped, 2, 1)
    tell_apart(grouped, 1, 2)
    assert read_decisions(grouped).different == {(1, 2)}
    merge_people(grouped, [2], 1)
    assert read_decisions(grouped).different == set()
    with pytest.raises(UsageError, match="apart from itself"):
        tell_apart(grouped, 1, 1)


def test_faces_split_off_are_a_new_person(grouped: Album) -> None:
    new = split_faces(grouped, [1, 2], "Zoe")
    assert new == 3
    assert {who(grouped)[1], who(grouped)[2]} == {(3, True)}
    decisions = read_decisions(grouped)
    assert decisions.forbidden == {(1, 1), (2, 2)}
    assert decisions.different == {(1, 3), (2, 3)}


@pytest.mark.parametrize("face", [0, 7, -1, 1 << 70])
def test_a_face_that_is_not_there_changes_nothing(grouped: Album, face: int) -> None:
    for decide in (
        lambda: confirm_faces(grouped, [1, face], 2),
        lambda: reject_faces(grouped, [1, face], 1),
        lambda: split_faces(grouped, [1, face]),
    ):
        with pytest.raises(UsageError, match="there is no face"):
            decide()
    assert who(grouped)[1] == (1, False)
    assert len(list(read_people(grouped))) == 2


def test_undo_takes_back_each_decision(grouped: Album) -> None:
    def content() -> list[list]:
        tables = ("faces", "people", "decisions")
        return [list(grouped.rows(f"SELECT * FROM {one}")) for one in tables]

    states = [content()]
    for decide in (
        lambda: name_person(grouped, 1, "Ann"),
        lambda: confirm_faces(grouped, [2, 4], 2),
        lambda: reject_faces(grouped, [1], 1),
        lambda: split_faces(grouped, [3, 6], "Zoe"),
        lambda: tell_apart(grouped, 1, 2),
        lambda: merge_people(grouped, [1, 3], 2),
        lambda: name_person(grouped, 2, "Anne"),
    ):
        decide()
        states.append(content())
    for state in reversed(states):
        assert content() == state
        undo_step(grouped)
