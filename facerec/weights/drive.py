"""HTML pages in place of a file: Google Drive's confirmation and quota pages, sign-in pages."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urlencode, urljoin


class _Form(HTMLParser):
    """Collects the action and hidden fields of Drive's `download-form`."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self._inside = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attributes}
        if tag == "form" and values.get("id") == "download-form":
            self.action, self._inside = values.get("action", ""), True
        elif tag == "input" and self._inside and values.get("name"):
            self.fields[values["name"]] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False


def confirmation_address(page: str, base: str) -> str | None:
    """Where "Download anyway" leads, or None where the page is no confirmation."""
    form = _Form()
    form.feed(page)
    if form.action is None:
        return None
    address = urljoin(base, form.action)
    return f"{address}{'&' if '?' in address else '?'}{urlencode(form.fields)}"


def describe_page(page: str) -> str:
    """Why there is a page in place of the file."""
    text = page.lower()
    if "quota exceeded" in text or "too many users have viewed or downloaded" in text:
        return (
            "Google Drive's quota for this file is used up; try again in a day, or download it "
            "with a browser and give it with --from"
        )
    title = re.search(r"<title[^>]*>(.*?)</title>", page, re.I | re.S)
    named = f' titled "{" ".join(title[1].split())[:60]}"' if title else ""
    return f"a web page{named} came in place of the file"
