"""Who is answered: hosts, origins, keys and scopes; and what no request can do."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import io
import json
import os
import re
import socket
import stat
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from facerec.errors import MissingError, UsageError
from facerec.serving import bodies, guard, keys
from facerec.serving import running as server
from facerec.serving.app import Settings
from facerec.serving.keys import Keys, add_key, read_keys, remove_key
from tests.conftest import Run
from tests.serving.conftest import MakeClient
from tests.serving.running import running


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example"])
def test_another_hosts_name_is_refused(make_client: MakeClient, host: str) -> None:
    answered = make_client(None).get("/healthz", headers={"host": host})
    assert (answered.status_code, answered.json()["error"]["code"]) == (403, "wrong_host")


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000", "LOCALHOST:1"])
def test_this_machines_names_are_answered(make_client: MakeClient, host: str) -> None:
    assert make_client(None).get("/healthz", headers={"host": host}).status_code == 200


def test_a_page_of_another_site_is_refused(make_client: MakeClient) -> None:
    client = make_client(None)
    answered = client.post("/v1/detect", content=b"x", headers={"origin": "https://evil.example"})
    assert (answered.status_code, answered.json()["error"]["code"]) == (403, "wrong_origin")
    preflight = {"origin": "https://evil.example", "access-control-request-method": "DELETE"}
    answered = client.options("/v1/people/ann", headers=preflight)
    assert answered.status_code >= 400
    assert not [name for name in answered.headers if name.startswith("access-control")]


def test_an_answer_that_fails_leaves_a_traceback_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("a bug")

    guarded = guard.Guard(fail, keys=None, local=False, observe=lambda *_: None)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(guarded), base_url="http://a")
    answered = asyncio.run(client.get("/healthz"))
    assert (answered.status_code, answered.json()["error"]["code"]) == (500, "internal")
    assert "in fail\n" in caplog.text and "RuntimeError: a bug" in caplog.text


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def scoped(key_file: Path) -> dict[str, str]:
    return {scope: add_key(key_file, f"a {scope}", scope) for scope in keys.SCOPES}


ASKED = [
    ("read", "POST", "/v1/detect"),
    ("read", "POST", "/v1/embed"),
    ("read", "POST", "/v1/recognize"),
    ("read", "POST", "/v1/compare"),
    ("read", "GET", "/v1/model"),
    ("read", "GET", "/v1/people"),
    ("read", "GET", "/v1/people/ann"),
    ("read", "GET", "/metrics"),
    ("enrol", "POST", "/v1/people/ann/faces"),
    ("admin", "PATCH", "/v1/people/ann"),
    ("admin", "POST", "/v1/people/ann/merge"),
    ("admin", "DELETE", "/v1/people/ann"),
    ("admin", "DELETE", "/v1/people/ann/faces/1"),
]


def test_each_route_needs_its_scope(
    make_client: MakeClient, key_file: Path, scoped: dict[str, str], tmp_path: Path
) -> None:
    client = make_client(tmp_path / "people.h5", Settings(Keys(key_file), local=False))
    for needed, method, path in ASKED:
        assert client.request(method, path).status_code == 401
        assert client.request(method, path, headers={"x-api-key": "wrong"}).status_code == 401
        for scope, key in scoped.items():
            status = client.request(method, path, headers={"x-api-key": key}).status_code
            enough = keys.SCOPES.index(scope) >= keys.SCOPES.index(needed)
            assert (status != 403) is enough, (needed, path, scope)
    assert client.get("/v1/model", headers={"authorization": f"Bearer {scoped['read']}"}).is_success
    assert client.get("/healthz", headers={"host": "faces.example"}).is_success


def test_every_route_but_health_needs_a_key(
    make_client: MakeClient, key_file: Path, scoped: dict[str, str], tmp_path: Path
) -> None:
    client = make_client(tmp_path / "people.h5", Settings(Keys(key_file), local=False))
    described = client.get("/openapi.json").json()["paths"]
    routes = {(method, path) for path, methods in described.items() for method in methods}
    assert {("post", "/v1/detect"), ("post", "/api/v1/recognition/recognize")} <= routes
    answers = {
        (method, path): client.request(method, re.sub(r"\{\w+\}", "x", path))
        for method, path in routes
    }
    missing = {"message": "Missing header: x-api-key", "code": 20}
    opened = {
        (method, path)
        for (method, path), given in answers.items()
        if (given.status_code, given.json()) != (400, missing)
        if given.status_code != 401 or path.startswith("/api/v1/")
    }
    assert opened == {("get", "/healthz"), ("get", "/readyz")}
    told = {(method, path) for method, path in routes if "security" in described[path][method]}
    assert told == routes - opened


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/api/v1/recognition/recognize", "read"),
        ("GET", "/api/v1/recognition/faces", "read"),
        ("POST", "/api/v1/recognition/faces", "enrol"),
        ("POST", "/api/v1/recognition/subjects", "enrol"),
        ("PUT", "/api/v1/recognition/subjects/ann", "admin"),
        ("DELETE", "/api/v1/recognition/faces/1", "admin"),
        ("POST", "/api/v1/recognition/faces/delete", "admin"),
        ("POST", "/predict", "read"),
    ],
)
def test_other_servers_apis_need_scopes_by_what_they_do(
    make_client: MakeClient, key_file: Path, scoped: dict[str, str], tmp_path: Path,
    method: str, path: str, scope: str,
) -> None:  # fmt: skip
    client = make_client(tmp_path / "people.h5", Settings(Keys(key_file), local=False))
    for one, key in scoped.items():
        status = client.request(method, path, headers={"x-api-key": key}).status_code
        enough = keys.SCOPES.index(one) >= keys.SCOPES.index(scope)
        assert (status != 403) is enough, one


def test_the_file_keeps_no_key_and_is_its_owners(key_file: Path, scoped: dict[str, str]) -> None:
    text = key_file.read_text("utf-8")
    assert not [key for key in scoped.values() if key in text]
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600


def test_a_removed_key_is_refused_at_once(
    key_file: Path, scoped: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "_CHECK", 0.0)
    held = Keys(key_file)
    assert held.find(scoped["read"]) is not None
    remove_key(key_file, "a read")
    assert held.find(scoped["read"]) is None
    assert held.find(scoped["admin"]) is not None
    key_file.write_text("{}", "utf-8")
    assert held.find(scoped["admin"]) is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"keys": 1}', '{"keys": [{"name": "a"}]}', "\0", "[" * 9000]
)
def test_what_is_no_file_of_keys_is_told(key_file: Path, text: str) -> None:
    key_file.write_text(text, "utf-8")
    with pytest.raises(MissingError, match="no file of keys"):
        read_keys(key_file)


def test_keys_are_made_listed_and_removed_by_commands(run: Run, key_file: Path) -> None:
    code, key, told = run("serve", "keys", "add", key_file, "door", "--scope", "enrol")
    assert code == 0 and "door may enrol" in told
    found = Keys(key_file).find(key.strip())
    assert found is not None and (found.name, found.scope) == ("door", "enrol")
    assert run("serve", "keys", "add", key_file, "door")[0] == 2
    assert run("serve", "keys", "add", key_file, "x", "--scope", "root")[0] == 2
    listed = json.loads(run("serve", "keys", "list", key_file, "--json")[1])
    assert (listed["name"], listed["scope"]) == ("door", "enrol") and "sha256" not in listed
    assert run("serve", "keys", "remove", key_file, "door")[0] == 0
    assert run("serve", "keys", "remove", key_file, "door")[0] == 2
    assert run("serve", "keys", "list", key_file.with_name("none.json"))[0] == 4


def test_a_name_of_two_keys_is_refused(key_file: Path) -> None:
    add_key(key_file, "door", "read")
    with pytest.raises(UsageError, match="called door already"):
        add_key(key_file, "door", "admin")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--host", "0.0.0.0"], "an API key is needed"),
        (["--host", "::"], "an API key is needed"),
        (["--host", "192.0.2.1"], "an API key is needed"),
        (["--cert", "none.pem"], "both --cert and --key"),
        (["--cert", "none.pem", "--key", "none.pem"], "cannot be used"),
        (["--host", "no.such.host.invalid", "--keys", "none.json"], "--host no.such.host.invalid"),
        (["-g", "a_file/people.h5"], "a_file"),
    ],
)
def test_what_cannot_be_served_is_told_before_models_are_loaded(
    run: Run, options: list[str], told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a_file").touch()
    code, _, said = run("serve", "--port", 0, *options)
    assert code == 2 and told in said
    assert len([line for line in said.splitlines() if "no TLS" not in line]) == (
        2 if "no gallery" in said else 1
    )


def test_no_request_touches_the_disk(
    make_client: MakeClient, portrait_bytes: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a photo's name nor its size makes a file be opened."""
    client = make_client(None)
    photo = next(iter(portrait_bytes.values()))
    client.post("/v1/detect", content=photo)
    opened: list[object] = []
    for module, name in ((builtins, "open"), (io, "open"), (os, "open")):
        real = getattr(module, name)

        def spy(path: object, *rest: object, real: object = real, **more: object) -> object:
            opened.append(path)
            return real(path, *rest, **more)  # type: ignore[operator]

        monkeypatch.setattr(module, name, spy)
    padded = photo + b"\0" * 3_000_000
    for name in ("../../etc/passwd", "/etc/passwd", "a.tar", "file:///etc/passwd", "C:\\a.nef"):
        answered = client.post("/v1/detect", files={"image": (name, padded, "image/png")})
        assert answered.status_code in (200, 422)
    answered = client.post("/v1/detect", json={"image": {"url": "file:///etc/passwd"}})
    assert answered.status_code == 403
    assert opened == []


