"""The server as a process: how it ends, what a kill leaves, and the guide's own examples."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from facerec.gallery import Gallery
from facerec.gallery.addresses import backend_of
from tests.conftest import ROOT, spawn
from tests.serving.processes import Server, serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guide")
    assert spawn("demo", "--out", "demo", cwd=folder).returncode == 0
    return folder


@pytest.fixture(scope="module")
def server(demo: Path) -> Iterator[Server]:
    with serving("-g", demo / "demo" / "gallery.h5", "--audit", demo / "audit.jsonl") as started:
        yield started
        assert "Traceback" not in "".join(started.told)


def test_the_guides_requests_are_answered(server: Server, demo: Path) -> None:
    guide = (ROOT / "facerec" / "docs" / "serve.md").read_text("utf-8")
    block = next(
        block for block in guide.split("```console\n") if block.startswith("$ curl -F image=@demo")
    )
    lines = [line[2:] for line in block.partition("```")[0].splitlines() if line[:2] == "$ "]
    assert len(lines) > 5
    for line in lines:
        asked = line.replace("http://127.0.0.1:8000", server.url)
        done = subprocess.run(
            ["sh", "-c", asked.replace("curl", "curl -sS --fail-with-body", 1)],
            cwd=demo, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        assert isinstance(json.loads(done.stdout), dict)


def test_a_body_that_is_too_large_is_refused_as_it_comes(server: Server) -> None:
    answered = httpx.post(
        f"{server.url}/v1/detect", content=b"\0" * 65_000_000 + b"\0" * 3_000_000, timeout=30
    )
    assert answered.status_code == 413


def test_who_hangs_up_leaves_nothing_waiting(server: Server, picture: Path) -> None:
    photo = picture.read_bytes()
    head = f"POST /v1/detect HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(photo)}\r\n\r\n"
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port)) as link:
            link.sendall(head.encode() + photo)
        with socket.create_connection(("127.0.0.1", server.port)) as link:
            link.sendall(head.encode() + photo[:100])
    end = time.monotonic() + 20
    while "facerec_photos_waiting 0.0" not in (
        told := httpx.get(f"{server.url}/metrics", timeout=20).text
    ):
        assert time.monotonic() < end, told
        time.sleep(0.1)
    assert httpx.get(f"{server.url}/healthz").status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_was_asked_before_the_signal_is_answered(
    demo: Path, tmp_path: Path, number: signal.Signals
) -> None:
    photo = (demo / "demo" / "picture.jpg").read_bytes()
    with serving() as server, ThreadPoolExecutor(12) as pool:
        clients = [httpx.Client(timeout=60) for _ in range(12)]
        for client in clients:
            client.get(f"{server.url}/healthz")
        asked = [
            pool.submit(client.post, f"{server.url}/v1/embed", content=photo) for client in clients
        ]
        end = time.monotonic() + 20
        while "facerec_photos_waiting 0.0" in httpx.get(f"{server.url}/metrics", timeout=20).text:
            assert time.monotonic() < end
        server.process.send_signal(number)
        answers = [one.result() for one in asked]
        assert [answer.status_code for answer in answers] == [200] * 12
        assert server.wait() == 0
    assert server.told[-1] == "facerec: ended\n"
    assert "Traceback" not in "".join(server.told)


def test_tls_by_a_certificate(tmp_path: Path) -> None:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    cert, key, keys = (tmp_path / name for name in ("cert.pem", "key.pem", "keys.json"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out",
         str(cert), "-days", "1", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    made = spawn("serve", "keys", "add", keys, "door").stdout.strip()
    with serving("--keys", keys, "--cert", cert, "--key", key) as server:
        assert server.url.startswith("https://")
        with httpx.Client(verify=str(cert), headers={"x-api-key": made}) as client:
            assert client.get(f"{server.url}/v1/model").status_code == 200
            assert client.get(f"{server.url}/v1/model", headers={"x-api-key": "x"}).is_error


def test_a_kill_during_enrolment_loses_nothing_and_halves_nothing(
    tmp_path: Path, portraits: dict[str, Path]
) -> None:
    """Every enrolment that was answered is in the gallery, which is sound, after each kill."""
    photo = portraits["grace_hopper"].read_bytes()
    place = tmp_path / "people.h5"
    answered: set[str] = set()
    sent = 0
    for enough in (1, 4, 11):
        before = len(answered)
        with (
            serving("-g", place) as server, httpx.Client(timeout=60) as client,
            ThreadPoolExecutor(6) as pool,
        ):  # fmt: skip

            def enrol(number: int, url: str = server.url, client: httpx.Client = client) -> None:
                try:
                    done = client.post(
                        f"{url}/v1/people/p{number % 3}/faces",
                        content=photo + number.to_bytes(4, "big"),
                    )
                except httpx.HTTPError:
                    return
                if done.status_code == 201:
                    answered.update(done.json()["ids"])

            asked = [pool.submit(enrol, sent + number) for number in range(100)]
            sent += 100
            while len(answered) - before < enough:
                time.sleep(0.002)
            server.process.kill()
            for one in asked:
                one.result()
        if place.exists():
            opened = backend_of(place).verify(str(place))
            found = [meta["id"] for batch in opened.batches() for meta in batch.meta]
            assert answered <= set(found)
            assert len(found) == len(set(found)) <= sent
    assert answered
    left = sorted(path.name for path in tmp_path.iterdir())
    with serving("-g", place) as server:
        assert httpx.post(f"{server.url}/v1/people/z/faces", content=photo, timeout=30).is_success
    assert len(Gallery.open(place)) >= len(answered) + 1
    print(f"{len(answered)} of {sent} enrolments answered before three kills; left: {left}")
