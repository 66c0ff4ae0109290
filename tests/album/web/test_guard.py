"""Who the album's page answers."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette")

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from facerec.album.web.guard import Guard

TOKEN = "s3cret-é"
ELSEWHERE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}


def client(base: str = "http://127.0.0.1:8000", token: str | None = None) -> TestClient:
    def answer(_: Request) -> Response:
        return PlainTextResponse("yes")

    app = Starlette(
        routes=[Route("/", answer, methods=["GET", "POST"]), Route("/faces/1.jpg", answer)]
    )
    names = frozenset(("nas", "nas.local") if token else ("my-pc",))
    return TestClient(Guard(app, names=names, token=token, cookie="album-8000"), base_url=base)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]:8000", "my-pc:1"]
)
def test_names_of_this_machine_are_answered(host):
    assert client().get("/", headers={"Host": host}).text == "yes"


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "",
     "192.0.2.1", "127.0.0.1:x", "me@127.0.0.1", "127.0.0.1/x", "nas", "[::1", "127.0.0.1:99999"],
)  # fmt: skip
def test_other_names_are_refused_as_of_dns_rebinding(host):
    assert client().get("/", headers={"Host": host}).status_code == 403


def test_two_hosts_are_refused():
    hosts = [("Host", "127.0.0.1"), ("Host", "127.0.0.1")]
    assert client().get("/", headers=hosts).status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://127.0.0.1:8000"}, 200),
        ({}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:8001"}, 403),
        ({"Origin": "https://127.0.0.1:8000"}, 403),
        ({"Origin": "http://localhost:8000"}, 403),
        ({"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_only_the_page_itself_changes_anything(headers, status):
    assert client().post("/", headers=headers).status_code == status


def test_nothing_is_embedded_in_other_pages_but_links_lead_here():
    assert client().get("/faces/1.jpg", headers=ELSEWHERE).status_code == 403
    frame = {**ELSEWHERE, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
    assert client().get("/", headers=frame).status_code == 403
    port = {**ELSEWHERE, "Sec-Fetch-Site": "same-site"}
    assert client().get("/faces/1.jpg", headers=port).status_code == 403
    link = {**frame, "Sec-Fetch-Dest": "document"}
    assert client().get("/", headers=link).status_code == 200
    assert client().get("/", headers={"Origin": "http://evil.example"}).status_code == 403


@pytest.mark.parametrize("answered", ["/", "/nothing", "/faces/1.jpg"])
def test_every_answer_says_that_nothing_is_fetched_from_elsewhere_nor_kept(answered):
    headers = client().get(answered).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers


def test_refusals_carry_them_too():
    headers = client().get("/", headers={"Host": "evil.example"}).headers
    assert headers["content-security-policy"].startswith("default-src 'none'")


def test_beyond_this_machine_the_token_is_needed_once():
    browser = client("http://nas:8000", TOKEN)
    browser.follow_redirects = False
    assert browser.get("/").status_code == 403
    assert browser.get("/", params={"token": "wrong"}).status_code == 403
    assert browser.get("/faces/1.jpg", params={"token": TOKEN}).status_code == 403
    given = browser.get("/", params={"token": TOKEN})
    assert (given.status_code, given.headers["location"]) == (303, "/")
    cookie = given.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert browser.get("/").text == browser.get("/faces/1.jpg").text == "yes"
    assert browser.post("/", headers={"Origin": "http://nas:8000"}).status_code == 200
    assert browser.post("/", headers={"Origin": "http://evil.example"}).status_code == 403


@pytest.mark.parametrize("cookie", ["", "album-8000=", "album-8000=wrong", "album-8001=s3cret-é",
                                    "album-8000", "=;=", "album-8000=\"s"])  # fmt: skip
def test_wrong_cookies_are_refused(cookie):
    headers = {"Cookie": cookie.encode()}
    assert client("http://nas:8000", TOKEN).get("/", headers=headers).status_code == 403


@pytest.mark.parametrize(("host", "status"), [("nas.local", 200), ("192.0.2.7:8000", 200),
                                              ("evil.example", 403)])  # fmt: skip
def test_a_token_does_not_make_other_names_this_machine_s(host, status):
    browser = client(f"http://{host}", TOKEN)
    assert browser.get("/", params={"token": TOKEN}).status_code == status
