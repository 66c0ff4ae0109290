"""The report of a cleanup, looked at in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cleanup_data import outputs
from tests.large_report import write_large_report

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture
def tab() -> Iterator[Any]:
    """A browser's tab in which nothing may fail or ask for the network."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as start:
        browser = start.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url)
                if not request.url.startswith(("file:", "data:", "blob:")) else None)  # fmt: skip
        yield page
        browser.close()
    assert problems == []


def test_the_report_is_decided_on_and_applied(run, dirty, tmp_path, tab):
    assert run("cleanup", dirty, *outputs(tmp_path))[0] == 0
    tab.goto((tmp_path / "report/index.html").as_uri())
    tab.locator("section").first.wait_for()
    assert tab.locator("section").count() == 2
    tab.select_option("#kind", "near-duplicate")
    picture = tab.locator(".finding img").first
    picture.wait_for()
    tab.wait_for_function("document.querySelector('.finding img').naturalWidth > 0")
    assert all(text.startswith("near-duplicate")
               for text in tab.locator(".finding").all_inner_texts())  # fmt: skip
    small = tab.locator("img[title='grace_hopper/small.jpg']")
    tab.locator(".finding", has=small).first.click()
    tab.keyboard.press("a")
    assert tab.locator(".finding.accept").count() == 1
    tab.screenshot(path=tmp_path / "report.png")
    with tab.expect_download() as download:
        tab.click("#export")
    download.value.save_as(tmp_path / "decisions.json")
    code, _, err = run(
        "cleanup", "apply", tmp_path / "decisions.json", "--report", tmp_path / "report"
    )
    assert code == 0, err
    assert "1 image changed places" in err
    assert (tmp_path / "dirt/grace_hopper/small.jpg").exists()
    assert not (tmp_path / "clean/grace_hopper/small.jpg").exists()


def test_a_name_that_looks_like_markup_is_shown_as_it_is(run, dirty, tmp_path, tab):
    names = ["<!--<script>.png", "<!--<script>.jpg", "&lt;b>'\"\\u003c.png"]
    for number, name in enumerate(names[:2]):
        (dirty / f"grace_hopper/{number}.png").rename(dirty / "grace_hopper" / name)
    shutil.copy(dirty / "eileen_collins/0.png", dirty / "grace_hopper" / names[2])
    (dirty / "grace_hopper").rename(dirty / "<!--<script>")
    assert run("cleanup", dirty, *outputs(tmp_path))[0] == 0
    tab.goto((tmp_path / "report/index.html").as_uri())
    tab.locator("section").first.wait_for()
    assert tab.locator("h2", has_text="<!--<script>").count() == 1
    tab.wait_for_function("[...document.images].filter(i => i.naturalWidth).length > 3")
    shown = {title.rpartition("/")[2] for title in tab.evaluate(
        "[...document.images].map(image => image.title)")}  # fmt: skip
    assert shown >= set(names)


def wait_for_pictures(tab: Any) -> None:
    tab.wait_for_function("document.querySelector('.current img').naturalWidth > 0")


@pytest.mark.slow
def test_five_thousand_people_are_opened_filtered_and_walked_through(tmp_path, tab):
    tab.goto(write_large_report(tmp_path, 5000).as_uri())
    tab.wait_for_function("document.querySelector('.finding img')?.naturalWidth > 0")
    assert tab.locator("section").count() == 5000
    assert tab.locator("#count").inner_text() == "10000 findings, 0 decided"
    # Only what is near the window has been made.
    assert tab.locator("img").count() < 500
    tab.screenshot(path=tmp_path / "large.png")
    tab.select_option("#kind", "outlier")
    tab.locator("#least").fill("0.95")
    count = tab.locator("section").count()
    assert 300 < count < 700
    for key in "jar":
        tab.keyboard.press(key)
    wait_for_pictures(tab)
    assert tab.locator("#count").inner_text() == f"{count} findings, 2 decided"
    tab.select_option("#kind", "")
    tab.locator("#least").fill("0.5")
    tab.evaluate("go(order.length - 1)")
    wait_for_pictures(tab)
    tab.screenshot(path=tmp_path / "last.png")
