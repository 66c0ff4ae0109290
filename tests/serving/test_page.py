"""The page `/docs` in a real browser."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from tests.serving.conftest import MakeClient
from tests.serving.running import running

CHROMIUM = shutil.which("chromium")
SHOWN = {
    "POST /v1/detect": "curl -F image=@photo.jpg URL/v1/detect",
    "POST /v1/compare": "curl -F a=@photo.jpg -F b=@photo.jpg URL/v1/compare",
    "PATCH /v1/people/{person}": "curl -X PATCH -H 'Content-Type: application/json'"
    """ -d '{"name":"ann"}' URL/v1/people/PERSON""",
    "POST /api/v1/recognition/faces": "curl -F file=@photo.jpg"
    " 'URL/api/v1/recognition/faces?subject=Grace%20Hopper'",
    "DELETE /api/v1/recognition/faces": "curl -X DELETE"
    " 'URL/api/v1/recognition/faces?subject=Grace%20Hopper'",
    "POST /api/v1/recognition/subjects": "curl -H 'Content-Type: application/json'"
    """ -d '{"subject":"Grace Hopper"}' URL/api/v1/recognition/subjects""",
    "POST /api/v1/verification/embeddings/verify": "curl -H 'Content-Type: application/json'"
    """ -d '{"source":[0.5],"targets":[[0.5]]}' URL/api/v1/verification/embeddings/verify""",
}


def test_the_shown_commands_name_all_that_is_needed(make_client: MakeClient) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    problems: list[str] = []
    with running(make_client(None).app) as url, playwright.sync_playwright() as start:
        browser = start.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 340, "height": 700})
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{url}/docs")
        page.locator("details").first.wait_for()
        shown: list[list[Any]] = page.locator("details").evaluate_all(
            "all => all.map(one => [one.querySelector('b').textContent + ' '"
            " + one.querySelector('code').textContent, one.querySelector('pre').textContent])"
        )
        assert page.evaluate("document.documentElement.scrollWidth") == 340
        browser.close()
    commands = {what: command.replace(url, "URL") for what, command in shown}
    assert {what: commands[what] for what in SHOWN} == SHOWN
    assert commands["POST /predict"].startswith("curl -F 'entries={")
    assert commands["POST /predict"].endswith(" -F image=@photo.jpg URL/predict")
    assert problems == []
