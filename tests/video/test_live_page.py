"""`facerec recognize cam --serve`: the page in a real browser, and who may see it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import cv2
import pytest

from facerec.errors import UsageError
from facerec.imaging.decode import read_image
from facerec.video.recognizer import Event
from facerec.video.server import LivePage
from tests.conftest import noise

CHROMIUM = shutil.which("chromium")


@pytest.fixture
def page() -> Iterator[LivePage]:
    served = LivePage("127.0.0.1:0")
    yield served
    served.close()


def status(address: str, host: str | None = None, method: str = "GET") -> int:
    headers = {"Host": host} if host else {}
    request = urllib.request.Request(address, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def event(kind: str, track: int, name: str | None, seconds: float = 1.0) -> Event:
    return Event(kind, seconds, track, (0, 0, 1, 1), name, 0.9, None)  # type: ignore[arg-type]


def test_only_requests_that_name_this_machine_are_answered(page):
    assert status(page.address) == status(page.address, "localhost:1") == 200
    # Another site's name that was made to point here (DNS rebinding).
    assert status(page.address, "evil.example") == 403
    assert status(page.address + "nothing") == 404


@pytest.mark.parametrize("path", ["", "people", "stream"])
def test_head_is_answered_without_a_body(page, path):
    request = urllib.request.Request(page.address + path, method="HEAD")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert (answer.status, answer.read()) == (200, b"")
    assert status(page.address, "evil.example", "HEAD") == 403


def test_beyond_this_machine_a_token_is_asked_for():
    served = LivePage("0.0.0.0:0")
    try:
        base, _, token = served.address.partition("?token=")
        local = f"http://127.0.0.1:{base.rstrip('/').rpartition(':')[2]}/"
        assert len(token) >= 16
        for path in ("", "people", "stream"):
            assert status(f"{local}{path}") == status(f"{local}{path}?token=wrong") == 403
        assert status(f"{local}people?token={token}") == 200
    finally:
        served.close()


@pytest.mark.parametrize("place", ["", "somewhere", "127.0.0.1:99999", "192.0.2.1:0"])
def test_a_place_that_cannot_be_listened_on_is_refused(place):
    with pytest.raises(UsageError, match="--serve"):
        LivePage(place)


def test_people_are_listed_by_track_the_newest_first(page):
    page.tell([event("appeared", 1, None), event("appeared", 2, None)])
    page.tell([event("identified", 1, "Zoë"), event("left", 1, "Zoë", 3.0)])
    with urllib.request.urlopen(page.address + "people", timeout=10) as answer:
        second, first = json.load(answer)
    assert (second["name"], second["here"]) == (None, True)
    assert first == {"track": 1, "first": 1.0, "last": 3.0, "name": "Zoë", "here": False,
                     "similarity": 0.9}  # fmt: skip


def test_each_viewer_gets_each_picture_and_nobody_is_remembered_who_left(page):
    received = []
    streams = [urllib.request.urlopen(page.address + "stream", timeout=10) for _ in range(2)]
    wait_until(lambda: page._viewers == 2)
    page.show(noise(48, 64, 0))
    for stream in streams:
        assert stream.readline().startswith(b"--")
        headers = [stream.readline() for _ in range(3)]
        received.append(stream.read(int(headers[1].split(b":")[1])))
    assert received[0] == received[1]
    assert received[0].startswith(b"\xff\xd8")
    for stream in streams:
        stream.close()

    def gone() -> bool:
        page.show(noise(480, 640, 1))
        return page._viewers == 0

    wait_until(gone)


def wait_until(holds) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_the_page_shows_picture_and_names_in_a_browser(run, people, portraits, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    assert run("embed", people, "-o", tmp_path / "g.h5")[0] == 0
    name, file = next(iter(portraits.items()))
    portrait = cv2.resize(read_image(file, 10**8), (320, 400), interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", portrait[:, :, ::-1])[1].tobytes()
    command = [sys.executable, "-m", "facerec", "recognize", "cam", "-", "-g",
               str(tmp_path / "g.h5"), "--serve", "127.0.0.1:0"]  # fmt: skip
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    over = threading.Event()

    def film() -> None:
        while not over.wait(0.05):
            process.stdin.write(jpeg)
            process.stdin.flush()
        process.stdin.close()

    camera = threading.Thread(target=film)
    camera.start()
    try:
        address = ""
        while "live at" not in address:
            address = process.stderr.readline().decode()
            assert address, "the command ended"
        with playwright.sync_playwright() as start:
            browser = start.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            tab = browser.new_page(viewport={"width": 1000, "height": 600})
            problems: list[str] = []
            tab.on("pageerror", lambda error: problems.append(str(error)))
            tab.goto(address.split()[-1])
            tab.locator("li.known").wait_for(timeout=60_000)
            assert tab.locator("li b").all_inner_texts() == [name]
            tab.wait_for_function("document.querySelector('img').naturalWidth === 320")
            assert tab.locator("#state").inner_text() == "1 here now, 1 so far"
            tab.screenshot(path=tmp_path / "page.png")
            over.set()
            camera.join()
            tab.get_by_text("facerec has stopped").wait_for(timeout=30_000)
            browser.close()
        assert problems == []
    finally:
        over.set()
        camera.join()
        out, _ = process.stdout.read().decode(), process.stderr.read()
        process.wait(timeout=60)
    assert process.returncode == 0
    told = [json.loads(line)["event"] for line in out.splitlines()]
    assert told == ["appeared", "identified", "left"]
