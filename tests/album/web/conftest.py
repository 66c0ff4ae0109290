"""An album served in a thread, and a browser in which nothing may fail or leave the machine."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")


@contextmanager
def served(path: Path, token: str | None = None) -> Iterator[str]:
    """The address of an album's page."""
    from facerec.album.web.app import make_app
    from facerec.album.web.library import Library
    from facerec.album.web.serving import make_server
    from facerec.listening import listen, names_of, url_of

    library = Library(path)
    bound = listen("127.0.0.1", 0)
    port = bound.getsockname()[1]
    app = make_app(library, names=names_of("127.0.0.1"), token=token, cookie=f"album-{port}")
    server = make_server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        yield url_of("127.0.0.1", port)
    finally:
        server.should_exit = True
        thread.join()
        library.close()


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as start:
        launched = start.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


Open = Callable[..., Any]


@pytest.fixture
def tab(browser: Any) -> Iterator[Open]:
    """Opens a page's tab; at the end nothing has failed, nor been asked for from elsewhere.

    With `refused` a request may be: browsers tell of each on their own.
    """
    problems: list[str] = []
    contexts = []

    def open_tab(address: str, *, refused: bool = False, **settings: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **settings})
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        usual = "Failed to load resource: the server responded with" if refused else "\0"
        page.on("console", lambda message: problems.append(message.text)
                if message.type == "error" and not message.text.startswith(usual)
                else None)  # fmt: skip
        own = re.match("http://[^/]*/", address)[0]
        page.on("request", lambda request: problems.append(request.url)
                if not request.url.startswith(own) else None)  # fmt: skip
        page.goto(address)
        return page

    yield open_tab
    for context in contexts:
        context.close()
    assert problems == []
