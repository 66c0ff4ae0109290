from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from facerec.errors import UsageError
from facerec.files.locking import locked
from facerec.files.writing import check_output, check_output_folder, replacing


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


def test_a_link_is_followed_and_stays_one(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    real, link = tmp_path / "elsewhere" / "real.txt", tmp_path / "link.txt"
    real.write_text("old")
    link.symlink_to("elsewhere/real.txt")
    with replacing(link) as temporary:
        temporary.write_text("new")
        assert temporary.parent == real.parent
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "elsewhere",
        "link.txt",
        "real.txt",
    ]


def test_a_link_to_nothing_yet_gets_what_it_names(tmp_path: Path) -> None:
    link = tmp_path / "link.txt"
    link.symlink_to("new/real.txt")
    with replacing(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert (tmp_path / "new" / "real.txt").read_text() == "new"


def test_links_in_a_circle_are_named(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("link")
    with pytest.raises(UsageError, match="levels of symbolic links"), replacing(link):
        pass
    with pytest.raises(UsageError, match="levels of symbolic links"):
        check_output(link)
    assert link.is_symlink()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
def test_a_replaced_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    target.chmod(mode)
    with replacing(target) as temporary:
        # Nobody may read on the way what only its owner may read in the end.
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
        temporary.write_text("new")
    assert stat.S_IMODE(target.stat().st_mode) == mode


def test_a_new_file_gets_the_umask_of_now(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "file") as temporary:
            temporary.write_text("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_replaced_file_keeps_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    target.chmod(0o664)
    real, wanted = Path.stat, []

    def of_another(path: Path, **options: bool) -> os.stat_result:
        facts = real(path, **options)
        return os.stat_result([*facts[:4], 1234, 5678, *facts[6:]]) if path == target else facts

    monkeypatch.setattr(Path, "stat", of_another)
    monkeypatch.setattr(os, "chown", lambda path, *ids: wanted.append(ids))
    with replacing(target) as temporary:
        temporary.write_text("new")
    assert wanted == [(1234, 5678)]

    def refuse(*_: object) -> None:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    with replacing(target) as temporary:
        temporary.write_text("newer")
    monkeypatch.undo()
    # Another group may not do what the old one might.
    assert stat.S_IMODE(target.stat().st_mode) == 0o644


def test_a_read_only_file_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    # The superuser may write anything.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != target or mode != os.W_OK)
    with pytest.raises(UsageError, match="it is read-only"), replacing(target):
        pass
    with pytest.raises(UsageError, match="it is read-only"):
        check_output(target)
    assert target.read_text() == "old"


@pytest.mark.parametrize("name", ["é" * 127, "👩" * 63, "x" * 255, "a." + "y" * 253])
def test_a_name_as_long_as_any_can_be_written(tmp_path: Path, name: str) -> None:
    with replacing(tmp_path / name) as temporary:
        temporary.write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_name_that_is_too_long_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too long"), replacing(tmp_path / ("x" * 300)):
        pass
    with pytest.raises(UsageError, match="too long"):
        check_output(tmp_path / ("x" * 300))


def test_a_device_stays_one(tmp_path: Path) -> None:
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)
    check_output(os.devnull, force=False)
    with replacing(os.devnull) as temporary:
        temporary.write_text("lost")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_a_named_pipe_gets_the_bytes(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        read = pool.submit(pipe.read_text)
        with replacing(pipe) as temporary:
            assert temporary.suffix == ".json"
            temporary.write_text("all")
        assert read.result() == "all"
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_lock_is_one_by_every_name(tmp_path: Path) -> None:
    real, link = tmp_path / "real.h5", tmp_path / "link.h5"
    real.touch()
    link.symlink_to(real)
    with locked(link), pytest.raises(UsageError, match="another facerec"), locked(real):
        pass


def unwritable(tmp_path: Path) -> list[Path]:
    """Places that nobody can write, whoever runs the tests."""
    (tmp_path / "file").touch()
    return [tmp_path / "file" / "below" / "x", Path("/proc/none/x"), Path("/sys/x")]


def test_a_check_says_what_a_write_would(tmp_path: Path) -> None:
    for place in unwritable(tmp_path):
        with pytest.raises(UsageError, match=f"{place}: cannot be written"):
            check_output(place)
        with pytest.raises(UsageError, match=f"{place}: cannot be written"), replacing(place):
            pass
        with pytest.raises(UsageError, match=f"{place}: cannot be written"):
            check_output_folder(place)
    with pytest.raises(UsageError, match="it is a folder"):
        check_output(tmp_path)
    with pytest.raises(UsageError, match="is not a folder"):
        check_output_folder(tmp_path / "file")


def test_a_check_leaves_nothing_behind(tmp_path: Path) -> None:
    check_output(tmp_path / "a" / "b" / "file")
    check_output_folder(tmp_path / "c" / "d")
    check_output_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_needs_force(tmp_path: Path) -> None:
    target = tmp_path / "file"
    check_output(target, force=False)
    target.touch()
    with pytest.raises(UsageError, match="file exists; --force replaces it"):
        check_output(target, force=False)
    check_output(target)


def test_an_input_is_never_the_output(tmp_path: Path) -> None:
    given, link, hard = (tmp_path / name for name in ("in", "link", "hard"))
    given.touch()
    link.symlink_to(given)
    hard.hardlink_to(given)
    for target in (given, link, hard, tmp_path / "." / "in"):
        with pytest.raises(UsageError, match="is read by this command"):
            check_output(target, inputs=[tmp_path / "missing", given])
    check_output(tmp_path / "other", inputs=[given, tmp_path / "other"])
