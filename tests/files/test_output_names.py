from __future__ import annotations

import os
import unicodedata

import pytest

from facerec.files.output_names import OutputNames, marked_name, safe_name


@pytest.mark.parametrize(
    "name",
    ["a.jpg", "2024-05-01 12:30:00.jpg", "Ωmega 日本.png", ".x", "a.b.c", "x~1.jpg", "é" * 127],
)
def test_a_name_that_can_be_written_stays(name: str) -> None:
    assert safe_name(name, windows=False) == name


@pytest.mark.parametrize(
    "name",
    ["CON", "aux.jpg", "nul.tar.gz", "com1", "LPT9.png", "com¹.x", "a.", "a ", "12:30.jpg",
     "a\\b", "a?", 'say "x"', "a|b", "\x07", "CON .jpg"],
)  # fmt: skip
def test_what_windows_does_not_take_is_changed_there_alone(name: str) -> None:
    changed = safe_name(name, windows=True)
    assert changed != name
    assert not set('<>:"/\\|?*\x07') & set(changed)
    assert not changed.endswith((".", " "))
    assert changed.split(".")[0].rstrip().lower() not in {"con", "aux", "nul", "com1", "lpt9"}
    assert safe_name(changed, windows=True) == changed
    assert safe_name(name, windows=False) == name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "a\0b"])
def test_no_name_leads_elsewhere(name: str) -> None:
    changed = safe_name(name, windows=False)
    assert changed not in ("", ".", "..")
    assert not {"/", "\0"} & set(changed)


def test_two_names_that_are_changed_stay_two() -> None:
    assert len({safe_name(name) for name in ("a/b", "a_b", "a\0b")}) == 3


@pytest.mark.parametrize("letter", ["x", "é", "日", "👩", "\udcff"])
def test_a_long_name_is_shortened_by_bytes_and_keeps_its_suffix(letter: str) -> None:
    first, second = (safe_name(letter * 300 + end + ".jpg") for end in "ab")
    assert first != second
    for name in (first, second):
        assert 240 < len(os.fsencode(name)) <= 255
        assert name.endswith(".jpg")
        assert set(name.partition("~")[0]) == {letter}


def test_a_long_end_is_no_suffix() -> None:
    name = safe_name("1. " + "a very long title " * 20)
    assert name.startswith("1. a very long")
    assert len(name) == 255


def test_who_comes_second_gets_a_mark() -> None:
    names = OutputNames()
    assert str(names.claim("a/img1.jpg", "one/a/img1.jpg")) == "a/img1.jpg"
    second = names.claim("a/img1.jpg", "two/a/img1.jpg")
    assert str(second) == "a/" + marked_name("img1.jpg", "two/a/img1.jpg")
    third = names.claim("a/img1.jpg", "two/a/img1.jpg")
    assert len({"a/img1.jpg", str(second), str(third)}) == 3


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("A.jpg", "a.jpg"),
        ("Ann/1.jpg", "ann/1.jpg"),
        (unicodedata.normalize("NFC", "é.jpg"), unicodedata.normalize("NFD", "é.jpg")),
        ("straße", "STRASSE"),
    ],
)
def test_names_that_some_file_system_takes_for_one_differ_more(first: str, second: str) -> None:
    names = OutputNames()
    claimed = [str(names.claim(name)) for name in (first, second)]
    assert claimed[0] == first
    folded = {unicodedata.normalize("NFC", name).casefold() for name in claimed}
    assert len(folded) == 2


def test_a_file_and_a_folder_of_one_name_are_two() -> None:
    names = OutputNames()
    assert str(names.claim("x.jpg")) == "x.jpg"
    assert str(names.claim("x.jpg/1.jpg")).startswith("x~")
    assert str(names.claim("y.jpg/1.jpg")) == "y.jpg/1.jpg"
    assert str(names.claim("y.jpg")).startswith("y~")


def test_a_path_stays_below_its_folder() -> None:
    names = OutputNames()
    for wanted in ("/etc/x", "../../x", "a/../../b", "./c", "//"):
        claimed = names.claim(wanted)
        assert not claimed.is_absolute()
        assert ".." not in claimed.parts


def test_what_is_in_use_is_not_handed_out() -> None:
    assert str(OutputNames(["x-2.png"]).claim("x-2.png", "x.jpg")).startswith("x-2~")


def test_the_same_requests_get_the_same_paths() -> None:
    wanted = ["a.jpg", "A.jpg", "a.jpg", "b/../a.jpg", "日" * 200]
    first, second = OutputNames(), OutputNames()
    assert [first.claim(name) for name in wanted] == [second.claim(name) for name in wanted]
