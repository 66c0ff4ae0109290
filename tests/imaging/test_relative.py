from __future__ import annotations

from pathlib import Path

import pytest

from facerec.imaging.relative import Relative


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a/img1.jpg", "b/img1.jpg", "b/deep/x.jpg", "album.tar", "other/album.tar"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("places", "source", "path"),
    [
        (["a/img1.jpg"], "a/img1.jpg", "img1.jpg"),
        (["a"], "a/img1.jpg", "img1.jpg"),
        (["b/"], "b/deep/x.jpg", "deep/x.jpg"),
        (["."], "b/deep/x.jpg", "b/deep/x.jpg"),
        (["a/img1.jpg", "b/img1.jpg"], "b/img1.jpg", "b/img1.jpg"),
        (["a", "b"], "b/img1.jpg", "b/img1.jpg"),
        (["b", "b/deep"], "b/deep/x.jpg", "deep/x.jpg"),
        (["b/../a", "./b"], "b/../a/img1.jpg", "a/img1.jpg"),
        (["*/img1.jpg"], "a/img1.jpg", "a/img1.jpg"),
        (["b/**/*.jpg"], "b/deep/x.jpg", "deep/x.jpg"),
        (["b/{00..01}.jpg"], "b/00.jpg", "00.jpg"),
        (["album.tar"], "album.tar/ann/1.jpg", "ann/1.jpg"),
        (["album.tar/ann"], "album.tar/ann/1.jpg", "1.jpg"),
        (["album.tar/ann/1.jpg"], "album.tar/ann/1.jpg", "1.jpg"),
        (["album.tar", "other/album.tar"], "other/album.tar/1.jpg", "other/album.tar/1.jpg"),
        (["none.jpg"], "none.jpg", "none.jpg"),
        (["-"], "b/deep/x.jpg", "b/deep/x.jpg"),
        (["-"], "/elsewhere/x.jpg", "x.jpg"),
        (["https://host/a/1.jpg?key=secret"], "https://host/a/1.jpg", "1.jpg"),
        (["https://host/a/", "https://host/b/"], "https://host/b/c/1.jpg", "b/c/1.jpg"),
        (["https://host/t.tar"], "https://host/t.tar/ann/1.jpg", "ann/1.jpg"),
        (["https://host/1.jpg", "a"], "https://host/1.jpg", "host/1.jpg"),
    ],
)
def test_a_photo_lies_below_what_was_given(
    tree: Path, places: list[str], source: str, path: str
) -> None:
    assert str(Relative(places).path(source)) == path


def test_absolute_and_relative_names_are_the_same_place(tree: Path) -> None:
    assert str(Relative([tree / "a", "b"]).path("b/img1.jpg")) == "b/img1.jpg"
    assert str(Relative(["-"]).path(str(tree / "b" / "img1.jpg"))) == "b/img1.jpg"