def test_a_body_is_counted_while_it_comes(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(None)
    taken = 0

    def endless() -> object:
        nonlocal taken
        while taken < 1 << 30:
            taken += 1 << 20
            yield b"\0" * (1 << 20)

    monkeypatch.setattr(bodies.read_body, "__defaults__", (4 << 20,))
    assert client.post("/v1/detect", content=b"\0" * (5 << 20)).status_code == 413
    assert client.post("/v1/detect", content=endless()).status_code == 413
    assert client.post("/v1/detect", content=b"x", headers={"content-encoding": "gzip"}).json()[
        "error"
    ]["code"] == "compressed_body"  # fmt: skip


def test_pixels_are_bounded_before_decoding(make_client: MakeClient) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1_000_000)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels)
    answered = make_client(None).post("/v1/detect", content=bomb + chunk(b"IEND", b""))
    assert answered.status_code == 422
    assert "pixels" in answered.json()["error"]["message"]


def test_what_a_form_says_of_itself_is_bounded(make_client: MakeClient) -> None:
    kind = {"content-type": "multipart/form-data; boundary=" + "x" * 300}
    answered = make_client(None).post("/v1/detect", content=b"x", headers=kind)
    assert (answered.status_code, answered.json()["error"]["code"]) == (400, "damaged_form")


