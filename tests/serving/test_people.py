"""People of a served gallery: enrolled, listed, renamed, merged, deleted, and forgotten in time."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import threading
import unicodedata
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facerec.errors import UsageError
from facerec.files.locking import locked
from facerec.gallery import Gallery
from facerec.gallery.addresses import changing
from facerec.profile.loading import Profile
from facerec.serving import entries, retention
from facerec.serving import people as people_room
from facerec.serving.compreface.lookups import known_name
from facerec.serving.failures import RequestError
from facerec.serving.people import People
from facerec.serving.retention import keep_faces, parse_duration
from tests.conftest import Run, make_batch, make_card
from tests.serving.conftest import MakeClient
from tests.serving.test_records import close

NAMES = ["ann", "Zoë Müller", "山田太郎", "محمد", "O'Brien & co", "100% ann", "नमस्ते", "🙂"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "people.h5"


@pytest.fixture
def photos(portrait_bytes: dict[str, bytes]) -> tuple[bytes, bytes]:
    first, second = portrait_bytes.values()
    return first, second


def test_enrolment_is_what_embed_prints(
    make_client: MakeClient, run: Run, portraits: dict[str, Path], tmp_path: Path, place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    name, file = next(iter(portraits.items()))
    other = tmp_path / "other" / "people.h5"
    printed = json.loads(run("embed", file, "--name", name, "-o", other, "--json")[1])
    answered = make_client(place).post(f"/v1/people/{name}/faces", files={"image": file.open("rb")})
    record = answered.json()
    (identity,) = record.pop("ids")
    assert answered.status_code == 201
    assert record == {**printed, "gallery": str(place)}
    served, made = Gallery.open(place).person(name), Gallery.open(other).person(name)
    assert served.sha256 == made.sha256
    assert served.embeddings == pytest.approx(made.embeddings, abs=2e-5)
    assert served.meta[0]["id"] == identity


def test_comparison_is_what_compare_prints(
    make_client: MakeClient, run: Run, portraits: dict[str, Path], people: Path, place: Path
) -> None:
    run("embed", people, "-o", place)
    client = make_client(place)
    (ann, first), (_, second) = portraits.items()
    printed = json.loads(run("compare", first, second, "--json")[1])
    files = {"a": first.open("rb"), "b": second.open("rb")}
    told = client.post("/v1/compare", files=files).json()
    assert told == close({**printed, "a": first.name, "b": second.name})
    printed = json.loads(run("compare", second, ann, "-g", place, "--json")[1])
    told = client.post("/v1/compare", files={"a": second.open("rb")}, data={"b": ann}).json()
    assert told == close({**printed, "a": second.name})


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_enrolled_listed_and_removed(
    make_client: MakeClient, photos: tuple[bytes, bytes], place: Path, name: str
) -> None:
    from urllib.parse import quote

    client = make_client(place)
    person = f"/v1/people/{quote(name, safe='')}"
    assert client.post(f"{person}/faces", content=photos[0]).status_code == 201
    assert client.get("/v1/people").json() == {"people": [{"person": name, "faces": 1}]}
    assert client.get(person).json()["person"] == name
    assert client.delete(person).json() == {"person": name, "faces": 1}
    assert client.get("/v1/people").json() == {"people": []}


@pytest.mark.parametrize("name", ["%20", "..", "a%0Ab", "%5C", "a%00b"])
def test_what_is_no_name_is_refused(
    make_client: MakeClient, photos: tuple[bytes, bytes], place: Path, name: str
) -> None:
    answered = make_client(place).post(f"/v1/people/{name}/faces", content=photos[0])
    assert answered.status_code in (404, 422)
    assert not place.exists()


def test_a_life(make_client: MakeClient, photos: tuple[bytes, bytes], place: Path) -> None:
    client = make_client(place)
    first, second = photos
    one = client.post("/v1/people/ann/faces", content=first, params={}).json()
    again = client.post("/v1/people/ann/faces", content=first)
    assert (again.status_code, again.json()["skipped"], again.json()["ids"]) == (200, 1, one["ids"])
    meta = {"image": ("2.jpg", second)}
    other = client.post("/v1/people/bob/faces", files=meta, data={"meta": '{"team": "red"}'})
    assert other.status_code == 201
    (face,) = client.get("/v1/people/bob").json()["faces"]
    assert face["meta"] == {"team": "red"}
    assert datetime.fromisoformat(face["enrolled"]) <= datetime.now(timezone.utc)
    assert client.patch("/v1/people/bob", json={"name": "ann"}).status_code == 409
    assert client.patch("/v1/people/bob", json={"name": "cy"}).json() == {"person": "cy"}
    assert client.post("/v1/people/cy/merge", json={"into": "ann"}).status_code == 200
    ids = [face["id"] for face in client.get("/v1/people/ann").json()["faces"]]
    assert ids == [*one["ids"], face["id"]]
    assert client.delete(f"/v1/people/ann/faces/{ids[0]}").json() == {"person": "ann", "faces": 1}
    assert client.delete(f"/v1/people/ann/faces/{ids[0]}").status_code == 404
    assert Gallery.open(place).counts() == {"ann": 1}


def test_ids_of_faces_enrolled_by_the_command_line_last(
    make_client: MakeClient, run: Run, people: Path, place: Path
) -> None:
    run("embed", people, "-o", place)
    first, second = (
        make_client(place).get("/v1/people/grace_hopper").json()["faces"][0]["id"] for _ in range(2)
    )
    assert first == second
    client = make_client(place)
    assert client.delete(f"/v1/people/grace_hopper/faces/{first}").status_code == 200
    assert "grace_hopper" not in Gallery.open(place).counts()


def test_what_others_call_an_id_is_none(
    make_client: MakeClient, run: Run, people: Path, place: Path
) -> None:
    given = {"id": "7", "enrolled": "2020-01-01T00:00:00+00:00"}
    run("embed", people, "-o", place, *(f"--meta={key}={value}" for key, value in given.items()))
    client = make_client(place)
    (hopper,), (collins,) = (
        client.get(f"/v1/people/{name}").json()["faces"]
        for name in ("grace_hopper", "eileen_collins")
    )
    assert (hopper["meta"], hopper["enrolled"]) == (given, None)
    assert len({"7", hopper["id"], collins["id"]}) == 3
    assert client.delete("/v1/people/grace_hopper/faces/7").status_code == 404
    assert client.delete("/api/v1/recognition/faces/7").status_code == 404
    assert client.delete(f"/api/v1/recognition/faces/{collins['id']}").status_code == 200
    assert set(Gallery.open(place).counts()) == {"grace_hopper"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/people/nobody", None),
        ("DELETE", "/v1/people/nobody", None),
        ("PATCH", "/v1/people/nobody", {"name": "ann"}),
        ("POST", "/v1/people/nobody/merge", {"into": "ann"}),
        ("DELETE", "/v1/people/nobody/faces/1", None),
    ],
)
def test_an_unknown_person_is_a_404(
    make_client: MakeClient, place: Path, method: str, path: str, body: Any
) -> None:
    answered = make_client(place).request(method, path, json=body)
    assert (answered.status_code, answered.json()["error"]["code"]) == (404, "unknown_person")
    assert not place.exists()


def test_a_photo_without_a_face_is_not_enrolled(make_client: MakeClient, place: Path) -> None:
    from io import BytesIO

    from PIL import Image

    grey = BytesIO()
    Image.new("RGB", (80, 80), "grey").save(grey, "png")
    answered = make_client(place).post("/v1/people/ann/faces", content=grey.getvalue())
    assert (answered.status_code, answered.json()["error"]["code"]) == (422, "no_face")
    assert not place.exists()


def test_without_a_gallery_people_are_told_to_be_nowhere(
    make_client: MakeClient, photos: tuple[bytes, bytes]
) -> None:
    client = make_client(None)
    answers = [
        client.get("/v1/people"),
        client.post("/v1/people/ann/faces", content=photos[0]),
        client.post("/v1/recognize", content=photos[0]),
    ]
    assert [one.json()["error"]["code"] for one in answers] == ["no_gallery"] * 3
    assert client.get("/readyz").status_code == client.get("/v1/model").status_code == 200


def test_an_empty_gallery_knows_nobody(
    make_client: MakeClient, photos: tuple[bytes, bytes], place: Path
) -> None:
    client = make_client(place)
    (face,) = client.post("/v1/recognize", content=photos[0]).json()["faces"]
    assert (face["name"], face["candidates"]) == (None, [])


def test_ten_enrolments_of_one_person_at_once_all_count(
    make_client: MakeClient, photos: tuple[bytes, bytes], place: Path
) -> None:
    client = make_client(place)
    # Bytes after a JPEG's end make another photo of the same pixels.
    sent = [photos[0] + bytes([number]) for number in range(8)] + [photos[0] + b"\0"] * 2
    with ThreadPoolExecutor(10) as pool:
        answers = list(
            pool.map(lambda data: client.post("/v1/people/ann/faces", content=data), sent)
        )
    assert sorted(one.status_code for one in answers) == [200] * 2 + [201] * 8
    assert Gallery.open(place).counts() == {"ann": 8}


def test_a_change_by_another_process_is_seen_within_a_second(
    make_client: MakeClient, run: Run, people: Path, place: Path
) -> None:
    import time

    run("embed", people, "-o", place)
    client = make_client(place)
    assert len(client.get("/v1/people").json()["people"]) == 2
    with changing(place) as gallery:
        gallery.rename("grace_hopper", "grace")
    end = time.monotonic() + 1
    while "grace" not in (
        names := [one["person"] for one in client.get("/v1/people").json()["people"]]
    ):
        assert time.monotonic() < end, names
    photo = next(iter(sorted((people / "grace_hopper").iterdir()))).read_bytes()
    (face,) = client.post("/v1/recognize", content=photo).json()["faces"]
    assert face["name"] == "grace"


def failing(error: OSError) -> Callable[..., Any]:
    def write(*_: object, **__: object) -> None:
        raise UsageError(f"people.h5: cannot be written: {error.strerror}") from error

    return write


@pytest.mark.parametrize(
    ("number", "status", "code"),
    [
        (errno.ENOSPC, 503, "disk_full"),
        (errno.EROFS, 409, "gallery_read_only"),
        (errno.EACCES, 409, "gallery_read_only"),
    ],
)
def test_a_gallery_that_cannot_be_written_is_told_in_one_line(
    make_client: MakeClient, photos: tuple[bytes, bytes], place: Path,
    monkeypatch: pytest.MonkeyPatch, number: int, status: int, code: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(people_room, "changing", failing(OSError(number, "no")))
    answered = make_client(place).post("/v1/people/ann/faces", content=photos[0])
    error = answered.json()["error"]
    assert (answered.status_code, error["code"]) == (status, code)
    assert "\n" not in error["message"]


def test_another_writer_is_waited_for_then_told(
    make_client: MakeClient, photos: tuple[bytes, bytes], place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(people_room, "_PATIENCE", 0.2)
    client = make_client(place)
    with locked(place):
        answered = client.post("/v1/people/ann/faces", content=photos[0])
    assert (answered.status_code, answered.json()["error"]["code"]) == (503, "gallery_busy")
    assert answered.headers["retry-after"]
    assert client.post("/v1/people/ann/faces", content=photos[0]).status_code == 201


def test_the_audit_log_tells_changes_and_no_vectors(
    make_client: MakeClient, photos: tuple[bytes, bytes], place: Path, tmp_path: Path
) -> None:
    log = tmp_path / "audit.jsonl"
    client = make_client(place, audit=log)
    (identity,) = client.post("/v1/people/ann/faces", content=photos[0]).json()["ids"]
    client.post("/v1/people/ann/faces", content=photos[0])
    client.patch("/v1/people/ann", json={"name": "eve"})
    client.delete("/v1/people/eve")
    client.delete("/v1/people/eve")
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    assert [(one["event"], one["person"], one["faces"]) for one in lines] == [
        ("enrol", "ann", 1), ("rename", "ann", 1), ("delete", "eve", 1),
    ]  # fmt: skip
    assert lines[0]["ids"] == [identity]
    assert lines[0]["client"] == "testclient"
    assert set(lines[0]) == {"time", "event", "person", "ids", "faces", "key", "client"}
    assert log.stat().st_mode & 0o077 == 0


def test_faces_enrolled_over_http_are_removed_after_their_time(
    make_client: MakeClient, run: Run, people: Path, photos: tuple[bytes, bytes], place: Path
) -> None:
    run("embed", people, "-o", place)
    client = make_client(place)
    client.post("/v1/people/ann/faces", content=photos[0])
    service = client.service  # type: ignore[attr-defined]
    now = datetime.now(timezone.utc)
    assert asyncio.run(service.expire(now - timedelta(days=1))) == 0
    assert asyncio.run(service.expire(now + timedelta(seconds=2))) == 1
    assert set(Gallery.open(place).counts()) == {"grace_hopper", "eileen_collins"}


@pytest.mark.parametrize(("text", "days"), [("30d", 30), ("12h", 0.5), ("2w", 14), ("1440m", 1)])
def test_times_are_read(text: str, days: float) -> None:
    assert parse_duration(text) == timedelta(days=days)


@pytest.mark.parametrize("text", ["", "30", "d", "0d", "-1d", "1.5d", "1y"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="such as 30d"):
        parse_duration(text)


def test_a_time_before_all_dates_is_refused() -> None:
    with pytest.raises(UsageError, match="at most 36500d"):
        parse_duration("999999w")


def test_who_is_stored_decomposed_has_the_same_ids_by_either_name() -> None:
    store = Gallery(make_card())
    decomposed = unicodedata.normalize("NFD", "José")
    store.append(make_batch(np.eye(4, dtype=np.float32)[:1], [decomposed]))
    assert entries.entries_of(store, "José") == entries.entries_of(store, decomposed)
    assert known_name(store.counts(), "JOSÉ") == known_name(store.counts(), "José") == decomposed


def test_a_new_gallery_has_the_models_thresholds(engines: Any, place: Path) -> None:
    from facerec.profile.schema import RecognizeSection

    opened = People(str(place), engines.plain.card, RecognizeSection())
    asyncio.run(opened.change(lambda store: store.counts(), lambda _: None))
    opened.close()
    assert Gallery.open(place).card == engines.plain.card.for_gallery()


def test_a_gallery_of_another_model_is_a_409(engines: Any, place: Path) -> None:
    from facerec.errors import IncompatibleError
    from facerec.profile.schema import RecognizeSection
    from tests.conftest import make_card

    Gallery(make_card()).save(place)
    opened = People(str(place), engines.plain.card, RecognizeSection())
    with pytest.raises(IncompatibleError):
        asyncio.run(opened.read(lambda store: store.counts()))
    opened.close()


def test_what_others_call_enrolled_stays(
    make_client: MakeClient, run: Run, people: Path, place: Path
) -> None:
    run("embed", people, "-o", place, "--meta", "enrolled=2020-01-01T00:00:00+00:00")
    service = make_client(place).service  # type: ignore[attr-defined]
    assert asyncio.run(service.expire(datetime.now(timezone.utc))) == 0


def test_retention_goes_on_after_any_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[datetime] = []

    class Failing:
        async def expire(self, before: datetime) -> int:
            tried.append(before)
            raise OSError("a disk")

    async def run() -> None:
        keeping = asyncio.create_task(keep_faces(Failing(), timedelta(days=1)))  # type: ignore[arg-type]
        while len(tried) < 3:
            await asyncio.sleep(0)
        keeping.cancel()

    monkeypatch.setattr(retention, "_LONGEST_PAUSE", 0.0)
    asyncio.run(asyncio.wait_for(run(), 5))


def test_a_name_in_a_path_may_come_decomposed(
    make_client: MakeClient, photos: tuple[bytes, bytes], place: Path
) -> None:
    client = make_client(place)
    for name, photo in zip(("Jose\u0301", "Ana"), photos, strict=True):
        assert client.post(f"/v1/people/{name}/faces", content=photo).status_code == 201
    assert client.get("/v1/people/Jose\u0301").json()["person"] == "Jos\u00e9"
    files = {"a": photos[0], "b": (None, "Jose\u0301")}
    assert client.post("/v1/compare", files=files).json()["same"]
    merged = client.post("/v1/people/Ana/merge", json={"into": "Jose\u0301"})
    assert merged.json() == {"person": "Jos\u00e9"}
    path = "/api/v1/recognition/subjects/Jose\u0301"
    assert client.put(path, json={"subject": "Joe"}).json() == {"updated": True}
    assert client.get("/v1/people").json() == {"people": [{"person": "Joe", "faces": 2}]}


def test_text_that_is_no_unicode_is_no_failure_of_the_server(
    make_client: MakeClient, photos: tuple[bytes, bytes], place: Path
) -> None:
    client = make_client(place)
    photo = base64.b64encode(photos[0]).decode()
    kind = {"content-type": "application/json"}
    body = json.dumps({"image": photo, "meta": {"team": "\ud800"}})
    assert client.post("/v1/people/ann/faces", content=body, headers=kind).status_code == 201
    assert client.get("/v1/people/ann").json()["faces"][0]["meta"] == {"team": "\\ud800"}
    body = json.dumps({"a": photo, "b": {"person": "\ud800"}})
    assert client.post("/v1/compare", content=body, headers=kind).status_code == 404


def test_a_photo_of_several_faces_is_removed_and_told_as_such(
    make_client: MakeClient, picture: Path, place: Path, tmp_path: Path
) -> None:
    log = tmp_path / "audit.jsonl"
    every = Profile.load(flags={"gallery.faces": "all"})
    client = make_client(place, profile=every, audit=log)
    done = client.post("/v1/people/crowd/faces", content=picture.read_bytes()).json()
    assert done["faces"] > 1
    removed = client.delete(f"/v1/people/crowd/faces/{done['ids'][0]}").json()
    assert removed == {"person": "crowd", "faces": done["faces"]}
    assert json.loads(log.read_text("utf-8").splitlines()[-1])["faces"] == done["faces"]


def test_a_change_made_while_the_gallery_is_looked_at_is_seen_by_the_next_request(
    photos: tuple[bytes, bytes], place: Path, engines: Any, profile: Profile,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    made = People(str(place), engines.plain.card, profile.recognize)
    backend = people_room.backend_of(str(place))
    real, changed = type(backend).version, threading.Event()

    def version(self: Any, address: str) -> object:
        before = real(self, address)
        if not changed.is_set():
            # Between the look and its end another thread makes the gallery.
            changed.set()
            asyncio.run(made.change(lambda store: None, lambda _: None))
        return before

    monkeypatch.setattr(type(backend), "version", version)
    asyncio.run(made.read(lambda store: None))
    asyncio.run(made.read(lambda store: None))
    made.close()
    assert made._version is not None


def test_a_name_longer_than_a_folders_is_refused(
    make_client: MakeClient, photos: tuple[bytes, bytes], place: Path
) -> None:
    client, long = make_client(place), "a" * 256
    done = client.post(f"/v1/people/{long}/faces", content=photos[0])
    assert (done.status_code, done.json()["error"]["code"]) == (422, "unusable_name")
    assert client.post("/v1/people/ann/faces", content=photos[0]).status_code == 201
    assert client.patch("/v1/people/ann", json={"name": long}).status_code == 422
    api = "/api/v1/recognition/subjects"
    assert client.put(f"{api}/ann", json={"subject": long}).json()["code"] == 36
    assert client.get("/v1/people").json() == {"people": [{"person": "ann", "faces": 1}]}


def test_while_an_unknown_id_is_looked_for_others_are_answered(
    make_client: MakeClient, photos: tuple[bytes, bytes], place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Each part of the gallery is looked at in turn with what else is asked."""
    with changing(place, create=make_client(None).service.card) as store:  # type: ignore[attr-defined]
        size = store.card.embedding_size
        store.append(
            make_batch(np.eye(7, size, dtype=np.float32), [f"P{number}" for number in range(7)])
        )
    monkeypatch.setattr(entries, "_PART", 2)
    hashed: list[str] = []
    derived = entries._derived_id

    def count(person: str, source: str, sha256: str) -> str:
        hashed.append(person)
        return derived(person, source, sha256)

    monkeypatch.setattr(entries, "_derived_id", count)
    client = make_client(place)
    service = client.service  # type: ignore[attr-defined]
    seen: list[int] = []

    async def ask() -> None:
        looking = asyncio.ensure_future(service.face(str(uuid.uuid5(uuid.NAMESPACE_DNS, "x"))))
        while not looking.done():
            await service.people()
            seen.append(len(hashed))
        with pytest.raises(RequestError, match="no enrolled face"):
            await looking

    asyncio.run(ask())
    assert {2, 4, 6} & set(seen)
    hashed.clear()
    for unknown in (str(uuid.uuid4()), "nonsense"):
        assert client.get(f"/api/v1/recognition/faces/{unknown}/img").status_code == 404
    assert hashed == []
