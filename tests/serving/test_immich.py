"""Immich's machine-learning API: requests as its server sends them, answers as it stores them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from facerec.errors import UsageError
from facerec.serving.app import Settings
from facerec.serving.failures import RequestError
from facerec.serving.immich import Upstream, parse_entries, stored_embedding

# As `detectFaces` of immich-app/immich's `machine-learning.repository.ts` builds it.
ENTRIES = {
    "facial-recognition": {
        "detection": {"modelName": "buffalo_l", "options": {"minScore": 0.7}},
        "recognition": {"modelName": "buffalo_l"},
    }
}
CLIP = {"clip": {"visual": {"modelName": "ViT-B-32__openai"}}}


def request(entries: object, **parts: bytes | str) -> tuple[bytes, dict[str, str]]:
    """A form as undici writes it: `image` is a blob without a name."""
    boundary = "----formdata-undici-012345678901"
    body = b""
    for name, value in {"entries": json.dumps(entries), **parts}.items():
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
        if isinstance(value, bytes):
            head += '; filename="blob"\r\nContent-Type: application/octet-stream'
        data = value if isinstance(value, bytes) else value.encode()
        body += head.encode() + b"\r\n\r\n" + data + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def predict(client, entries: object, **parts: bytes | str):
    body, headers = request(entries, **parts)
    return client.post("/predict", content=body, headers=headers)


@pytest.fixture
def client(make_client):
    return make_client(None)


def test_the_server_is_asked_whether_it_lives(client):
    assert (client.get("/ping").status_code, client.get("/ping").text) == (200, "pong")
    assert client.get("/").json() == {"message": "Immich ML"}


def test_faces_have_the_shape_that_immich_stores(client, picture, engines):
    answer = predict(client, ENTRIES, image=picture.read_bytes())
    assert answer.status_code == 200
    told = answer.json()
    assert set(told) == {"facial-recognition", "imageHeight", "imageWidth"}
    assert len(told["facial-recognition"]) == 2
    size = engines.plain.card.embedding_size
    for face in told["facial-recognition"]:
        assert set(face) == {"boundingBox", "embedding", "score"}
        box = face["boundingBox"]
        assert set(box) == {"x1", "y1", "x2", "y2"}
        assert 0 <= box["x1"] < box["x2"] <= told["imageWidth"]
        assert 0 <= box["y1"] < box["y2"] <= told["imageHeight"]
        assert 0.7 <= face["score"] <= 1
        # A vector as pgvector reads it: `[0.1,…]` of 512 values, of the same length and cosines.
        assert isinstance(face["embedding"], str) and " " not in face["embedding"]
        vector = np.array(json.loads(face["embedding"]))
        assert vector.shape == (512,) and not vector[size:].any()
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_a_score_that_is_asked_for_is_held(client, picture):
    entries = {
        "facial-recognition": {"detection": {"modelName": "any", "options": {"minScore": 1}}}
    }
    assert predict(client, entries, image=picture.read_bytes()).json()["facial-recognition"] == []
    entries["facial-recognition"]["detection"]["options"]["minScore"] = 0
    (face, _) = predict(client, entries, image=picture.read_bytes()).json()["facial-recognition"]
    assert set(face) == {"boundingBox", "score"}


@pytest.mark.parametrize(
    "entries",
    ["", "[", "[]", "{}", '{"facial-recognition": 1}', '{"facial-recognition": {}}',
     '{"facial-recognition": {"detection": {}}}', '{"a": {"b": {"modelName": 1}}}',
     '{"facial-recognition": {"detection": {"modelName": "a", "options": []}}}',
     '{"facial-recognition": {"detection": {"modelName": "a", "options": {"minScore": "0"}}}}',
     '{"facial-recognition": {"detection": {"modelName": "a", "options": {"minScore": NaN}}}}',
     '{"facial-recognition": {"visual": {"modelName": "a"}}}', "[" * 100_000],
)  # fmt: skip
def test_entries_of_another_form_are_refused(entries):
    with pytest.raises(RequestError) as refused:
        parse_entries(entries)
    assert refused.value.status == 422


def test_a_request_without_its_parts_is_refused(client):
    assert predict(client, ENTRIES).status_code == 422
    assert predict(client, ENTRIES, image=b"no image").status_code == 422
    assert client.post("/predict", data={"entries": "{}"}).status_code == 415


def test_another_task_is_refused_with_the_option_that_would_help(client, picture):
    answer = predict(client, CLIP, image=picture.read_bytes())
    assert answer.status_code == 501
    assert "--immich-upstream" in answer.json()["error"]["message"]
    both = predict(client, {**CLIP, **ENTRIES}, image=picture.read_bytes())
    assert both.status_code == 501 and "one task at a time" in both.json()["error"]["message"]


@contextlib.contextmanager
def immich(reply: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Immich's own server, in a thread; its URL and what it was asked."""
    asked: list[bytes] = []
    ready, loop = threading.Event(), asyncio.new_event_loop()
    servers: list[asyncio.Server] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        asked.append(head + await reader.readexactly(length))
        writer.write(reply)
        writer.close()

    async def start() -> None:
        servers.append(await asyncio.start_server(handle, "127.0.0.1", 0))
        ready.set()

    loop.create_task(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    ready.wait(5)
    try:
        yield f"http://127.0.0.1:{servers[0].sockets[0].getsockname()[1]}", asked
    finally:
        loop.call_soon_threadsafe(servers[0].close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)


def test_other_tasks_are_passed_on_as_they_are(make_client, picture):
    reply = b'{"clip":"[0.1]","imageHeight":1,"imageWidth":2}'
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(reply)}"
    with immich(head.encode() + b"\r\n\r\n" + reply) as (url, asked):
        client = make_client(None, Settings(upstream=Upstream(url)))
        answer = predict(client, CLIP, image=picture.read_bytes())
        assert (answer.status_code, answer.content) == (200, reply)
        assert asked[0].startswith(b"POST /predict HTTP/1.1\r\n")
        body, headers = request(CLIP, image=picture.read_bytes())
        assert asked[0].endswith(body) and headers["Content-Type"].encode() in asked[0]
        assert predict(client, ENTRIES, image=picture.read_bytes()).status_code == 200
        assert len(asked) == 1
    answer = predict(client, CLIP, text="a dog")
    assert answer.status_code == 503


def test_a_model_with_more_values_than_immich_stores_is_refused():
    with pytest.raises(UsageError, match="Immich stores 512 values"):
        stored_embedding(np.ones(513, np.float32))


def test_an_upstream_must_be_a_web_address():
    with pytest.raises(UsageError, match="--immich-upstream"):
        Upstream("immich:3003")
