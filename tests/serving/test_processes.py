"""Servers as processes: several over one gallery, and one that watches a film as camera."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack

import httpx
import pytest

from facerec.gallery.addresses import changing, open_gallery
from tests.serving.processes import serving
from tests.video.test_video import clip, gallery  # noqa: F401

pytestmark = pytest.mark.slow


def people(url: str) -> list[str]:
    return httpx.get(f"{url}/api/v1/recognition/subjects").json()["subjects"]


def test_all_servers_of_a_gallery_see_within_a_second_what_another_process_changes(
    gallery, portraits, tmp_path  # noqa: F811
):  # fmt: skip
    first, second = portraits
    with ExitStack() as stack:
        urls = [stack.enter_context(serving("-g", gallery)).url for _ in range(2)]
        assert [people(url) for url in urls] == [sorted(portraits)] * 2

        def change(function) -> float:
            """Seconds until both servers tell what is in the gallery now."""
            with changing(str(gallery)) as store:
                function(store)
            began, expected = time.monotonic(), list(open_gallery(str(gallery)).counts())
            while [people(url) for url in urls] != [expected] * 2:
                assert time.monotonic() - began < 10
                time.sleep(0.02)
            return time.monotonic() - began

        waits = [
            change(lambda store: store.rename(first, "Ada")),
            change(lambda store: store.remove(second)),
            change(lambda store: store.rename("Ada", first)),
        ]
        # What one server enrols, the other recognises.
        photo = portraits[second].read_bytes()
        url = f"{urls[0]}/api/v1/recognition/faces?subject=Eileen"
        assert httpx.post(url, files={"file": photo}, timeout=30).status_code == 201
        began = time.monotonic()
        while "Eileen" not in people(urls[1]):
            assert time.monotonic() - began < 10
            time.sleep(0.02)
        waits.append(time.monotonic() - began)
        answer = httpx.post(
            f"{urls[1]}/api/v1/recognition/recognize", files={"file": photo}, timeout=30
        )
        assert answer.json()["result"][0]["subjects"][0]["subject"] == "Eileen"
    print(f"seconds until both servers saw each change: {[round(wait, 2) for wait in waits]}")
    assert max(waits) < 1


def test_a_film_as_camera_is_told_to_listeners_and_the_server_ends_though_they_listen(
    gallery, clip  # noqa: F811
):  # fmt: skip
    with serving("-g", gallery, "--camera", f"front={clip}") as server:
        url = server.url
        end = time.monotonic() + 30
        while httpx.get(f"{url}/v1/cameras").json()["cameras"][0]["state"] != "ended":
            assert time.monotonic() < end
            time.sleep(0.1)
        assert "camera front: live" in "".join(server.told)
        with httpx.stream("GET", f"{url}/v1/cameras/front/events", timeout=30) as stream:
            assert next(stream.iter_lines()) == ": facerec"
            began = time.monotonic()
            assert server.end() == 0
    # Well before the time in which requests are answered.
    assert time.monotonic() - began < 10
    assert "Traceback" not in "".join(server.told)


def test_events_go_to_the_webhook_of_the_command_line(gallery, clip, tmp_path):  # noqa: F811
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    from facerec.serving.webhooks import signature

    came: list[tuple[dict, bytes]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            came.append((dict(self.headers), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    secret = tmp_path / "secret"
    secret.write_text("a secret of both\n")
    receiver = HTTPServer(("127.0.0.1", 0), Receiver)
    Thread(target=receiver.serve_forever, args=(0.01,), daemon=True).start()
    hook = f"http://127.0.0.1:{receiver.server_port}/"
    try:
        with serving(
            "-g", gallery, "--camera", f"front={clip}", "--webhook", hook,
            "--webhook-secret", secret,
        ):  # fmt: skip
            end = time.monotonic() + 30
            while len(came) < 2:
                assert time.monotonic() < end
                time.sleep(0.05)
    finally:
        receiver.shutdown()
        receiver.server_close()
    for headers, body in came:
        told = json.loads(body)
        assert told["event"] in ("identified", "unknown") and told["camera"] == "front"
        expected = signature(b"a secret of both", headers["X-Facerec-Timestamp"], body)
        assert headers["X-Facerec-Signature"] == expected
