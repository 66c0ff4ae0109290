"""The server's JSON is the command line's own."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from facerec.errors import InputError
from facerec.serving.app import Settings
from tests.conftest import Run
from tests.serving.conftest import MakeClient


def close(told: Any) -> Any:
    """A JSON value whose numbers may differ as vectors of other batches do."""
    if isinstance(told, dict):
        return {key: close(value) for key, value in told.items()}
    if isinstance(told, list):
        return [close(value) for value in told]
    return pytest.approx(told, abs=2e-5) if isinstance(told, float) else told


@pytest.fixture
def gallery(run: Run, people: Path, tmp_path: Path) -> Path:
    path = tmp_path / "people.h5"
    assert run("embed", people, "-o", path)[0] == 0
    return path


def test_detection_is_what_detect_prints(make_client: MakeClient, run: Run, picture: Path) -> None:
    answered = make_client(None).post("/v1/detect", files={"image": picture.open("rb")})
    printed = json.loads(run("detect", picture, "--json")[1])
    assert answered.status_code == 200
    assert answered.json() == close({**printed, "image": "picture.jpg"})


def test_recognition_is_what_recognize_image_prints(
    make_client: MakeClient, run: Run, picture: Path, gallery: Path
) -> None:
    answered = make_client(gallery).post("/v1/recognize", files={"image": picture.open("rb")})
    printed = json.loads(run("recognize", "image", picture, "-g", gallery, "--json")[1])
    assert answered.json() == close({**printed, "image": "picture.jpg"})
    assert len(answered.json()["faces"]) == 2


def test_embedding_adds_each_faces_vector(make_client: MakeClient, picture: Path) -> None:
    client = make_client(None)
    plain = client.post("/v1/detect", content=picture.read_bytes()).json()
    record = client.post("/v1/embed", content=picture.read_bytes()).json()
    vectors = [face.pop("embedding") for face in record["faces"]]
    assert record == plain
    assert [len(vector) for vector in vectors] == [128, 128]


CURLS = {"content-type": "application/x-www-form-urlencoded"}
"""That curl says of all that `-d` sends."""


def test_what_to_send_is_told_where_a_forms_text_is_no_photo(make_client: MakeClient) -> None:
    client = make_client(None)
    told = {"code": "no_base64", "message": "image: send a file (image=@photo.jpg), or base64"}
    for asked in ({"files": {"image": (None, "photo.jpg")}}, {"data": {"image": "photo.jpg"}}):
        answered = client.post("/v1/detect", **asked)
        assert (answered.status_code, answered.json()["error"]) == (422, told)


def test_names_in_a_form_of_curls_are_compared(make_client: MakeClient, gallery: Path) -> None:
    client = make_client(gallery)
    answered = client.post("/v1/compare", content="a=grace_hopper&b=grace_hopper", headers=CURLS)
    multipart = {"a": (None, "grace_hopper"), "b": (None, "grace_hopper")}
    assert answered.json() == client.post("/v1/compare", files=multipart).json()
    assert "damaged" not in answered.text


def test_a_photo_may_be_sent_in_any_way(
    make_client: MakeClient, portrait_bytes: dict[str, bytes]
) -> None:
    client = make_client(None)
    data = portrait_bytes["grace_hopper"]
    encoded = base64.b64encode(data).decode()
    answers = [
        client.post("/v1/detect", content=data),
        client.post("/v1/detect", content=data, headers={"content-type": "image/jpeg"}),
        client.post("/v1/detect", files={"image": ("image", data)}),
        client.post("/v1/detect", json={"image": encoded}),
        client.post("/v1/detect", json={"image": f"data:image/jpeg;base64,{encoded}"}),
        client.post("/v1/detect", json={"image": {"base64": encoded}}),
        # As `curl -d @d.json`, `curl -d image=…`, `--data-urlencode` and `-F image=…` send them.
        client.post("/v1/detect", content=json.dumps({"image": encoded}), headers=CURLS),
        client.post("/v1/detect", content=json.dumps({"image": encoded})),
        client.post("/v1/detect", content=f"image={encoded}", headers=CURLS),
        client.post("/v1/detect", data={"image": encoded}),
        client.post("/v1/detect", files={"image": (None, encoded)}),
        client.post("/v1/detect", files={"image": (None, data)}),
        client.post("/v1/detect", content=data, headers=CURLS),
    ]
    assert [answer.status_code for answer in answers] == [200] * 13
    assert all(answer.json() == answers[0].json() for answer in answers)


def test_a_list_is_answered_by_a_list(
    make_client: MakeClient, portrait_bytes: dict[str, bytes]
) -> None:
    files = [("images", (name, data)) for name, data in portrait_bytes.items()]
    answered = make_client(None).post("/v1/detect", files=[*files, ("images", ("bad", b"bad"))])
    first, second, bad = answered.json()["images"]
    assert [first["image"], second["image"]] == list(portrait_bytes)
    assert bad["error"]["code"] == "unreadable_image"


def test_a_photo_of_a_list_that_cannot_be_had_spoils_no_other(
    make_client: MakeClient, portrait_bytes: dict[str, bytes], tmp_path: Path
) -> None:
    good, other = portrait_bytes.values()
    fetching, most = 0, 0

    async def fetch(url: str) -> bytes:
        nonlocal fetching, most
        fetching += 1
        most = max(most, fetching)
        await asyncio.sleep(0.02)
        fetching -= 1
        if "gone" in url:
            raise InputError("gone.example: no such host")
        return good

    client = make_client(tmp_path / "g.h5", Settings(fetch=fetch))
    encoded = base64.b64encode(other).decode()
    there = {"url": "https://there.example/a.jpg"}
    images = [there, {"url": "https://gone.example/a.jpg"}, "!!!", encoded, 5, *[there] * 5]
    told = client.post("/v1/detect", json={"images": images}).json()["images"]
    assert [one["image"] for one in told] == [f"images[{place}]" for place in range(10)]
    wrong = {place: one["error"] for place, one in enumerate(told) if "error" in one}
    assert {place: error["code"] for place, error in wrong.items()} == {
        1: "unreadable_image", 2: "no_base64", 4: "no_image",
    }  # fmt: skip
    assert wrong[1]["message"] == "images[1]: gone.example: no such host"
    assert 1 < most <= 4
    done = client.post("/v1/people/ann/faces", json={"images": images[:4]})
    assert (done.status_code, done.json()["enrolled"]) == (201, 2)
    assert set(done.json()["failed"]) == {"images[1]", "images[2]"}
    for alone in images[1:3]:
        assert client.post("/v1/detect", json={"image": alone}).status_code == 422