def test_values_of_json_are_bounded_before_parsing(make_client: MakeClient) -> None:
    body = b'{"image": "", "meta": [' + b"{}," * 100_000 + b"{}]}"
    kind = {"content-type": "application/json"}
    answered = make_client(None).post("/v1/detect", content=body, headers=kind)
    assert (answered.status_code, answered.json()["error"]["code"]) == (413, "too_many_values")


def test_photos_of_urls_are_bounded_together(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []

    async def fetch(url: str) -> bytes:
        fetched.append(url)
        return b"\0" * 400

    monkeypatch.setattr(bodies, "MAX_BODY", 1000)
    body = {"images": [{"url": f"http://{number}.example/"} for number in range(64)]}
    answered = make_client(None, Settings(fetch=fetch)).post("/v1/detect", json=body)
    assert (answered.status_code, len(fetched)) == (413, 3)


def test_photos_of_urls_count_among_all_bytes_in_work(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = asyncio.Event()
    both: list[int] = []

    async def fetch(url: str) -> bytes:
        # The second request comes while the first holds its photo.
        both.append(1)
        if len(both) == 2:
            started.set()
        await started.wait()
        return b"\0" * 800

    monkeypatch.setattr(guard, "_MOST_BYTES", 1000)
    app = make_client(None, Settings(fetch=fetch)).app

    async def run() -> list[int]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            body = {"image": {"url": "http://one.example/"}}
            asked = (client.post("/v1/detect", json=body) for _ in range(2))
            return sorted([answered.status_code for answered in await asyncio.gather(*asked)])

    assert asyncio.run(asyncio.wait_for(run(), 10)) == [422, 429]


@pytest.mark.parametrize(
    "path",
    ["/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/v1/people", "/v1/model",
     "/v1/cameras", "/nowhere"],
)  # fmt: skip
def test_head_is_answered_as_get_without_a_body(make_client: MakeClient, path: str) -> None:
    client = make_client(None)
    asked, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (asked.status_code, b"")
    assert head.headers["content-type"] == asked.headers["content-type"]
    if path != "/metrics":  # which counts
        assert head.headers["content-length"] == asked.headers["content-length"]
    assert client.head("/v1/detect").status_code == 405


def test_head_of_a_stream_without_an_end_ends() -> None:
    ended = []

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        assert scope["method"] == "GET"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"more", "more_body": True})
                await asyncio.sleep(0)
        finally:
            ended.append(True)

    guarded = guard.Guard(stream, keys=None, local=False, observe=lambda *_: None)
    with running(guarded, lifespan="off") as url, httpx.Client(timeout=10) as client:
        for _ in range(2):  # over one connection
            answered = client.head(f"{url}/events")
            assert (answered.status_code, answered.content) == (200, b"")
    assert ended == [True, True]


def test_a_redirect_names_no_host(make_client: MakeClient) -> None:
    """A proxy that speaks TLS has another address."""
    client = make_client(None)
    answered = client.get("/v1/people/?more=1", follow_redirects=False)
    assert (answered.status_code, answered.headers["location"]) == (307, "/v1/people?more=1")


