"""Who a photo belongs to: the same in every command, for folders, archives, lists and shards."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from facerec.cli.cleanup_inputs import _list_folder
from facerec.errors import UsageError
from facerec.evaluation.protocols.identification import read_identification
from facerec.evaluation.protocols.pair_list import read_pair_list
from facerec.imaging.sources import list_people
from facerec.training.data.opening import open_examples

Owned = dict[str, str]
"""Person by the photo's path below the tree."""


def plant(root: Path, keys: Sequence[str]) -> Path:
    for key in keys:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(key.encode())
    return root


def enrolled(place: Path, level: str = "auto") -> Owned:
    return {photo.key: person for person, photo in list_people([place], level=level)}


def trained(place: Path, level: str = "auto") -> Owned:
    examples = open_examples(place, level)
    return {
        examples.name(row).removeprefix(f"{place}/"): examples.people[label]
        for row, label in enumerate(examples.labels)
    }


def cleaned(place: Path, level: str = "auto") -> Owned:
    return {key: person for person, _, key in _list_folder(place, level)[0]}


LAYOUTS: dict[str, Owned] = {
    "a folder per person": {"ann/1.jpg": "ann", "bob/1.jpg": "bob"},
    "deeper folders": {"ann/2019/1.jpg": "ann", "ann/holiday/2.jpg": "ann", "bob/3.jpg": "bob"},
    "views": {f"{who}/{view}/1.jpg": who for who in ("001", "002") for view in VIEWS}
    if (VIEWS := ("frontal", "profile"))
    else {},
    "one person's views": {"ann/frontal/1.jpg": "ann", "ann/profile/1.jpg": "ann"},
    "cfp": {
        "Data/Images/001/frontal/01.jpg": "001",
        "Data/Images/001/profile/01.jpg": "001",
        "Data/Images/002/frontal/01.jpg": "002",
    },
    "splits": {"train/ann/1.jpg": "ann", "val/ann/2.jpg": "ann", "test/bob/1.jpg": "bob"},
    "views of people": {"frontal/ann/1.jpg": "ann", "profile/ann/1.jpg": "ann"},
    "views of what is given": {"frontal/1.jpg": "given", "left-2/1.jpg": "given"},
    "loose photos": {"1.jpg": "given", "2.jpg": "given"},
    "loose photos beside people": {"1.jpg": "given", "ann/2.jpg": "ann"},
    "a pile called photos": {"mum/1.jpg": "mum", "photos/1.jpg": "photos"},
    "composed and decomposed": {"José/1.jpg": "José", "Jose\u0301/2.jpg": "José"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_command_names_the_same_people(layout: str, tmp_path: Path) -> None:
    expected = LAYOUTS[layout]
    place = plant(tmp_path / "given", list(expected))
    assert enrolled(place) == expected
    assert trained(place) == expected
    assert cleaned(place) == expected


@pytest.mark.parametrize("kind", ["tar", "gztar", "zip"])
@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "wrapped"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_trees_archive_names_the_same_people(
    layout: str, kind: str, wrapped: bool, tmp_path: Path
) -> None:
    expected = LAYOUTS[layout]
    place = plant(tmp_path / "in" / "given", list(expected))
    below = (tmp_path / "in") if wrapped else place
    archive = Path(shutil.make_archive(str(tmp_path / "given"), kind, below))
    stem = "given/" if wrapped else ""
    wanted = {f"{stem}{key}": person for key, person in expected.items()}
    assert enrolled(archive) == wanted
    assert trained(archive) == wanted


def test_a_lone_folder_in_an_archive_is_passed_and_on_disk_is_a_person(tmp_path: Path) -> None:
    place = plant(tmp_path / "given", ["lfw/ann/1.jpg", "lfw/bob/1.jpg"])
    archive = Path(shutil.make_archive(str(tmp_path / "given"), "zip", place))
    assert set(enrolled(archive).values()) == {"ann", "bob"}
    assert set(enrolled(place).values()) == {"lfw"}
    assert set(enrolled(place, "parent").values()) == {"ann", "bob"}


def test_folders_without_photos_do_not_count(tmp_path: Path) -> None:
    place = plant(tmp_path / "given", ["Data/Images/001/frontal/1.jpg", "Data/Fiducials/001/1.txt"])
    assert set(enrolled(place).values()) == set(trained(place).values()) == {"001"}


KEYS = ["fr/ann/a/1.jpg", "de/bob/b_2.jpg", "de/c (3).jpg", "d-4.jpg", "s1.jpg"]


@pytest.mark.parametrize("owned_by", [enrolled, trained, cleaned])
@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("top", ["fr", "de", "de", "given", "given"]),
        ("1", ["fr", "de", "de", "given", "given"]),
        ("2", ["ann", "bob", "de", "given", "given"]),
        ("parent", ["a", "bob", "de", "given", "given"]),
        ("0", ["given"] * 5),
        ("file", ["1", "b", "c", "d", "s1"]),
    ],
)
def test_the_level_may_be_said(
    owned_by: Callable[[Path, str], Owned], level: str, expected: list[str], tmp_path: Path
) -> None:
    place = plant(tmp_path / "given", KEYS)
    assert owned_by(place, level) == dict(zip(KEYS, expected, strict=True))


def test_a_level_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="person level bottom: give auto, top, parent, file, or"):
        list_people([tmp_path], level="bottom")


@pytest.mark.parametrize(
    ("path", "level", "person"),
    [
        ("p/ann/1.jpg", "auto", "ann"),
        ("p/001/frontal/1.jpg", "auto", "001"),
        ("/p/001/session_2/left/1.jpg", "auto", "001"),
        ("p/ann/2019/1.jpg", "2", "ann"),
        ("p/ann_2.jpg", "file", "ann"),
    ],
)
def test_a_listed_path_is_of_its_folder_or_the_one_around_a_view(
    path: str, level: str, person: str
) -> None:
    ((found, _),) = list_people(["-"], stdin=io.BytesIO(path.encode()), level=level)
    assert found == person


def test_a_folder_and_a_member_of_an_archive_are_like_a_folder_and_a_file(tmp_path: Path) -> None:
    place = plant(tmp_path / "p", ["001/frontal/1.jpg", "001/profile/2.jpg", "002/frontal/1.jpg"])
    archive = Path(shutil.make_archive(str(tmp_path / "p"), "zip", place))
    assert set(enrolled(archive / "001").values()) == {"001"}
    listed = io.BytesIO(f"{archive}/001/frontal/1.jpg".encode())
    assert [person for person, _ in list_people(["-"], stdin=listed)] == ["001"]


def test_lists_of_evaluate_name_the_same_people() -> None:
    lines = "\n".join(f"d/{who}/{view}/1.jpg" for who in ("001", "002") for view in VIEWS)
    found = read_identification(lines, "gallery", lines, "probes")
    assert found.gallery_people.tolist() == [0, 0, 1, 1]
    apart = read_identification(lines, "gallery", lines, "probes", "parent")
    assert apart.gallery_people.tolist() == [0, 1, 0, 1]
    pairs = b"001/frontal/1.jpg 001/profile/1.jpg\n001/frontal/1.jpg 002/frontal/1.jpg"
    assert read_pair_list(pairs, "pairs").pairs[:, 1].tolist() == [1, 2]
    assert read_pair_list(pairs, "pairs").same.tolist() == [True, False]
    assert read_pair_list(pairs, "pairs", level="parent").same.tolist() == [False, True]
