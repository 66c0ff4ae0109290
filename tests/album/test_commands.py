"""The commands of `facerec album`, as they are typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from facerec.album import asking, faces
from facerec.album.decisions import name_person, split_faces
from facerec.album.faces import read_columns
from facerec.album.records import FaceColumns
from facerec.album.search import parse_day
from facerec.album.store import Album, open_album
from facerec.errors import UsageError
from facerec.gallery import Gallery
from tests.album.faking import scan, write_photo
from tests.album.made import Group, make_album
from tests.cli.test_start_up import HEAVY
from tests.conftest import Run, spawn

Type = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def type_(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Type:
    """Type `facerec album …` in a folder with an album.

    Photos 0 to 3 of the years 2018 to 2021 show anna and ben; anna and carl; anna; a stranger.
    """
    shown = ([1, 2], [1, 3], [1], [9])
    for number, people in enumerate(shown):
        write_photo(tmp_path / "photos" / f"{number}.png", people, number)
    with open_album(tmp_path / "album.db", create=True) as album:
        scan(album, tmp_path / "photos")
        album.execute("UPDATE photos SET taken = (2017 + id) || '-07-14T12:00:00'")
        for name, faces in {"anna": [1, 3, 5], "ben": [2], "carl": [4]}.items():
            split_faces(album, faces, name)
    monkeypatch.chdir(tmp_path)
    return lambda line: run("album", *line.split())


def found(out: str) -> list[str]:
    return [Path(line).stem for line in out.splitlines()]


@pytest.mark.parametrize(
    ("asked", "photos"),
    [
        ("--with anna", "012"),
        ("--with anna --with ben", "0"),
        ("--with Anna --without ben", "12"),
        ("--with person-0001 --without ben --without carl", "2"),
        ("--with anna --from 2019", "12"),
        ("--with anna --to 2019", "01"),
        ("--with anna --from 2019 --to 2019", "1"),
        ("--from 2019-07-14 --to 2020/7", "12"),
        ("--from 2019-07-15 --to 2020-07-13", ""),
        ("--without anna", "3"),
        ("", "0123"),
    ],
)
def test_search_prints_paths(type_: Type, asked: str, photos: str) -> None:
    code, out, err = type_(f"search {asked}")
    assert (code, found(out)) == (0, list(photos)), err
    assert ("no such photo" in err) is (not photos)


def test_search_prints_json(type_: Type, tmp_path: Path) -> None:
    _, out, _ = type_("search --with ben --json")
    assert json.loads(out) == {
        "photo": str(tmp_path / "photos/0.png"),
        "people": ["anna", "ben"],
        "taken": "2018-07-14T12:00:00",
    }


@pytest.mark.parametrize("day", ["soon", "2019-13", "2019-01-32", "19", "2019-", "²019"])
def test_what_is_no_day_is_refused(day: str) -> None:
    with pytest.raises(UsageError):
        parse_day(day)


def test_people_and_show_print_the_fields_that_others_read(type_: Type, tmp_path: Path) -> None:
    _, out, err = type_("people")
    first = json.loads(out.splitlines()[0])
    assert first == {
        "person": "person-0001", "name": "anna", "faces": 3, "photos": 3,
        "first": "2018-07-14T12:00:00", "last": "2020-07-14T12:00:00",
    }  # fmt: skip
    assert "1 face belongs to nobody yet" in err
    _, out, _ = type_("show ben --json")
    assert json.loads(out) == {
        "photo": str(tmp_path / "photos/0.png"), "box": [16.0, 0.0, 32.0, 16.0],
        "person": "person-0002", "name": "ben", "confirmed": True, "quality": None,
        "taken": "2018-07-14T12:00:00", "probability": None, "face": 2,
    }  # fmt: skip
    _, out, _ = type_("show --table")
    assert "anna" in out


def test_decisions_are_made_and_undone(type_: Type) -> None:
    assert type_("split 6 --name dora")[0] == 0
    assert type_("reject anna 1 person-2")[0] == 0
    assert type_("confirm dora 1")[0] == 0
    assert type_("name dora doris")[0] == 0
    code, _, err = type_("merge doris carl")
    assert (code, "give --into doris or carl" in err) == (2, True)
    assert type_("merge doris carl --into carl")[0] == 0
    assert len(type_("show carl")[1].splitlines()) == 3
    assert type_("show person-0004")[1] == type_("show carl")[1]
    for told in ("merge doris", "name dora doris", "confirm face 1 as dora", "tell anna and ben"):
        code, _, err = type_("undo")
        assert (code, told in err) == (0, True)
    assert len(type_("show anna")[1].splitlines()) == 2


def test_a_name_that_somebody_has_means_one_person_and_is_asked(
    type_: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[bool] = [False, True]
    monkeypatch.setattr("typer.confirm", lambda *_, **__: answers.pop(0))
    assert type_("name carl ben")[0] == 2
    assert type_("name carl ben")[0] == 0
    assert len(type_("show person-0003")[1].splitlines()) == 2
    assert type_("undo")[0] == 0
    assert type_("name carl ben --force")[0] == 0


def test_forgetting_asks_and_says_what_is_left(
    type_: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert type_("forget anna")[0] == 2
    assert len(type_("show anna")[1].splitlines()) == 3
    code, _, err = type_("forget anna --force")
    assert (code, "3 faces erased" in err) == (0, True)
    code, _, err = type_("show anna")
    assert (code, "nobody called anna" in err) == (2, True)
    assert type_("undo")[0] == 2
    with open_album("album.db") as album:
        album.set_meta("gallery", "friends.h5")
    _, _, err = type_("forget ben --force")
    assert "facerec gallery remove ben -g friends.h5" in err
    with open_album("album.db", write=False) as album:
        assert album.meta("gallery") is None


def test_the_exported_gallery_has_the_confirmed_faces_of_the_named(
    type_: Type, tmp_path: Path
) -> None:
    assert type_("split 6")[0] == 0
    assert type_("reject anna 1")[0] == 0
    assert type_("export -o friends.h5")[0] == 0
    gallery = Gallery.open("friends.h5")
    assert gallery.counts() == {"anna": 2, "ben": 1, "carl": 1}
    assert gallery.person("ben").source == ["photos/0.png"]
    code, _, err = type_("export -o friends.h5")
    assert (code, "--force" in err) == (2, True)
    assert type_("name anna anne")[0] == 0
    assert type_("export -o friends.h5 --force")[0] == 0
    assert set(Gallery.open("friends.h5").counts()) == {"anne", "ben", "carl"}
    assert type_("export -o album.db --force")[0] == 2
    with open_album(tmp_path / "album.db", write=False):
        pass


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("show bem", "did you mean ben?"),
        ("show person-0099", "there is no person-0099"),
        ("show person-00000000000000000000", "nobody called"),
        ("name anna person-0003", "is how unnamed people are called"),
        ("name anna a/b", "no usable name"),
        ("merge anna", "cannot be merged into itself"),
        ("reject anna 99", "there is no face 99"),
        (f"reject anna {'9' * 5000}", "nobody called 999"),
        ("split x", "valid integer"),
        ("search --from yesterday", "is no date"),
        ("people -a none.db", "no such album"),
        ("people -a photos", "is a folder"),
        ("people -a photos/0.png", "is no album"),
        ("frobnicate", "No such command"),
    ],
)
def test_what_cannot_be_is_one_line(type_: Type, line: str, told: str) -> None:
    code, out, err = type_(line)
    assert (code, out) == (4 if " -a " in line else 2, "")
    assert told in err
    assert err.count("\n") == 1


def test_people_are_offered_to_the_shell(type_: Type, tmp_path: Path) -> None:
    from tests.cli.test_completion import complete

    assert complete("facerec album show an", tmp_path) == ["anna"]
    assert complete("facerec album search --with b", tmp_path) == ["ben"]
    assert complete("facerec album merge -a none.db ", tmp_path) == []


@pytest.mark.parametrize("line", ["search", "search --json", "show", "people"])
def test_a_closed_pipe_is_no_error(type_: Type, tmp_path: Path, line: str) -> None:
    # More than a pipe holds.
    with open_album(tmp_path / "album.db") as album, album.transaction():
        for number in range(10, 1500):
            album.execute(
                "INSERT INTO photos (id, content, width, height) VALUES (?1, ?1, 1, 1)", (number,)
            )
            album.execute("INSERT INTO places VALUES (?, ?, 1, 1)", (f"/{number:0100d}", number))
            album.execute("INSERT INTO people (id, name) VALUES (?1, 'person' || ?1)", (number,))
            album.execute(
                "INSERT INTO faces (photo, x1, y1, x2, y2, landmarks, score, person)"
                " VALUES (?1, 0, 0, 1, 1, '', 1, ?1)",
                (number,),
            )
    command = f"{sys.executable} -m facerec album {line} | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1


def test_names_that_differ_in_case_are_both_named(type_: Type) -> None:
    assert type_("name ben Anna")[0] == 0
    code, _, err = type_("show ANNA")
    assert (code, "ANNA may be Anna or anna; give the name as it is written" in err) == (2, True)
    assert type_("show Anna")[0] == type_("show anna")[0] == 0


def test_undo_takes_back_what_was_written_into_photos(type_: Type, tmp_path: Path) -> None:
    pytest.importorskip("exiv2")
    photo, sidecar = tmp_path / "photos" / "0.png", tmp_path / "photos" / "0.png.xmp"
    before = photo.read_bytes()
    assert type_("write --xmp sidecar --force")[0] == 0
    assert type_("write --xmp embedded --force")[0] == 0
    assert photo.read_bytes() != before
    assert type_("undo")[0] == 0
    assert photo.read_bytes() == before
    sidecar.write_text(sidecar.read_text() + " ")
    code, _, err = type_("undo")
    assert (code, sidecar.exists(), "stays as it is" in err) == (3, True, True)
    assert not (tmp_path / "photos" / "1.png.xmp").exists()
    code, _, err = type_("undo")
    assert (code, "undone: split" in err) == (0, True)


def test_undo_lets_nobody_decide_meanwhile(
    type_: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facerec.album.store._BUSY_SECONDS", 0.05)
    refused: list[str] = []

    def take_back(*_: object) -> list[str]:
        with open_album(tmp_path / "album.db") as other:
            with pytest.raises(UsageError) as caught:
                split_faces(other, [6], "dora")
            refused.append(str(caught.value))
        return []

    monkeypatch.setattr("facerec.album.metadata.journal.take_back", take_back)
    assert type_("undo")[2].strip().endswith("undone: split face 4 off")
    assert ["another process is writing it" in one for one in refused] == [True]


def test_forgetting_names_the_metadata_that_keep_the_name(type_: Type, tmp_path: Path) -> None:
    pytest.importorskip("exiv2")
    assert type_("write --xmp sidecar --force")[0] == 0
    assert type_("write --xmp embedded --force")[0] == 0
    code, _, err = type_("forget ben --force")
    assert code == 0
    for name in ("0.png", "0.png.xmp"):
        assert f"{tmp_path / 'photos' / name}: still names ben" in err
    assert "1.png: still" not in err
    with open_album(tmp_path / "album.db") as album:
        assert album.row("SELECT count(*) FROM writings") == (0,)


def test_what_reads_the_album_waits_for_nothing_heavy(type_: Type, tmp_path: Path) -> None:
    script = (
        "import sys\nfrom facerec.cli import app\n"
        "for line in ('people', 'show anna', 'search --with anna', 'reject anna 1', 'undo',"
        " 'scan photos', 'scan --help'):\n"
        "    sys.argv = ['facerec', 'album', *line.split()]\n"
        "    try:\n        assert app.run() == 0\n    except SystemExit:\n        pass\n"
        "sys.stderr.write('\\n' + ' '.join(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert HEAVY & set(done.stderr.split()) == set()


def test_paths_in_a_pipe_are_their_bytes(type_: Type, tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/photos/caf\xe9\n.png"
    (tmp_path / "photos" / "1.png").rename(os.fsdecode(odd))
    with open_album("album.db") as album:
        scan(album, tmp_path / "photos")
    first = os.fsencode(tmp_path / "photos" / "0.png")
    command = [sys.executable, "-m", "facerec", "album", "search", "--with", "anna", "--to", "2019"]
    got = subprocess.run(command, capture_output=True, check=True).stdout
    assert got == first + b"\n" + odd + b"\n"
    got = subprocess.run([*command, "-0"], capture_output=True, check=True).stdout
    assert got == first + b"\0" + odd + b"\0"
    got = subprocess.run([*command, "--json"], capture_output=True, check=True).stdout
    last = json.loads(got.decode().splitlines()[1])
    assert last["photo"] == f"{tmp_path}/photos/caf\\xe9\n.png"
    assert type_("search --json -0")[0] == 2


def test_nobody_to_ask_is_one_line(type_: Type, tmp_path: Path) -> None:
    for line in ("name carl ben", "forget carl"):
        done = spawn("album", *line.split(), cwd=tmp_path, stdin=subprocess.DEVNULL)
        assert done.returncode == 2
        assert "nobody answers, and nothing was changed; --force does not ask" in done.stderr
    assert len(type_("people")[1].splitlines()) == 3


def test_a_taken_name_names_the_way_out(type_: Type) -> None:
    code, _, err = type_("split 6 --name ben")
    assert (code, "facerec album confirm ben FACE…; if not, give another name" in err) == (2, True)
    with open_album("album.db") as album, pytest.raises(UsageError) as refused:
        name_person(album, 3, "ben")
    assert "if they are one: facerec album merge carl --into ben" in str(refused.value)


def test_who_is_twice_in_a_photo_is_said(type_: Type, tmp_path: Path) -> None:
    remark = f"{tmp_path}/photos/0.png: shows anna 2 times, as faces 1 and 2"
    for line in ("confirm anna 2", "show anna"):
        assert remark in type_(line)[2]
    assert "times" not in type_("show carl")[2]
    assert type_("undo")[0] == 0
    assert remark in type_("merge ben anna --into anna")[2]


def test_show_reads_the_albums_vectors_once_for_all_people(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_album(tmp_path / "album.db", [Group(5, "Anna"), Group(4, like=0), Group(3, "Ben")])
    read: list[Album] = []

    def count(album: Album) -> FaceColumns:
        read.append(album)
        return read_columns(album)

    for module in (faces, asking):
        monkeypatch.setattr(module, "read_columns", count)
    err = run("album", "show", "Anna", "person-0002", "Ben", "-a", path)[2]
    assert ("may be Anna" in err, len(read)) == (True, 1)


def test_show_says_who_a_group_may_be(tmp_path: Path, run: Run) -> None:
    groups = [Group(5, "Anna Ä"), Group(4, like=0), Group(3), Group(1, like=0, nobody=True)]
    path = make_album(tmp_path / "album.db", groups)
    code, _, err = run("album", "show", "person-0002", "-a", path, "--json")
    assert code == 0
    assert "person-0002 (4 faces) may be Anna Ä (similarity 0." in err
    assert "facerec album merge person-0002 --into 'Anna Ä'" in err
    assert "facerec album reject 'Anna Ä' person-0002" in err
    assert "may be" not in run("album", "show", "person-0003", "-a", path)[2]
    err = run("album", "show", "anna ä", "-a", path)[2]
    assert "person-0002 (4 faces) may be Anna Ä" in err
    assert "face 13 may be Anna Ä" in err
    run("album", "reject", "Anna Ä", "person-0002", "-a", path)
    assert "may be" not in run("album", "show", "person-0002", "-a", path)[2]