def test_who_hangs_up_within_a_body_is_no_failure(make_client: MakeClient) -> None:
    messages = [{"type": "http.request", "body": b"x", "more_body": True}]

    async def receive() -> dict[str, object]:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message: object) -> None:
        raise AssertionError(message)

    client = make_client(None)
    path = "/v1/detect"
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(),
        "query_string": b"", "headers": [(b"host", b"127.0.0.1")],
    }  # fmt: skip
    asyncio.run(asyncio.wait_for(client.app(scope, receive, send), 5))
    assert 'route="/v1/detect",status="499"} 1.0' in client.get("/metrics").text


@pytest.mark.parametrize("begun", [b"", b"GET /", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /"])
def test_connections_that_ask_nothing_are_closed(
    begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_IDLE_SECONDS", 0.2)

    async def app(scope: object, receive: object, send: Any) -> None:
        await asyncio.sleep(0.6)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b""})

    with running(app, http=server._Protocol, lifespan="off", timeout_keep_alive=60) as url:
        place = url.removeprefix("http://").split(":")
        with socket.create_connection((place[0], int(place[1])), timeout=5) as link:
            link.sendall(begun)
            got = b""
            while part := link.recv(1000):
                got += part
    # What is being answered is not idle.
    assert got.startswith(b"HTTP/1.1 200") is (b"HTTP" in begun)


@pytest.mark.parametrize("proxies", [None, "127.0.0.1"])
def test_a_client_names_no_other_address_unless_it_is_a_known_proxy(
    proxies: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    if proxies is not None:
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", proxies)
    addresses: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        addresses.append(scope["client"][0])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    app.state = SimpleNamespace(ending=threading.Event())  # type: ignore[attr-defined]
    ready, servers = threading.Event(), []
    made = server._Server.__init__

    def keep(self: Any, *arguments: Any) -> None:
        servers.append(self)
        made(self, *arguments)

    monkeypatch.setattr(server._Server, "__init__", keep)
    bound = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{bound.getsockname()[1]}/"
    thread = threading.Thread(
        target=server.run, args=(app, bound, ready.set), kwargs={"lifespan": "off"}
    )
    thread.start()
    try:
        assert ready.wait(10)
        httpx.get(url, headers={"X-Forwarded-For": "8.8.8.8"})
    finally:
        servers[0].should_exit = True
        thread.join(10)
    assert addresses == ["127.0.0.1" if proxies is None else "8.8.8.8"]


def pouring(outcomes: list[str]) -> Any:
    """An application that sends 64 MB, whoever reads them, and notes how it ends."""

    async def app(scope: object, receive: Any, send: Any) -> None:
        try:
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(64):
                await send({"type": "http.response.body", "body": b"." * 2**20, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            outcomes.append("done")
        except asyncio.CancelledError:
            outcomes.append("cancelled")
            raise

    return app


def ask(url: str) -> socket.socket:
    """A connection that has asked for something."""
    place = url.removeprefix("http://").split(":")
    link = socket.create_connection((place[0], int(place[1])), timeout=5)
    link.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    return link


def test_a_client_that_takes_nothing_of_its_answer_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "_IDLE_SECONDS", 0.3)
    outcomes: list[str] = []
    with (
        running(pouring(outcomes), http=server._Protocol, lifespan="off") as url,
        ask(url) as silent,
        ask(url) as slow,
    ):
        got = 0
        while part := slow.recv(1 << 20):
            got += len(part)
            time.sleep(0.02)
        assert got > 64 * 2**20
        end = time.monotonic() + 10
        while len(outcomes) < 2:
            assert time.monotonic() < end, "the silent client is still waited for"
            time.sleep(0.01)
        assert sum(len(part) for part in iter(lambda: silent.recv(1 << 20), b"")) < 2**25
    assert outcomes == ["done", "done"]


def test_at_the_end_nobody_waits_for_a_client_that_does_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "_LAST_IDLE_SECONDS", 0.1)
    outcomes: list[str] = []
    with contextlib.ExitStack() as stack:
        with running(pouring(outcomes), http=server._Protocol, lifespan="off") as url:
            stack.enter_context(ask(url)).recv(1)
        assert outcomes == ["done"]


@pytest.mark.parametrize("headers", [{"x-api-key": "wrong"}, {"authorization": "Bearer wrong"}])
def test_compreface_tells_a_missing_key_from_a_wrong_one(
    make_client: MakeClient, key_file: Path, scoped: dict[str, str], tmp_path: Path,
    headers: dict[str, str],
) -> None:  # fmt: skip
    client = make_client(tmp_path / "people.h5", Settings(Keys(key_file), local=False))
    path = "/api/v1/recognition/faces"
    without = client.get(path)
    assert without.status_code == 400
    assert without.json() == {"message": "Missing header: x-api-key", "code": 20}
    assert "www-authenticate" not in without.headers
    wrong = client.get(path, headers=headers)
    assert (wrong.status_code, wrong.json()["code"]) == (401, 20)
    assert client.get(path, headers={"x-api-key": scoped["read"]}).status_code == 200
