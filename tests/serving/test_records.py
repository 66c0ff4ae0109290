"""The server's JSON is the command line's own."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

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
    ]
    assert [answer.status_code for answer in answers] == [200] * 6
    assert all(answer.json() == answers[0].json() for answer in answers)


def test_a_list_is_answered_by_a_list(
    make_client: MakeClient, portrait_bytes: dict[str, bytes]
) -> None:
    files = [("images", (name, data)) for name, data in portrait_bytes.items()]
    answered = make_client(None).post("/v1/detect", files=[*files, ("images", ("bad", b"bad"))])
    first, second, bad = answered.json()["images"]
    assert [first["image"], second["image"]] == list(portrait_bytes)
    assert bad["error"]["code"] == "unreadable_image"
