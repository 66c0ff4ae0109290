"""What the album's page asks for and what it changes, without a browser."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("starlette")

from starlette.testclient import TestClient

from facerec.album.decisions import confirm_faces, read_decisions
from facerec.album.faces import read_chip
from facerec.album.journal import step
from facerec.album.store import open_album
from facerec.album.web.app import make_app
from facerec.album.web.library import Library
from facerec.imaging.draw import write_image
from tests.album.made import Group, make_album, real_photo
from tests.conftest import noise

ORIGIN = "http://127.0.0.1:8000"
GROUPS = (Group(5, "Anna"), Group(3, "Zoë"), Group(4), Group(2, nobody=True))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_album(tmp_path / "album.db", GROUPS)


@pytest.fixture
def page(path: Path) -> Iterator[TestClient]:
    library = Library(path)
    app = make_app(library, names=frozenset(), token=None, cookie="album")
    yield TestClient(app, base_url=ORIGIN, headers={"Origin": ORIGIN})
    library.close()


def ask(page: TestClient, place: str, **values: Any) -> Any:
    answer = page.get(f"/api/{place}", params=values)
    assert answer.status_code == 200, answer.text
    return answer.json()


def do(page: TestClient, action: str, **values: Any) -> Any:
    answer = page.post(f"/api/{action}", json=values)
    assert answer.status_code == 200, answer.text
    return answer.json()


def names(page: TestClient, **values: Any) -> list[str]:
    return [one["name"] or one["person"] for one in ask(page, "people", **values)["items"]]


def test_people_come_in_pages_those_with_most_faces_first(page):
    assert names(page) == ["Anna", "person-0003", "Zoë"]
    assert names(page, offset=1, limit=1) == ["person-0003"]
    assert names(page, kind="named") == ["Anna", "Zoë"]
    assert names(page, kind="unnamed") == ["person-0003"]
    assert ask(page, "people", limit=0) == {"total": 3, "items": []}
    assert ask(page, "people/1") == {
        "id": 1, "person": "person-0001", "name": "Anna", "faces": 5, "photos": 5, "confirmed": 5,
        "face": 1, "first": "2002-02-15T12:00:00", "last": "2006-06-15T12:00:00",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["ZOE", "zoë", " oë ", "zoe\u0308"])
def test_names_are_found_without_case_and_accents(page, text):
    assert names(page, find=text) == ["Zoë"]
    assert names(page, find="person-0003") == ["person-0003"]


def test_who_is_meant_is_what_the_command_line_says(page):
    assert ask(page, "who", name="anna")["person"]["id"] == 1
    assert ask(page, "who", name="person-3")["person"]["id"] == 3
    assert ask(page, "who", name="an") == ask(page, "who", name="") == {"person": None}


def test_faces_come_by_time(page):
    faces = ask(page, "people/1/faces")
    assert faces["total"] == 5
    assert [one["taken"][:4] for one in faces["items"]] == ["2002", "2003", "2004", "2005", "2006"]
    assert [one["face"] for one in ask(page, "loose")["items"]] == [13, 14]
    answer = page.get("/faces/1.jpg")
    assert answer.headers["content-type"] == "image/jpeg"
    assert cv2.imdecode(np.frombuffer(answer.content, np.uint8), 1).shape == (96, 96, 3)


def test_each_decision_is_one_step_that_undo_takes_back(page, path):
    before = [ask(page, "people"), ask(page, "loose"), ask(page, "people/3/faces")]
    do(page, "name", person=3, name=" Ben ")
    do(page, "merge", people=[2], into=1)
    do(page, "split", faces=[1, 2, 1])
    do(page, "reject", faces=[3], person=1)
    do(page, "confirm", faces=[13], person=3)
    do(page, "confirm-all", person=3)
    do(page, "apart", person=1, other=3)
    assert do(page, "move", faces=[14], name="anna")["person"] == "Anna"
    assert do(page, "move", faces=[9], name="Carl")["person"] == "Carl"
    assert names(page) == ["Anna", "Ben", "person-0004", "Carl"]
    taken_back = []
    while (step := ask(page, "state")["step"]) is not None:
        taken_back.append(do(page, "undo", step=step["id"])["undone"])
    assert taken_back[-1] == "name person-0003 Ben"
    assert len(taken_back) == 8  # `confirm-all` found all confirmed
    assert [ask(page, "people"), ask(page, "loose"), ask(page, "people/3/faces")] == before
    with open_album(path, write=False) as album:
        assert set(read_decisions(album).fixed.values()) == {1, 2}


def test_undo_takes_back_only_the_step_that_was_seen(page, path):
    seen = do(page, "name", person=3, name="Ben")["step"]["id"]
    with open_album(path) as album:
        confirm_faces(album, [13], 1)
    answer = page.post("/api/undo", json={"step": seen})
    assert answer.status_code == 409
    assert "changed meanwhile" in answer.json()["error"]
    assert ask(page, "people/1")["faces"] == 6


def test_what_changed_files_is_taken_back_by_the_command(page, path):
    with open_album(path) as album, step(album, "write names", undo="{}"):
        pass
    last = ask(page, "state")["step"]
    answer = page.post("/api/undo", json={"step": last["id"]})
    assert answer.status_code == 409
    assert "facerec album undo" in answer.json()["error"]
    assert ask(page, "state")["step"] == last


def test_changes_of_other_programs_are_seen(page, path):
    assert ask(page, "people/3")["confirmed"] == 0
    with open_album(path) as album:
        confirm_faces(album, [9], 3)
    assert ask(page, "people/3")["confirmed"] == 1


def test_who_reads_at_a_time_has_a_connection_of_their_own(path):
    """Of threads that share one Python 3.12 gives one the rows that another has asked for."""
    library = Library(path)
    with library.reading() as one, library.reading() as other:
        assert other is not one
        assert [read_chip(album, 1) for album in (one, other)] == [read_chip(one, 1)] * 2
    with library.reading() as again:
        assert again in (one, other)
    library.close()


def test_an_id_that_was_merged_means_whom_it_became(page):
    do(page, "merge", people=[3], into=1)
    assert ask(page, "people/3")["id"] == 1
    assert page.post("/api/name", json={"person": 3, "name": "Ben"}).status_code == 409


@pytest.mark.parametrize(
    ("action", "values"),
    [
        ("name", {"person": 3, "name": "Anna"}),
        ("name", {"person": 3, "name": "person-0007"}),
        ("name", {"person": 3, "name": "a/b"}),
        ("name", {"person": 99, "name": "Ben"}),
        ("merge", {"people": [1], "into": 1}),
        ("merge", {"people": [1, 99], "into": 1}),
        ("split", {"faces": [1, 999]}),
        ("reject", {"faces": [999], "person": 1}),
        ("confirm", {"faces": [1], "person": 99}),
        ("move", {"faces": [1], "name": "a/b"}),
        ("apart", {"person": 1, "other": 1}),
        ("undo", {"step": 1}),
    ],
)
def test_what_the_album_cannot_do_is_told_and_changes_nothing(page, action, values):
    before = ask(page, "people"), ask(page, "state")
    answer = page.post(f"/api/{action}", json=values)
    assert answer.status_code == 409
    assert answer.json()["error"]
    assert "album.db" not in answer.json()["error"]
    assert (ask(page, "people"), ask(page, "state")) == before


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"{}", b'{"faces": []}', b'{"faces": [0]}', b'{"faces": [-1]}',
     b'{"faces": ["1"]}', b'{"faces": [1.5]}', b'{"faces": [true]}', b'{"faces": 1}',
     b'{"faces": [9223372036854775808]}', b'{"faces": [1], "more": 1}', b"\xff\xfe", b"[" * 99_999],
)  # fmt: skip
def test_bodies_that_say_something_else_are_refused(page, body):
    headers = {"Content-Type": "application/json"}
    answer = page.post("/api/split", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_forms_and_endless_bodies_are_refused(page):
    assert page.post("/api/split", data={"faces": "1"}).status_code == 415
    text = {"Content-Type": "text/plain"}
    assert page.post("/api/split", content=b'{"faces": [1]}', headers=text).status_code == 415
    long = b'{"faces": [' + b"1," * (3 << 20) + b"1]}"
    headers = {"Content-Type": "application/json"}
    assert page.post("/api/split", content=long, headers=headers).status_code == 413


@pytest.mark.parametrize(
    ("place", "status"),
    [
        ("/faces/999.jpg", 404), ("/photos/999.jpg", 404), ("/api/photos/999", 404),
        ("/api/people/999", 404), (f"/faces/{10**30}.jpg", 404), (f"/api/people/{10**30}", 404),
        (f"/api/people/{'9' * 5000}", 404), ("/faces/x.jpg", 404),
        ("/api/people?offset=-1", 400), ("/api/people?limit=x", 400), ("/api/people?limit=²", 400),
        (f"/api/people?offset={10**30}", 400), ("/static/style.css", 404), ("/index.html", 404),
        ("/../pyproject.toml", 404), ("/%2e%2e/album.db", 404), ("/album.db", 404),
        ("/faces/../app.py", 404), ("/faces/1.jpg/", 404), ("/etc/passwd", 404),
    ],
)  # fmt: skip
def test_what_is_not_there_is_not_there(page, place, status):
    page.follow_redirects = False
    assert page.get(place).status_code == status


def test_who_is_nobody_is_told_without_where_the_album_lies(page):
    assert page.get("/api/people/999").json() == {"error": "there is no person-0999 with faces"}


def test_only_the_page_s_own_files_and_numbers_are_served(page):
    for file in ("", "main.js", "style.css", "icon.svg"):
        assert page.get(f"/{file}").status_code == 200
    assert page.get("/main.js").headers["content-type"] == "text/javascript; charset=utf-8"
    assert page.post("/api/people", json={}).status_code == 405
    assert page.get("/api/name").status_code == 405


@pytest.fixture
def photo(tmp_path: Path, path: Path) -> Path:
    return real_photo(tmp_path / "photo.jpg", path, 1)


def test_a_photo_is_shown_small_with_its_boxes(photo, page):
    about = ask(page, "photos/1")
    assert (about["width"], about["height"], about["places"]) == (2400, 1600, [str(photo)])
    (face,) = about["faces"]
    assert (face["face"], face["box"], face["name"]) == (1, [200, 100, 300, 220], "Anna")
    answer = page.get("/photos/1.jpg")
    shown = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (1067, 1600, 3)


def test_a_photo_that_names_were_written_into_is_the_same_photo(photo, page, path):
    photo.write_bytes(photo.read_bytes() + b"names")
    assert page.get("/photos/1.jpg").status_code == 404
    with open_album(path) as album:
        content = hashlib.sha256(photo.read_bytes()).hexdigest()
        album.execute("INSERT INTO contents VALUES (?, 1)", (content,))
    assert page.get("/photos/1.jpg").status_code == 200


def test_a_photo_in_an_archive_is_shown(photo, page, path):
    packed = photo.with_name("photos.zip")
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(photo, "holidays/1.jpg")
    photo.unlink()
    with open_album(path) as album:
        member = str(packed / "holidays/1.jpg")
        album.execute("UPDATE places SET path = ? WHERE photo = 1", (member,))
    assert page.get("/photos/1.jpg").status_code == 200


def test_another_photo_in_its_place_is_not_shown(photo, page):
    write_image(photo, noise(1600, 2400))
    answer = page.get("/photos/1.jpg")
    assert answer.status_code == 404
    assert "no longer where" in answer.json()["error"]
    photo.unlink()
    assert page.get("/photos/1.jpg").status_code == 404


def test_suggestions_ask_about_one_person_after_the_other(tmp_path):
    alike = [Group(2, nobody=True, like=place) for place in (0, 1)]
    path = make_album(tmp_path / "more.db", [Group(6, "Anna"), Group(5, "Ben"), *alike])
    library = Library(path)
    app = make_app(library, names=frozenset(), token=None, cookie="album")
    page = TestClient(app, base_url=ORIGIN, headers={"Origin": ORIGIN})
    first = ask(page, "suggestions", limit=1)
    (item,) = first["items"]
    assert (item["person"]["name"], first["last"], first["complete"]) == ("Anna", 1, False)
    assert item["faces"][0] in (12, 13)
    assert (item["group"], item["count"], len(item["examples"])) == (None, 1, 6)
    assert 0.7 <= item["similarity"] <= 1
    assert item["probability"] is None  # The card of a made album knows no strangers.
    second = ask(page, "suggestions", after=1)
    assert {one["person"]["name"] for one in second["items"]} == {"Ben"}
    assert second["complete"]
    do(page, "reject", faces=item["faces"], person=1)
    about = ask(page, "suggestions", person=1)["items"]
    assert item["faces"] not in [one["faces"] for one in about]
    assert len(about) == 1
    assert ask(page, "suggestions", after=2) == {"items": [], "last": None, "complete": True}
    library.close()
