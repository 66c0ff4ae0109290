from __future__ import annotations

from pathlib import Path

import pytest

from facerec.errors import UsageError
from facerec.files import replacing


def test_the_target_appears_whole_and_nothing_else_remains(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.txt"
    with replacing(target) as temporary:
        temporary.write_text("all")
        assert not target.exists()
    assert target.read_text() == "all"
    assert list(target.parent.iterdir()) == [target]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(target) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_new_file_is_as_readable_as_any(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with replacing(tmp_path / "file") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be written"), replacing(tmp_path / "file" / "x"):
        pass


def test_a_folder_in_the_place_of_the_target_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    with pytest.raises(UsageError, match="cannot be written"), replacing(tmp_path / "folder"):
        pass
